//! Lines of logs. What stands in a file is taken apart only where somebody asks for it, for most of whom read a log ask for its text alone.

use oci::Timestamp;

/// One line of a container's log, or a piece of one that was too long.
#[derive(Clone, Debug)]
pub struct LogLine<'a> {
    /// When it was written.
    pub time: LogTime<'a>,
    /// Written to standard error, else to standard output.
    pub stderr: bool,
    /// With its line feed, if it had one.
    pub text: &'a [u8],
    pub(crate) attributes: LogAttributes<'a>,
}

/// When a line was written, as its log says it: taken apart only where somebody wants to know.
#[derive(Clone, Copy, Debug)]
pub enum LogTime<'a> {
    /// RFC 3339.
    Text(&'a str),
    /// Since 1970.
    Nanoseconds(i64),
    /// Known already.
    At(Timestamp),
}

/// What was logged beside a line, where it stands.
#[derive(Clone, Debug)]
pub(crate) enum LogAttributes<'a> {
    None,
    Json(&'a [u8]),
    Local(&'a [u8]),
    Owned(Vec<(String, String)>),
}

impl LogLine<'_> {
    /// Labels, variables and the tag that its driver was told to log.
    pub fn attributes(&self) -> Vec<(String, String)> {
        match &self.attributes {
            LogAttributes::None => Vec::new(),
            LogAttributes::Json(text) => crate::logs::json_attributes(text),
            LogAttributes::Local(entry) => crate::logs::local_attributes(entry),
            LogAttributes::Owned(attributes) => attributes.clone(),
        }
    }
}

impl LogTime<'_> {
    /// None where the log says something that is no time.
    pub fn timestamp(&self) -> Option<Timestamp> {
        match *self {
            LogTime::Text(text) => text.parse().ok(),
            LogTime::At(time) => Some(time),
            LogTime::Nanoseconds(count) => {
                let below = u32::try_from(count.rem_euclid(1_000_000_000)).ok()?;
                Timestamp::new(count.div_euclid(1_000_000_000), below)
            }
        }
    }

    /// Appends it in UTC with nine digits of a second, so that lines stand below each other.
    pub fn append_fixed(&self, into: &mut Vec<u8>) {
        if let LogTime::Text(text) = self
            && let Some(short) = text.strip_suffix('Z')
            && text.is_ascii()
            && (21..=29).contains(&short.len())
            && short.as_bytes()[19] == b'.'
        {
            into.extend_from_slice(short.as_bytes());
            into.extend_from_slice(&b"000000000"[..29 - short.len()]);
            into.push(b'Z');
            return;
        }
        let time = self.timestamp().unwrap_or(Timestamp::ZERO);
        let whole = Timestamp::new(time.seconds(), 0).unwrap_or(time).to_string();
        into.extend_from_slice(whole.trim_end_matches('Z').as_bytes());
        into.extend_from_slice(format!(".{:09}Z", time.nanoseconds()).as_bytes());
    }
}
