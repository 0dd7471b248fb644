//! One process, as `/proc` tells of it.

use super::read;

/// A process at one moment. What only few columns show is read when it is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// The program's name, at most 15 bytes.
    pub(super) comm: String,
    pub(super) state: char,
    pub(super) ppid: i32,
    pub(super) pgrp: i32,
    pub(super) session: i32,
    /// Device number of the controlling terminal; 0 is none.
    pub(super) tty: u32,
    /// Process group in the foreground of that terminal.
    pub(super) tpgid: i32,
    pub(super) flags: u64,
    pub(super) minor_faults: u64,
    pub(super) major_faults: u64,
    /// Clock ticks in user mode and in the kernel.
    pub(super) user_ticks: u64,
    pub(super) system_ticks: u64,
    pub(super) priority: i64,
    pub(super) nice: i64,
    pub(super) threads: u64,
    /// Clock ticks after boot.
    pub(super) start_ticks: u64,
    /// Bytes.
    pub(super) virtual_bytes: u64,
    /// KiB in memory. The page count of `stat` is behind by what each CPU keeps for itself.
    pub(super) resident_kib: u64,
    pub(super) processor: u64,
    pub(super) realtime_priority: u64,
    pub(super) policy: u64,
    /// Real, effective, saved, of the file system.
    pub(super) uids: [u32; 4],
    pub(super) gids: [u32; 4],
    /// KiB locked into memory.
    pub(super) locked_kib: u64,
}

impl Process {
    /// What the kernel says of `pid`; None when it has ended.
    pub(super) fn read(pid: i32) -> Option<Process> {
        let mut process = Process::from_stat(&read(&format!("/proc/{pid}/stat"))?)?;
        process.take_status(&read(&format!("/proc/{pid}/status"))?);
        Some(process)
    }

