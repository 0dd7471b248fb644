//! How a container shares namespaces: `--pid`, `--ipc`, `--uts`, `--cgroupns`, `--userns`, `--network`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// `--pid`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PidMode {
    /// Processes of its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// Another container's, by name or id.
    Container(String),
}

/// `--ipc`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum IpcMode {
    /// Of its own, with a `/dev/shm` of its own; other containers cannot join it.
    #[default]
    Private,
    /// Of its own, and other containers may join it.
    Shareable,
    /// Of its own, without `/dev/shm`.
    None,
    /// The host's.
    Host,
    /// Another container's, by name or id.
    Container(String),
}

/// `--uts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum UtsMode {
    /// A host name of its own.
    #[default]
    Private,
    /// The host's.
    Host,
}

/// `--cgroupns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CgroupMode {
    /// Its own group looks like the root of the hierarchy. The default with both versions of control groups.
    #[default]
    Private,
    /// The host's.
    Host,
}

/// `--userns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum UserMode {
    /// Ids of its own, from the pool.
    #[default]
    Private,
    /// The host's ids: root inside is root outside.
    Host,
}

/// `--network`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NetworkMode {
    /// None named. Until networks exist this is [`NetworkMode::None`].
    #[default]
    Default,
    /// Only a loopback interface.
    None,
    /// The host's.
    Host,
    /// Another container's, by name or id.
    Container(String),
}

/// A refused text, naming its flag.
fn invalid(flag: &'static str, text: &str) -> Error {
    Error::InvalidMode { flag, text: text.to_owned() }
}

/// `container:<name or id>`.
fn other(text: &str) -> Option<&str> {
    text.strip_prefix("container:").filter(|name| !name.is_empty())
}

impl FromStr for PidMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<PidMode, Error> {
        match (text, other(text)) {
            ("" | "private", _) => Ok(PidMode::Private),
            ("host", _) => Ok(PidMode::Host),
            (_, Some(name)) => Ok(PidMode::Container(name.to_owned())),
            _ => Err(invalid("--pid", text)),
        }
    }
}

impl fmt::Display for PidMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PidMode::Private => Ok(()),
            PidMode::Host => formatter.write_str("host"),
            PidMode::Container(name) => write!(formatter, "container:{name}"),
        }
    }
}

impl FromStr for IpcMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<IpcMode, Error> {
        match (text, other(text)) {
            ("" | "private", _) => Ok(IpcMode::Private),
            ("shareable", _) => Ok(IpcMode::Shareable),
            ("none", _) => Ok(IpcMode::None),
            ("host", _) => Ok(IpcMode::Host),
            (_, Some(name)) => Ok(IpcMode::Container(name.to_owned())),
            _ => Err(invalid("--ipc", text)),
        }
    }
}

impl fmt::Display for IpcMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IpcMode::Private => formatter.write_str("private"),
            IpcMode::Shareable => formatter.write_str("shareable"),
            IpcMode::None => formatter.write_str("none"),
            IpcMode::Host => formatter.write_str("host"),
            IpcMode::Container(name) => write!(formatter, "container:{name}"),
        }
    }
}

impl FromStr for UtsMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<UtsMode, Error> {
        match text {
            "" | "private" => Ok(UtsMode::Private),
            "host" => Ok(UtsMode::Host),
            _ => Err(invalid("--uts", text)),
        }
    }
}

impl fmt::Display for UtsMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            UtsMode::Private => "",
            UtsMode::Host => "host",
        })
    }
}

impl FromStr for CgroupMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<CgroupMode, Error> {
        match text {
            "" | "private" => Ok(CgroupMode::Private),
            "host" => Ok(CgroupMode::Host),
            _ => Err(invalid("--cgroupns", text)),
        }
    }
}

impl fmt::Display for CgroupMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            CgroupMode::Private => "private",
            CgroupMode::Host => "host",
        })
    }
}

impl FromStr for UserMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<UserMode, Error> {
        match text {
            "" | "private" => Ok(UserMode::Private),
            "host" => Ok(UserMode::Host),
            _ => Err(invalid("--userns", text)),
        }
    }
}

impl fmt::Display for UserMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            UserMode::Private => "",
            UserMode::Host => "host",
        })
    }
}

impl FromStr for NetworkMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<NetworkMode, Error> {
        match (text, other(text)) {
            ("" | "default", _) => Ok(NetworkMode::Default),
            ("none", _) => Ok(NetworkMode::None),
            ("host", _) => Ok(NetworkMode::Host),
            (_, Some(name)) => Ok(NetworkMode::Container(name.to_owned())),
            ("bridge", _) => Err(Error::NetworkUnsupported { name: text.to_owned() }),
            _ => Err(Error::NoSuchNetwork { name: text.to_owned() }),
        }
    }
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkMode::Default => formatter.write_str("default"),
            NetworkMode::None => formatter.write_str("none"),
            NetworkMode::Host => formatter.write_str("host"),
            NetworkMode::Container(name) => write!(formatter, "container:{name}"),
        }
    }
}

/// Texts are what is stored and shown; the types exist once a text was understood.
macro_rules! as_text {
    ($($mode:ty),*) => {$(
        impl TryFrom<String> for $mode {
            type Error = Error;

            fn try_from(text: String) -> Result<$mode, Error> {
                text.parse()
            }
        }

        impl From<$mode> for String {
            fn from(mode: $mode) -> String {
                mode.to_string()
            }
        }
    )*};
}

as_text!(PidMode, IpcMode, UtsMode, CgroupMode, UserMode, NetworkMode);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_and_written_as_docker_writes_them() {
        for text in ["", "host", "container:web"] {
            assert_eq!(text.parse::<PidMode>().unwrap().to_string(), text);
        }
        for text in ["private", "shareable", "none", "host", "container:web"] {
            assert_eq!(text.parse::<IpcMode>().unwrap().to_string(), text);
        }
        for text in ["default", "none", "host", "container:web"] {
            assert_eq!(text.parse::<NetworkMode>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_unknown_mode_is_refused_by_the_name_of_its_flag() {
        assert_eq!("x".parse::<PidMode>().unwrap_err().to_string(), "--pid: invalid mode: x");
        assert_eq!(
            "container:".parse::<IpcMode>().unwrap_err().to_string(),
            "--ipc: invalid mode: container:"
        );
        assert_eq!("none".parse::<UtsMode>().unwrap_err().to_string(), "--uts: invalid mode: none");
        assert_eq!("x".parse::<NetworkMode>().unwrap_err().to_string(), "network x not found");
    }
}
