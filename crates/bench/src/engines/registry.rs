//! Registries: Debian's, filled by skopeo, and ours beside it.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Engine as _, Skiff};
use crate::measure::output;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// docker-registry on a port and a folder of its own, without TLS and passwords.
pub(crate) struct Registry {
    address: String,
    server: Child,
}

impl Registry {
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        // Free now; whoever takes it in between makes the start fail.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let settings = folder.join("config.yml");
        let text = format!(
            "version: 0.1\nlog:\n  accesslog:\n    disabled: true\n  level: error\nstorage:\n  cache:\n    blobdescriptor: inmemory\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            folder.join("data").display()
        );
        std::fs::write(&settings, text)?;
        let server = Command::new("docker-registry")
            .arg("serve")
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start docker-registry")?;
        let registry = Self { address, server };
        let start = Instant::now();
        while TcpStream::connect(&registry.address).is_err() {
            if start.elapsed() > PATIENCE {
                bail!("docker-registry does not answer");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(registry)
    }

    /// `skiff registry serve`, on a folder of its own.
    pub(crate) fn ours(skiff: &Skiff, folder: &Path) -> Result<Self> {
        let mut command = skiff.command();
        command.args(["registry", "serve", "--addr", "127.0.0.1:0", "--root"]).arg(folder);
        // All clients of the bench have one address, and none of the peers limits them.
        command.args(["--uploads-per-client", "1000"]);
        let mut server = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start skiff registry serve")?;
        let mut line = String::new();
        let output = server.stdout.take().context("the server has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().rsplit_once("//").context("the server does not say where it listens")?.1;
        Ok(Self { address: address.to_owned(), server })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    /// `name` in it, as every engine takes it.
    pub(crate) fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Copies the one image of an OCI layout into it.
    pub(crate) fn fill(&self, layout: &Path, name: &str) -> Result<()> {
        let target = format!("docker://{}", self.reference(name));
        output(
            Command::new("skopeo")
                .args(["copy", "--quiet", "--dest-tls-verify=false"])
                .arg(format!("oci:{}", layout.display()))
                .arg(target),
        )
        .map(drop)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}
