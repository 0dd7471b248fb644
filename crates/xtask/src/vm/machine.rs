//! Runs QEMU, watches its serial port, and ends it in time.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::kernel::Kernel;
use super::{ramdisk, succeed};

/// How long a boot under KVM may take before it is taken not to work here: where it does, it takes one second.
const PROBE_LIMIT: Duration = Duration::from_secs(6);

/// The size of the empty disk; a sparse file.
const DISK: &str = "4G";

/// What the guest says at its end, before the number of failed programs.
const EXIT: &str = "skiff-vm: exit ";

/// How the guest's processors are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accelerator {
    Kvm,
    Emulation,
}

/// A machine that is ready to boot.
pub(super) struct Machine {
    folder: PathBuf,
    kernel: PathBuf,
    accelerator: Accelerator,
}

/// A running QEMU, ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Machine {
    /// Chooses the accelerator by trying, and makes the disk.
    pub(super) fn prepare(folder: &Path, kernel: &Kernel) -> Result<Self> {
        let mut machine =
            Self { folder: folder.to_owned(), kernel: kernel.image.clone(), accelerator: Accelerator::Kvm };
        if !machine.boots_under_kvm(kernel)? {
            machine.accelerator = Accelerator::Emulation;
        }
        machine.make_disk()?;
        Ok(machine)
    }

    pub(super) fn accelerator(&self) -> &'static str {
        match self.accelerator {
            Accelerator::Kvm => "under KVM",
            Accelerator::Emulation => "emulated, since KVM does not work here",
        }
    }

    /// `/dev/kvm` proves nothing: nested, it may be there and hang. So a machine is booted that only says so.
    fn boots_under_kvm(&self, kernel: &Kernel) -> Result<bool> {
        if !Path::new("/dev/kvm").exists() {
            return Ok(false);
        }
        let probe = self.folder.join("probe.cpio");
        ramdisk::write(&probe, kernel, &ramdisk::Content::default())?;
        Ok(self.boot(&probe, "skiff.probe", PROBE_LIMIT, &mut |_| {}).is_ok_and(|outcome| outcome == 0))
    }

    fn make_disk(&self) -> Result<()> {
        let disk = self.disk();
        let options = "lazy_itable_init=1,lazy_journal_init=1";
        succeed(
            Command::new("mkfs.ext4")
                .args(["-q", "-F", "-E", options])
                .arg(&disk)
                .arg(DISK)
                .stderr(Stdio::null()),
        )
    }

    fn disk(&self) -> PathBuf {
        self.folder.join("disk.img")
    }

    /// Boots `ramdisk` and prints what it says. The result is the number of failed test programs.
    pub(super) fn run(&self, ramdisk: &Path, limit: Duration) -> Result<u32> {
        let path = self.folder.join("serial.log");
        let mut log = std::fs::File::create(&path).with_context(|| format!("create {}", path.display()))?;
        let outcome = self.boot(ramdisk, "", limit, &mut |line| {
            println!("{line}");
            // The log is a convenience; its failure is none of the tests.
            drop(writeln!(log, "{line}"));
        });
        outcome.with_context(|| format!("the machine's last words are in {}", path.display()))
    }

    fn boot(&self, ramdisk: &Path, words: &str, limit: Duration, print: &mut dyn FnMut(&str)) -> Result<u32> {
        let mut running = Running(self.start(ramdisk, words)?);
        let serial = running.0.stdout.take().context("QEMU has no serial port")?;
        let lines = read_lines(serial);
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) => match line.strip_prefix(EXIT) {
                    Some(outcome) => {
                        return outcome.trim().parse().with_context(|| format!("bad last line {line:?}"));
                    }
                    None => print(&line),
                },
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the machine did not finish within {} s", limit.as_secs())
                }
                Err(RecvTimeoutError::Disconnected) => bail!("the machine went down without reporting"),
            }
        }
    }

    fn start(&self, ramdisk: &Path, words: &str) -> Result<Child> {
        // It ends with us, however we end: else it would keep the disk from the next one.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]);
        match self.accelerator {
            Accelerator::Kvm => command.args(["-accel", "kvm", "-cpu", "host"]),
            Accelerator::Emulation => command.args(["-accel", "tcg,thread=multi", "-cpu", "max"]),
        };
        // A panic is the end: the kernel restarts at once, and QEMU goes down instead.
        let kernel_words = format!("console=ttyS0 quiet panic=-1 {words}");
        command
            .args([
                "-machine",
                "q35",
                "-smp",
                "2",
                "-m",
                "2048",
                "-nodefaults",
                "-no-user-config",
                "-no-reboot",
            ])
            .args(["-display", "none", "-serial", "stdio", "-monitor", "none", "-nic", "none"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(ramdisk)
            .args(["-append", &kernel_words]);
        if words.is_empty() {
            // The disk is for what the tests write; the probe comes without, and without QEMU's complaints.
            let drive = format!("file={},format=raw,if=none,id=disk,cache=unsafe", self.disk().display());
            command.args(["-drive", &drive, "-device", "virtio-blk-pci,drive=disk"]);
        } else {
            command.stderr(Stdio::null());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start qemu-system-x86_64")
    }
}

/// Lines of the serial port, without the terminal's carriage returns, as they come.
fn read_lines(serial: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut serial = BufReader::new(serial);
        let mut line = Vec::new();
        while serial.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    receiver
}
