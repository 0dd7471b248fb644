//! What a client of registries is told by the environment and the configuration.
//!
//! ```text
//! the folders of settings, the user's before the host's   registries.toml, certs.d
//! /etc/containerd, /etc/docker                            certs.d
//! ```

#![allow(clippy::disallowed_methods, reason = "the command line is what reads the environment")]

use std::ops::Deref;
use std::path::{Path, PathBuf};

use engine::registries::{Client, Credentials, HostRules, Listener, Notice, Proxies, Settings};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::output;

/// The variable that holds `auths` as the client configuration does, which count before those.
const INLINE: &str = "DOCKER_AUTH_CONFIG";

/// A client of registries, as the caller has set things up.
pub(crate) fn client(context: &Context) -> Result<Warned> {
    Ok(Warned(Client::new(settings(context)?)))
}

/// A client that tells at its end what registries want their user to know.
pub(crate) struct Warned(Client);

impl Deref for Warned {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

impl Drop for Warned {
    fn drop(&mut self) {
        for text in self.0.take_warnings() {
            output::warn(&format!("WARNING: {text}\n"));
        }
    }
}

/// One that tells of its waits, and of limits.
pub(crate) fn telling(context: &Context, hear: impl Fn(&Notice) + Send + Sync + 'static) -> Result<Warned> {
    let settings = settings(context)?;
    Ok(Warned(Client::new(Settings { listener: Listener::new(hear), ..settings })))
}

/// A client that has no credential for anybody.
pub(crate) fn anonymous_client(context: &Context) -> Result<Client> {
    settings_with(context, Credentials::default()).map(Client::new)
}

/// A client that talks to `insecure` registries too, where no file says how they are to be talked to.
pub(crate) fn client_of(context: &Context, insecure: bool) -> Result<Warned> {
    let mut settings = settings(context)?;
    settings.hosts.insecure = insecure;
    Ok(Warned(Client::new(settings)))
}

/// What a client is told.
pub(crate) fn settings(context: &Context) -> Result<Settings> {
    let failed = |source| Error::Registries(Box::new(source));
    let credentials = match context.configuration_file() {
        Some(file) => Credentials::read(&file).map_err(failed)?,
        None => Credentials::default(),
    };
    // For those who have no file to keep them in, such as the jobs of a build server.
    let credentials = match std::env::var(INLINE).ok().filter(|text| !text.trim().is_empty()) {
        Some(text) => credentials.with_first(INLINE, &text).map_err(failed)?,
        None => credentials,
    };
    settings_with(context, credentials)
}

/// The same with these credentials.
pub(crate) fn settings_with(context: &Context, credentials: Credentials) -> Result<Settings> {
    let failed = |source| Error::Registries(Box::new(source));
    let variable = |name: &str| {
        let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        value(name).or_else(|| value(&name.to_lowercase())).unwrap_or_default()
    };
    let proxies = Proxies::new(&variable("HTTP_PROXY"), &variable("HTTPS_PROXY"), &variable("NO_PROXY"));
    let hosts = host_rules(context);
    Ok(Settings {
        patience: hosts.patience().map_err(failed)?,
        ranges: hosts.ranges().map_err(failed)?,
        hosts,
        credentials,
        proxies: proxies.map_err(failed)?,
        certificates: std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from),
        ..Settings::default()
    })
}

fn host_rules(context: &Context) -> HostRules {
    let folders = context.settings();
    let others = ["/etc/containerd", "/etc/docker"].map(|folder| Path::new(folder).join("certs.d"));
    HostRules {
        files: folders.iter().map(|folder| folder.join("registries.toml")).collect(),
        folders: folders.iter().map(|folder| folder.join("certs.d")).chain(others).collect(),
        insecure: false,
    }
}
