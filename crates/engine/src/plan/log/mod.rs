//! `--log-driver` and `--log-opt`: checked as Docker checks them ([`log`]), and turned into what a monitor enacts
//! ([`log_plan`]).

mod subject;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use monitor::SyslogFormat;
use regex_lite::Regex;
use template::{Template, TemplateError};

use crate::logs::Format;
use crate::request::{LogOptions, parse_bool, parse_bytes, parse_decimal_bytes};
pub(crate) use subject::{Subject, log_plan};

/// Options of every driver.
const COMMON: [&str; 6] =
    ["mode", "max-buffer-size", "cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"];
/// Options that say what is logged beside a line.
const ATTRIBUTES: [&str; 5] = ["labels", "labels-regex", "env", "env-regex", "tag"];
const BOUNDS: [&str; 3] = ["max-size", "max-file", "compress"];
const SYSLOG: [&str; 7] = [
    "syslog-address",
    "syslog-facility",
    "syslog-format",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
];
/// Docker's drivers that Skiff does not have.
const REFUSED: [&str; 6] = ["gelf", "fluentd", "awslogs", "splunk", "gcplogs", "etwlogs"];
/// Bytes that may wait in non-blocking mode where the user does not say.
const DEFAULT_BUFFER: u64 = 1 << 20;
/// RFC 5424, table 1, by their numbers.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "",
    "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// Why logging options are refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum LogError {
    #[error("logger: no log driver named '{name}' is registered")]
    UnknownDriver { name: String },
    #[error("log driver {name} is not part of Skiff; use json-file, local, journald, syslog or none")]
    RefusedDriver { name: String },
    #[error("unknown log opt '{key}' for {driver} log driver")]
    UnknownOption { key: String, driver: String },
    #[error("logger: logging mode not supported: {mode}")]
    Mode { mode: String },
    #[error("logger: max-buffer-size option is only supported with 'mode=non-blocking'")]
    BufferWithoutMode,
    #[error("invalid value for {key}: {value}")]
    Value { key: String, value: String },
    #[error("{key} must be a positive number")]
    NotPositive { key: String },
    #[error("max-file cannot be less than 1 or more than 1000")]
    MaxFile,
    #[error("compress cannot be true when max-file is less than 2 or max-size is not set")]
    Compress,
    #[error("invalid syslog facility")]
    Facility,
    #[error("invalid syslog format")]
    SyslogFormat,
    #[error("unsupported scheme: '{scheme}'")]
    Scheme { scheme: String },
    #[error("syslog-address should be in form proto://address, got {address}")]
    Address { address: String },
    #[error("syslog over TLS is not part of Skiff: send to a relay on this host, such as rsyslog or stunnel")]
    Tls,
    #[error("log tag")]
    Tag(#[source] TemplateError),
    #[error("invalid expression in {key}")]
    Expression { key: &'static str, source: regex_lite::Error },
    #[error("look up {host}")]
    Lookup { host: String, source: std::io::Error },
}

type Result<T> = std::result::Result<T, LogError>;

/// Logging options, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Logging {
    /// None keeps nothing.
    pub(crate) kept: Option<Kept>,
    receiver: Option<Receiver>,
    buffer: Option<u64>,
}

/// Files that a log is kept in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) format: Format,
    max_size: u64,
    max_files: u32,
    compress: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Receiver {
    Journal,
    Syslog { address: Address, facility: u8, format: SyslogFormat },
}

/// Where a syslog server listens, before its name is looked up.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    Local,
    Unix { path: PathBuf, is_stream: bool },
    Net { host: String, is_stream: bool },
}

impl Kept {
    /// The file that is written.
    pub(crate) fn path(&self, directory: &Path) -> PathBuf {
        directory.join(match self.format {
            Format::Json => "log.json",
            Format::Local => "log.local",
        })
    }
}

/// Drivers that there are, sorted.
pub(crate) const LOG_DRIVERS: &[&str] = &["journald", "json-file", "local", "none", "syslog"];

/// Checks options as they are given.
pub(crate) fn log(options: &LogOptions) -> Result<Logging> {
    let driver = options.driver.as_deref().filter(|driver| !driver.is_empty()).unwrap_or("json-file");
    let given = &options.options;
    if driver == "none" {
        return Ok(Logging { kept: None, receiver: None, buffer: None });
    }
    let buffer = buffer(given)?;
    let own: &[&[&str]] = match driver {
        "json-file" | "local" => &[&BOUNDS, &ATTRIBUTES],
        "journald" => &[&ATTRIBUTES],
        "syslog" => &[&SYSLOG, &ATTRIBUTES],
        name if REFUSED.contains(&name) => return Err(LogError::RefusedDriver { name: name.to_owned() }),
        name => return Err(LogError::UnknownDriver { name: name.to_owned() }),
    };
    let is_known =
        |key: &&String| COMMON.contains(&key.as_str()) || own.iter().any(|keys| keys.contains(&key.as_str()));
    if let Some(key) = given.keys().find(|key| !is_known(key)) {
        return Err(LogError::UnknownOption { key: key.clone(), driver: driver.to_owned() });
    }
    check_attributes(given)?;
    let cache_disabled = boolean(given, "cache-disabled")?.unwrap_or(false);
    let json = Kept { format: Format::Json, max_size: 16 << 20, max_files: 3, compress: false };
    let local = Kept { format: Format::Local, max_size: 20 << 20, max_files: 5, compress: true };
    let (kept, receiver) = match driver {
        "json-file" => (Some(bounds(json, given, "")?), None),
        "local" => (Some(bounds(local, given, "")?), None),
        _ => {
            let kept = bounds(local, given, "cache-")?;
            let receiver = if driver == "syslog" { syslog(given)? } else { Receiver::Journal };
            ((!cache_disabled).then_some(kept), Some(receiver))
        }
    };
    Ok(Logging { kept, receiver, buffer })
}

