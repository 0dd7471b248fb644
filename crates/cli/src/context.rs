//! What a command knows beside its own flags: where things lie, and the engine over them.
//!
//! The environment is read here and in [`crate::values::environment`], nowhere else.

#![allow(clippy::disallowed_methods, reason = "the command line is what reads the environment")]

use std::cell::OnceCell;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use engine::request::Create;
use engine::{Config, Engine, KeptFor, Launcher, Snapshotter};

use crate::configuration::Configuration;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::image::pressure;

/// Global flags and the engine, opened when a command first needs it.
pub(crate) struct Context {
    root: Option<PathBuf>,
    run: Option<PathBuf>,
    snapshotter: Option<Snapshotter>,
    /// `--debug`.
    pub(crate) debug: bool,
    engine: OnceCell<Engine>,
    /// `--config`.
    config_folder: Option<PathBuf>,
    configuration: OnceCell<Configuration>,
}

impl Context {
    /// Reads the global flags.
    pub(crate) fn new(global: &Parsed) -> Result<Context> {
        let snapshotter = global.value("snapshotter", |name| match name {
            "erofs" => Ok(Snapshotter::Erofs),
            "trees" => Ok(Snapshotter::Trees),
            _ => Err("erofs or trees"),
        })?;
        let path = |flag: &str, variable| {
            let given = global.text(flag).map(OsString::from);
            given
                .or_else(|| std::env::var_os(variable))
                .filter(|path| !path.is_empty())
                .map(absolute)
                .transpose()
        };
        let (root, run) = (path("root", "SKIFF_ROOT")?, path("run", "SKIFF_RUN")?);
        let config_folder = path("config", "DOCKER_CONFIG")?;
        let (engine, configuration) = (OnceCell::new(), OnceCell::new());
        let debug = global.on("debug");
        Ok(Context { root, run, snapshotter, debug, engine, config_folder, configuration })
    }

    /// The engine.
    pub(crate) fn engine(&self) -> Result<&Engine> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let engine = Engine::open(self.config()?)?;
        Ok(self.engine.get_or_init(|| engine))
    }

    /// A monitor for a container to be. Whoever asks for it before the engine is opened has both at the same time.
    pub(crate) fn launcher(&self, request: &Create) -> Result<Launcher> {
        Ok(Launcher::new(&self.config()?, request)?)
    }

    /// Leaves the engine for the kernel to close, with the process that is about to end.
    pub(crate) fn leave(self) {
        if let Some(engine) = self.engine.into_inner() {
            engine.leave();
        }
    }

    /// What the client configuration says of `key`. The file is read when it is first asked for.
    pub(crate) fn configured(&self, key: &str) -> Option<String> {
        self.configuration().text(key).map(str::to_owned)
    }

    /// The client configuration (`config.json`).
    pub(crate) fn configuration(&self) -> &Configuration {
        self.configuration.get_or_init(|| {
            self.configuration_file().map_or_else(Configuration::default, |file| Configuration::read(&file))
        })
    }

    /// Where the client configuration lies, whether or not it is there.
    pub(crate) fn configuration_file(&self) -> Option<PathBuf> {
        let folder = self.config_folder.clone().or_else(|| Some(home()?.join(".docker")));
        folder.map(|folder| folder.join("config.json"))
    }

    /// The format that a list is asked for in: by `--format`, else by the client configuration.
    pub(crate) fn format(&self, parsed: &Parsed, key: &str) -> Option<String> {
        parsed
            .text("format")
            .map(str::to_owned)
            .or_else(|| self.configured(key).filter(|text| !text.is_empty()))
    }

    /// The folders of Skiff's own settings, the first first; none need be there. What `SKIFF_CONFIG` names takes the place of the
    /// user's and the host's.
    pub(crate) fn settings(&self) -> Vec<PathBuf> {
        settings()
    }

    /// The folder of images and containers.
    pub(crate) fn root(&self) -> Result<PathBuf> {
        self.root.clone().map_or_else(default_root, Ok)
    }

    fn config(&self) -> Result<Config> {
        let root = self.root()?;
        let run = match &self.run {
            Some(path) => path.clone(),
            None => default_run()?,
        };
        let trace =
            std::env::var_os("SKIFF_TRACE").filter(|path| !path.is_empty()).map(absolute).transpose()?;
        // Read when something may be too old: most commands never ask.
        let kept_for = KeptFor::new(|| pressure::unfinished_for(&settings()));
        Ok(Config {
            root,
            run,
            monitor: monitor_program()?,
            snapshotter: self.snapshotter,
            trace,
            cdi_folders: cdi_folders(),
            kept_for,
        })
    }
}

