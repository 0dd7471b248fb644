//! What a monitor is told about its container's output.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where output is kept and sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPlan {
    /// None keeps nothing (`cache-disabled`).
    pub files: Option<LogFiles>,
    /// Who else gets every line.
    pub receiver: Option<LogReceiver>,
    /// Bytes of `max-buffer-size`, with `mode=non-blocking`: rather than wait for the receiver, the container goes on
    /// and the oldest lines that wait are lost. None: the container waits.
    pub buffer: Option<u64>,
}

impl LogPlan {
    /// A json-file log at `path`, with the default of three files of 16 MiB.
    pub fn new(path: PathBuf) -> LogPlan {
        let files = LogFiles {
            path,
            format: LogFormat::Json,
            max_size: 16 << 20,
            max_files: 3,
            compress: false,
            attributes: Vec::new(),
        };
        LogPlan { files: Some(files), receiver: None, buffer: None }
    }
}

/// A log on disk, with bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFiles {
    /// The file that is written; older ones are beside it as `<path>.1`, `<path>.2`, …, or `<path>.1.gz`, ….
    pub path: PathBuf,
    /// How a line is written.
    pub format: LogFormat,
    /// Bytes after which a file is rotated; 0 is no limit.
    pub max_size: u64,
    /// How many files are kept, the current one included; at least 1.
    pub max_files: u32,
    /// Whether those that are no longer written are compressed.
    pub compress: bool,
    /// What is kept with every line: labels, variables, the tag.
    pub attributes: Vec<(String, String)>,
}

/// How a line is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// Docker's `json-file`.
    Json,
    /// Docker's `local`.
    Local,
}

/// Who gets every line beside the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogReceiver {
    /// systemd's journal.
    Journal {
        /// The socket of its native protocol.
        socket: PathBuf,
        /// What every entry says of the container.
        fields: Vec<(String, String)>,
    },
    /// A syslog server.
    Syslog(SyslogPlan),
}

/// How lines are told to a syslog server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyslogPlan {
    /// Where it listens.
    pub server: SyslogServer,
    /// 0 to 23 (RFC 5424, table 1).
    pub facility: u8,
    /// What a message looks like.
    pub format: SyslogFormat,
    /// Who says it.
    pub tag: String,
    /// On which host.
    pub hostname: String,
}

/// Where a syslog server listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyslogServer {
    /// On this host, at the first of the usual sockets that answers.
    Local,
    /// A stream socket.
    Unix(PathBuf),
    /// A datagram socket.
    UnixDatagram(PathBuf),
    /// Addresses of one host, tried in this order.
    Udp(Vec<SocketAddr>),
    /// Addresses of one host, tried in this order.
    Tcp(Vec<SocketAddr>),
}

/// What a syslog message looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyslogFormat {
    /// As the C library writes to the local server: RFC 3164 without the host's name.
    Unix,
    /// RFC 3164.
    Rfc3164,
    /// RFC 5424.
    Rfc5424,
    /// RFC 5424 with microseconds.
    Rfc5424Micro,
}