fn buffer(given: &BTreeMap<String, String>) -> Result<Option<u64>> {
    let is_non_blocking = match given.get("mode").map_or("", String::as_str) {
        "" | "blocking" => false,
        "non-blocking" => true,
        mode => return Err(LogError::Mode { mode: mode.to_owned() }),
    };
    match given.get("max-buffer-size") {
        Some(_) if !is_non_blocking => Err(LogError::BufferWithoutMode),
        Some(text) => {
            let bytes = parse_bytes(text).ok().and_then(|bytes| u64::try_from(bytes).ok());
            bytes.map(Some).ok_or_else(|| value("max-buffer-size", text))
        }
        None => Ok(is_non_blocking.then_some(DEFAULT_BUFFER)),
    }
}

fn value(key: &str, value: &str) -> LogError {
    LogError::Value { key: key.to_owned(), value: value.to_owned() }
}

fn boolean(given: &BTreeMap<String, String>, key: &str) -> Result<Option<bool>> {
    let text = given.get(key).filter(|text| !text.is_empty());
    text.map(|text| parse_bool(text).ok_or_else(|| value(key, text))).transpose()
}

/// The bounds of files; `prefix` is that of the options.
fn bounds(default: Kept, given: &BTreeMap<String, String>, prefix: &str) -> Result<Kept> {
    let mut kept = default;
    let key = |name: &str| format!("{prefix}{name}");
    if let Some(text) = given.get(&key("max-size")) {
        kept.max_size = match parse_decimal_bytes(text).map_err(|_| value(&key("max-size"), text))? {
            -1 => 0,
            bytes => u64::try_from(bytes)
                .ok()
                .filter(|bytes| *bytes > 0)
                .ok_or_else(|| LogError::NotPositive { key: key("max-size") })?,
        };
    }
    if let Some(text) = given.get(&key("max-file")) {
        let count: i64 = text.parse().map_err(|_| value(&key("max-file"), text))?;
        kept.max_files =
            u32::try_from(count).ok().filter(|count| (1..=1000).contains(count)).ok_or(LogError::MaxFile)?;
    }
    let never_rotates = kept.max_files < 2 || kept.max_size == 0;
    match boolean(given, &key("compress"))? {
        Some(true) if never_rotates => return Err(LogError::Compress),
        Some(compress) => kept.compress = compress,
        None => kept.compress &= !never_rotates,
    }
    Ok(kept)
}

/// The tag is a template, the expressions are expressions.
fn check_attributes(given: &BTreeMap<String, String>) -> Result<()> {
    if let Some(tag) = given.get("tag") {
        Template::parse(tag).map_err(LogError::Tag)?;
    }
    expression(given, "labels-regex")?;
    expression(given, "env-regex").map(drop)
}

fn expression(given: &BTreeMap<String, String>, key: &'static str) -> Result<Option<Regex>> {
    let text = given.get(key).filter(|text| !text.is_empty());
    text.map(|text| Regex::new(text).map_err(|source| LogError::Expression { key, source })).transpose()
}

fn syslog(given: &BTreeMap<String, String>) -> Result<Receiver> {
    let text = |key: &str| given.get(key).map_or("", String::as_str);
    let address = address(text("syslog-address"))?;
    let facility = match text("syslog-facility") {
        "" => 3,
        name => {
            let named = FACILITIES.iter().position(|known| *known == name);
            let number = named.or_else(|| name.parse().ok()).filter(|number| *number < FACILITIES.len());
            number.and_then(|number| u8::try_from(number).ok()).ok_or(LogError::Facility)?
        }
    };
    let format = match text("syslog-format") {
        "" => SyslogFormat::Unix,
        "rfc3164" => SyslogFormat::Rfc3164,
        "rfc5424" => SyslogFormat::Rfc5424,
        "rfc5424micro" => SyslogFormat::Rfc5424Micro,
        _ => return Err(LogError::SyslogFormat),
    };
    Ok(Receiver::Syslog { address, facility, format })
}

fn address(text: &str) -> Result<Address> {
    if text.is_empty() {
        return Ok(Address::Local);
    }
    let bad = || LogError::Address { address: text.to_owned() };
    let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
    if rest.is_empty() {
        return Err(bad());
    }
    match scheme {
        "unix" | "unixgram" => Ok(Address::Unix { path: PathBuf::from(rest), is_stream: scheme == "unix" }),
        "udp" | "tcp" => {
            let host = rest.split('/').next().unwrap_or(rest);
            let has_port = host.rsplit_once(':').is_some_and(|(before, port)| {
                port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']'))
            });
            let host = if has_port { host.to_owned() } else { format!("{host}:514") };
            Ok(Address::Net { host, is_stream: scheme == "tcp" })
        }
        "tcp+tls" => Err(LogError::Tls),
        _ => Err(LogError::Scheme { scheme: scheme.to_owned() }),
    }
}
