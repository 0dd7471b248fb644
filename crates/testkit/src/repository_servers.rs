//! Servers of git repositories that are reached without the web: `git daemon`, and git behind a real `sshd`. Each connection is one
//! program of its own, which has the connection for its standard input and output.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::Scratch;

/// Serves connections by programs; dropping it ends them.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Has `command` made for each connection, and started with it.
    pub fn serve(mut command: impl FnMut() -> Command + Send + 'static) -> Listener {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("listen");
        let address = listener.local_addr().expect("an address");
        let (is_over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (over, counted) = (Arc::clone(&is_over), Arc::clone(&count));
        let thread = std::thread::spawn(move || {
            let children: Mutex<Vec<Child>> = Mutex::default();
            while let Ok((stream, _)) = listener.accept() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let (input, output): (OwnedFd, OwnedFd) =
                    (stream.try_clone().expect("a connection").into(), stream.into());
                let child = command().stdin(input).stdout(output).stderr(Stdio::null()).spawn();
                children.lock().expect("the children").push(child.expect("start a server of git"));
            }
            for mut child in children.into_inner().expect("the children") {
                drop((child.kill(), child.wait()));
            }
        });
        Listener { address, is_over, count, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// `git daemon` for the repositories of a folder.
pub fn git_daemon(root: &Path) -> Listener {
    let root = root.to_path_buf();
    Listener::serve(move || {
        let mut command = Command::new("git");
        command.args(["daemon", "--inetd", "--export-all", "--informative-errors"]);
        command.arg(format!("--base-path={}", root.display()));
        plain(&mut command);
        command
    })
}

/// Nobody's configuration, and folders that are anybody's.
fn plain(command: &mut Command) {
    command.envs([
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_SYSTEM", "/dev/null"),
        ("HOME", "/nonexistent"),
    ]);
}

/// A server of ssh with keys of its own, where one key opens the account of whoever runs the test.
#[derive(Debug)]
pub struct Sshd {
    folder: Scratch,
    listener: Listener,
}

impl Sshd {
    /// One that lets the wish for a newer version of git's protocol in, which few do, or not.
    pub fn start(lets_version_in: bool) -> Sshd {
        let folder = Scratch::new();
        for name in ["host", "key"] {
            run(Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(folder.join(name)));
        }
        let public = read(&folder.join("key.pub"));
        write(&folder.join("authorized"), &public);
        let accepts = if lets_version_in { "AcceptEnv GIT_PROTOCOL\n" } else { "" };
        let at = |name: &str| folder.join(name).display().to_string();
        write(
            &folder.join("config"),
            &format!(
                "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
                 KbdInteractiveAuthentication no\nPermitRootLogin yes\nPrintMotd no\nPidFile none\n{accepts}",
                at("host"),
                at("authorized")
            ),
        );
        // Where it locks its children in; a system makes it when it starts one of its own.
        if rustix::process::geteuid().is_root() {
            std::fs::create_dir_all("/run/sshd").expect("make /run/sshd");
        }
        let config = folder.join("config");
        let listener = Listener::serve(move || {
            let mut command = Command::new("/usr/sbin/sshd");
            command.args(["-i", "-e", "-f"]).arg(&config);
            command
        });
        let sshd = Sshd { folder, listener };
        let host = read(&sshd.folder.join("host.pub"));
        write(&sshd.folder.join("known"), &format!("[127.0.0.1]:{} {host}", sshd.port()));
        sshd
    }

    /// Its port of this host.
    pub fn port(&self) -> u16 {
        self.listener.address().port()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.listener.connections()
    }

    /// The address of a folder of this host.
    pub fn address(&self, path: &Path) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", account(), self.port(), path.display())
    }

    /// What leads there and knows it, with no key.
    pub fn command_without_key(&self) -> String {
        format!(
            "ssh -F none -o UserKnownHostsFile='{}' -o GlobalKnownHostsFile=none -o IdentityFile=none",
            self.folder.join("known").display()
        )
    }

    /// The same with the key.
    pub fn command(&self) -> String {
        format!("{} -i '{}'", self.command_without_key(), self.folder.join("key").display())
    }

    /// What leads there with the key, but does not know it.
    pub fn command_of_a_stranger(&self) -> String {
        format!(
            "ssh -F none -o UserKnownHostsFile=none -o GlobalKnownHostsFile=none -i '{}'",
            self.folder.join("key").display()
        )
    }

    /// An agent that has the key.
    pub fn agent(&self) -> SshAgent {
        let folder = Scratch::new();
        let socket = folder.join("agent");
        let child = Command::new("ssh-agent").args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn();
        let agent = SshAgent {
            socket,
            child: child.expect("ssh-agent (scripts/install-packages test)"),
            _folder: folder,
        };
        // Its name is there before anybody listens.
        crate::wait_until("an agent listens", || UnixStream::connect(&agent.socket).is_ok());
        let key = self.folder.join("key");
        run(Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &agent.socket));
        agent
    }
}

/// A running agent.
#[derive(Debug)]
pub struct SshAgent {
    socket: PathBuf,
    child: Child,
    _folder: Scratch,
}

impl SshAgent {
    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        drop((self.child.kill(), self.child.wait()));
    }
}

/// The name of whoever runs the test.
fn account() -> String {
    let id = rustix::process::geteuid().as_raw().to_string();
    let users = read(Path::new("/etc/passwd"));
    let mut lines = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = lines.find(|fields| fields.get(2).is_some_and(|field| *field == id));
    found.expect("an account").first().map(|name| (*name).to_owned()).expect("a name")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("read a file of the server's")
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("write a file of the server's");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("set a mode");
}

fn run(command: &mut Command) {
    let output = command.output().expect("OpenSSH is needed (scripts/install-packages test)");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