/// Where devices get names (CDI), the lowest precedence first: where all engines look, where those of an ordinary user do, and among our
/// own settings.
fn cdi_folders() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from("/etc/cdi"), PathBuf::from("/var/run/cdi")];
    if !is_root() {
        let of = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = of("XDG_CONFIG_HOME").or_else(|| Some(home()?.join(".config")));
        folders.extend(config.into_iter().chain(of("XDG_RUNTIME_DIR")).map(|folder| folder.join("cdi")));
    }
    // A folder of another user's, whose variables root may have kept (sudo), is not to say which programs root runs.
    let is_given = std::env::var_os("SKIFF_CONFIG").is_some_and(|path| !path.is_empty());
    let is_taken = |folder: &PathBuf| is_given || !is_root() || folder == Path::new("/etc/skiff");
    folders.extend(settings().into_iter().rev().filter(is_taken).map(|folder| folder.join("cdi")));
    folders
}

fn settings() -> Vec<PathBuf> {
    if let Some(given) = std::env::var_os("SKIFF_CONFIG").filter(|path| !path.is_empty()) {
        return vec![PathBuf::from(given)];
    }
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let own = config.or_else(|| Some(home()?.join(".config"))).map(|folder| folder.join("skiff"));
    own.into_iter().chain([PathBuf::from("/etc/skiff")]).collect()
}

/// The caller's own folder.
pub(crate) fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

/// The path seen from `/`, without asking what lies there.
pub(crate) fn absolute(path: impl Into<OsString>) -> Result<PathBuf> {
    let path = PathBuf::from(path.into());
    if path.is_absolute() {
        return Ok(path);
    }
    let here = std::env::current_dir().map_err(|source| Error::System {
        attempt: "find the working directory",
        source: rustix::io::Errno::from_io_error(&source).unwrap_or(rustix::io::Errno::IO),
    })?;
    Ok(here.join(path))
}

/// Whether what is the host's is ours to fill. In a user namespace of an ordinary user's own (`unshare -r`) it is not, in one that a whole
/// system was put into it is.
fn is_root() -> bool {
    let is_ours = || rustix::fs::access("/var/lib", rustix::fs::Access::WRITE_OK).is_ok();
    rustix::process::geteuid().is_root() && (linux::process::in_initial_user_namespace() || is_ours())
}

fn default_root() -> Result<PathBuf> {
    if is_root() {
        return Ok(PathBuf::from("/var/lib/skiff"));
    }
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    data.or_else(|| home().map(|home| home.join(".local/share")))
        .map(|base| base.join("skiff"))
        .ok_or(Error::NoPlace { what: "images and containers", variable: "HOME", flag: "--root" })
}

fn default_run() -> Result<PathBuf> {
    if is_root() {
        return Ok(PathBuf::from("/run/skiff"));
    }
    let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    base.map(|base| base.join("skiff")).ok_or(Error::NoPlace {
        what: "what is running",
        variable: "XDG_RUNTIME_DIR",
        flag: "--run",
    })
}

/// The monitor that was installed with this program: beside it, or in the `libexec` of the same prefix. Never
/// looked up by `PATH` or from the working directory, which others may choose.
fn monitor_program() -> Result<PathBuf> {
    let executable = rustix::fs::readlink("/proc/self/exe", Vec::new())
        .map_err(|source| Error::System { attempt: "find my own executable", source })?;
    let executable = PathBuf::from(OsString::from_vec(executable.into_bytes()));
    let directory = executable.parent().unwrap_or(Path::new("/"));
    let beside = directory.join("skiff-monitor");
    let installed = directory.parent().unwrap_or(Path::new("/")).join("libexec/skiff/skiff-monitor");
    [beside, installed]
        .into_iter()
        .find(|path| rustix::fs::access(path.as_os_str().as_bytes(), rustix::fs::Access::EXEC_OK).is_ok())
        .ok_or_else(|| Error::NoMonitor { executable: executable.display().to_string() })
}
