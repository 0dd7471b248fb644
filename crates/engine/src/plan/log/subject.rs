//! What the monitor is told about a container's output: who it is from is decided here, once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use monitor::{LogFiles, LogFormat, LogPlan, LogReceiver, SyslogPlan, SyslogServer};
use regex_lite::Regex;
use serde_json::json;
use template::Template;

use super::{Address, LogError, Logging, Receiver, Result, expression, log};
use crate::logs::Format;
use crate::spec::ContainerSpec;

/// The tag where none is given, of the drivers that need one.
const DEFAULT_TAG: &str = "{{.ID}}";
/// Where systemd's journal listens.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// What the tag and the attributes are made of.
pub(crate) struct Subject<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) hostname: &'a str,
    pub(crate) spec: &'a ContainerSpec,
    /// The container's directory.
    pub(crate) directory: &'a Path,
}

/// What the monitor is to do with output; None for nothing. Looks up the name of a server.
pub(crate) fn log_plan(subject: &Subject<'_>) -> Result<Option<LogPlan>> {
    let options = &subject.spec.host.log;
    let Logging { kept, receiver, buffer } = log(options)?;
    if kept.is_none() && receiver.is_none() {
        return Ok(None);
    }
    let receiver = receiver.map(|receiver| subject.receiver(receiver)).transpose()?;
    let files = match kept {
        None => None,
        Some(kept) => Some(LogFiles {
            path: kept.path(subject.directory),
            format: match kept.format {
                Format::Json => LogFormat::Json,
                Format::Local => LogFormat::Local,
            },
            max_size: kept.max_size,
            max_files: kept.max_files,
            compress: kept.compress,
            attributes: subject.kept_attributes()?,
        }),
    };
    Ok(Some(LogPlan { files, receiver, buffer }))
}

impl Subject<'_> {
    fn options(&self) -> &BTreeMap<String, String> {
        &self.spec.host.log.options
    }

    fn receiver(&self, receiver: Receiver) -> Result<LogReceiver> {
        let tag = self.tag(Some(DEFAULT_TAG))?.unwrap_or_default();
        match receiver {
            Receiver::Journal => Ok(LogReceiver::Journal {
                socket: PathBuf::from(JOURNAL),
                fields: self.journal_fields(&tag)?,
            }),
            Receiver::Syslog { address, facility, format } => Ok(LogReceiver::Syslog(SyslogPlan {
                server: look_up(address)?,
                facility,
                format,
                tag,
                hostname: self.hostname.to_owned(),
            })),
        }
    }

    fn journal_fields(&self, tag: &str) -> Result<Vec<(String, String)>> {
        let mut fields = vec![
            ("CONTAINER_ID".to_owned(), short(self.id).to_owned()),
            ("CONTAINER_ID_FULL".to_owned(), self.id.to_owned()),
            ("CONTAINER_NAME".to_owned(), self.name.to_owned()),
            ("CONTAINER_TAG".to_owned(), tag.to_owned()),
            ("IMAGE_NAME".to_owned(), self.spec.image.clone()),
            ("SYSLOG_IDENTIFIER".to_owned(), tag.to_owned()),
        ];
        for (key, text) in self.attributes()? {
            let key = journal_key(&key);
            // Whatever a label is called, it is none of these.
            if !key.is_empty() && fields.iter().all(|(known, _)| *known != key) {
                fields.push((key, text));
            }
        }
        Ok(fields)
    }

    /// As `--details` shows them.
    fn kept_attributes(&self) -> Result<Vec<(String, String)>> {
        let mut attributes = self.attributes()?;
        if let Some(tag) = self.tag(None)?.filter(|tag| !tag.is_empty()) {
            attributes.insert("tag".to_owned(), tag);
        }
        Ok(attributes.into_iter().collect())
    }

    /// Labels and variables that are to be logged.
    fn attributes(&self) -> Result<BTreeMap<String, String>> {
        let options = self.options();
        let labels = self.spec.process.labels.iter().map(|(key, text)| (key.as_str(), text.as_str()));
        let variables = self.spec.process.env.iter().filter_map(|variable| variable.split_once('='));
        let mut chosen = BTreeMap::new();
        choose(options.get("labels"), expression(options, "labels-regex")?, labels, &mut chosen);
        choose(options.get("env"), expression(options, "env-regex")?, variables, &mut chosen);
        Ok(chosen)
    }

    /// The tag as the user wants it, or `default`.
    fn tag(&self, default: Option<&str>) -> Result<Option<String>> {
        let given = self.options().get("tag").map(String::as_str).filter(|tag| !tag.is_empty());
        let Some(text) = given.or(default) else { return Ok(None) };
        let process = &self.spec.process;
        let words: Vec<&str> =
            process.entrypoint.iter().chain(&process.command).map(String::as_str).collect();
        let data = json!({
            "ID": short(self.id),
            "FullID": self.id,
            "Name": self.name,
            // With its algorithm in front, as Docker cuts it.
            "ImageID": short(&self.spec.image_id),
            "ImageFullID": self.spec.image_id,
            "ImageName": self.spec.image,
            "DaemonName": "skiff",
            "Command": words.join(" "),
            "ExtraAttributes": self.attributes()?,
            "Hostname": self.hostname,
            "Config": self.options(),
            "ContainerID": self.id,
            "ContainerName": format!("/{}", self.name),
            "ContainerEntrypoint": words.first(),
            "ContainerArgs": words.get(1..),
            "ContainerImageID": self.spec.image_id,
            "ContainerImageName": self.spec.image,
            "ContainerEnv": process.env,
            "ContainerLabels": process.labels,
        });
        Template::parse(text).and_then(|template| template.execute(&data)).map(Some).map_err(LogError::Tag)
    }
}

fn choose<'a>(
    names: Option<&String>,
    expression: Option<Regex>,
    all: impl Iterator<Item = (&'a str, &'a str)>,
    into: &mut BTreeMap<String, String>,
) {
    let names: Vec<&str> = names.map_or_else(Vec::new, |names| names.split(',').collect());
    for (key, text) in all {
        if names.contains(&key) || expression.as_ref().is_some_and(|expression| expression.is_match(key)) {
            into.insert(key.to_owned(), text.to_owned());
        }
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// A key as the journal takes it: upper case, digits and underscores, none of these in front.
fn journal_key(key: &str) -> String {
    let upper = key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    upper.collect::<String>().trim_start_matches('_').to_owned()
}

fn look_up(address: Address) -> Result<SyslogServer> {
    use std::net::ToSocketAddrs;
    match address {
        Address::Local => Ok(SyslogServer::Local),
        Address::Unix { path, is_stream: true } => Ok(SyslogServer::Unix(path)),
        Address::Unix { path, is_stream: false } => Ok(SyslogServer::UnixDatagram(path)),
        Address::Net { host, is_stream } => {
            let found = host.to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>);
            let found = found.map_err(|source| LogError::Lookup { host, source })?;
            Ok(if is_stream { SyslogServer::Tcp(found) } else { SyslogServer::Udp(found) })
        }
    }
}