    /// `proc_pid_stat(5)`. The name may hold blanks and parentheses: the last one closes it.
    fn from_stat(stat: &str) -> Option<Process> {
        let (pid, rest) = stat.split_once(" (")?;
        let (comm, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The state is field 3 of the manual.
        let text = |number: usize| fields.get(number - 3).copied().unwrap_or("0");
        let count = |number| text(number).parse::<u64>().unwrap_or(0);
        let signed = |number| text(number).parse::<i64>().unwrap_or(0);
        let id = |number| text(number).parse::<i32>().unwrap_or(0);
        Some(Process {
            pid: pid.trim().parse().ok()?,
            comm: comm.to_owned(),
            state: text(3).chars().next()?,
            ppid: id(4),
            pgrp: id(5),
            session: id(6),
            tty: id(7).cast_unsigned(),
            tpgid: id(8),
            flags: count(9),
            minor_faults: count(10),
            major_faults: count(12),
            user_ticks: count(14),
            system_ticks: count(15),
            priority: signed(18),
            nice: signed(19),
            threads: count(20),
            start_ticks: count(22),
            virtual_bytes: count(23),
            processor: count(39),
            realtime_priority: count(40),
            policy: count(41),
            ..Process::default()
        })
    }

    fn take_status(&mut self, status: &str) {
        let four = |text: &str| {
            let mut ids = text.split_ascii_whitespace().map(|id| id.parse().unwrap_or(u32::MAX));
            [0; 4].map(|_: u32| ids.next().unwrap_or(u32::MAX))
        };
        let kib = |size: &str| size.trim().trim_end_matches(" kB").parse().unwrap_or(0);
        for line in status.lines() {
            match line.split_once(':') {
                Some(("Uid", ids)) => self.uids = four(ids),
                Some(("Gid", ids)) => self.gids = four(ids),
                Some(("VmLck", size)) => self.locked_kib = kib(size),
                Some(("VmRSS", size)) => self.resident_kib = kib(size),
                _ => {}
            }
        }
    }

    /// Its arguments on one line; the name in brackets where it has none, as kernel threads and zombies have.
    pub(super) fn arguments(&self) -> String {
        let line = read(&format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let line = line.trim_end_matches('\0');
        if line.is_empty() {
            let dead = if self.state == 'Z' { " <defunct>" } else { "" };
            return format!("[{}]{dead}", printable(&self.comm));
        }
        printable(&line.replace('\0', " "))
    }

    /// Its name, marked when it has ended.
    pub(super) fn command(&self) -> String {
        printable(&self.comm) + if self.state == 'Z' { " <defunct>" } else { "" }
    }

    /// A small file of its own.
    pub(super) fn file(&self, name: &str) -> String {
        read(&format!("/proc/{}/{name}", self.pid)).unwrap_or_default().trim_end().to_owned()
    }

    /// What `/proc/<pid>/exe` and the like point to.
    pub(super) fn link(&self, name: &str) -> Option<String> {
        let target = rustix::fs::readlink(format!("/proc/{}/{name}", self.pid), Vec::new()).ok()?;
        Some(printable(&target.to_string_lossy()))
    }

    /// `S`, and what `ps` adds in its BSD form: priority, locked pages, leader, threads, foreground.
    pub(super) fn state_with_marks(&self) -> String {
        let mut text = String::from(self.state);
        match self.nice {
            ..0 => text.push('<'),
            0 => {}
            1.. => text.push('N'),
        }
        let marks = [
            (self.locked_kib > 0, 'L'),
            (self.session == self.pid, 's'),
            (self.threads > 1, 'l'),
            (self.tpgid == self.pgrp && self.tty != 0, '+'),
        ];
        text.extend(marks.iter().filter(|(is, _)| *is).map(|(_, mark)| mark));
        text
    }

    /// Its controlling terminal: `pts/0`, `tty1`, `?`.
    pub(super) fn terminal(&self) -> String {
        let (major, minor) = ((self.tty >> 8) & 0xfff, (self.tty & 0xff) | ((self.tty >> 12) & 0xfff00));
        match (major, minor) {
            (0, _) => "?".to_owned(),
            (4, 64..) => format!("ttyS{}", minor - 64),
            (4, _) => format!("tty{minor}"),
            (5, 1) => "console".to_owned(),
            (136..=143, _) => format!("pts/{}", minor + (major - 136) * 256),
            _ => "?".to_owned(),
        }
    }
}

/// The parent of a process.
pub(super) fn parent(pid: i32) -> Option<i32> {
    Process::from_stat(&read(&format!("/proc/{pid}/stat"))?).map(|process| process.ppid)
}

/// What a program calls itself must not steer a terminal, nor begin another column or line.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_the_rest_of_the_line() {
        let stat = "7 (a) R 1 (b) S 3 4 5 34817 6 4194304 10 0 2 0 30 40 0 0 20 -5 2 0 900 4096000 77 18446744073709551615 \
                    1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0";
        let process = Process::from_stat(stat).unwrap();
        assert_eq!((process.pid, process.comm.as_str(), process.state), (7, "a) R 1 (b", 'S'));
        assert_eq!((process.ppid, process.pgrp, process.session, process.tpgid), (3, 4, 5, 6));
        assert_eq!((process.user_ticks, process.system_ticks, process.start_ticks), (30, 40, 900));
        assert_eq!((process.nice, process.threads, process.processor), (-5, 2, 1));
        assert_eq!((process.terminal().as_str(), process.state_with_marks().as_str()), ("pts/1", "S<l"));
        assert!(Process::from_stat("").is_none() && Process::from_stat("7 (x").is_none());
    }

    #[test]
    fn terminals_have_the_names_of_their_devices() {
        let named = |major: u32, minor: u32| {
            let tty = (minor & 0xff) | (major << 8) | ((minor & 0xfff00) << 12);
            Process { tty, ..Process::default() }.terminal()
        };
        for (major, minor, name) in [
            (0, 0, "?"),
            (4, 1, "tty1"),
            (4, 65, "ttyS1"),
            (5, 1, "console"),
            (136, 3, "pts/3"),
            (136, 300, "pts/300"),
        ] {
            assert_eq!(named(major, minor), name);
        }
    }

    #[test]
    fn arguments_cannot_steer_a_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\tc\n"), "a?[31mb?c?");
    }
}
