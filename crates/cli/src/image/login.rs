//! `skiff login`, `skiff logout` and `skiff image tags`.

use std::io::{BufRead as _, Read as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use engine::registries::credential::{Kept, forget, keep};
use engine::registries::{Client, Credential, Credentials};
use linux::terminal::RawMode;
use oci::Reference;
use rustix::termios::isatty;

use super::registries;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output;

/// No password is longer.
const SECRET_LIMIT: u64 = 64 << 10;

fn failed(source: engine::registries::Error) -> Error {
    Error::OfRegistry(Box::new(source))
}

/// The registry that is meant: `host[:port]`, perhaps written as an address.
fn registry(parsed: &Parsed) -> Result<String> {
    let Some(text) = parsed.arguments.first() else { return Ok("docker.io".to_owned()) };
    let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let host = bare.split('/').next().unwrap_or_default();
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
    // What could be part of no reference is no registry.
    let is_one = format!("{host}/x").parse::<Reference>().is_ok_and(|name| name.registry() == host);
    if is_one { Ok(host.to_owned()) } else { Err(Error::NoRegistry { text: text.clone() }) }
}

fn configuration_file(context: &Context) -> Result<PathBuf> {
    let missing = Error::NoPlace { what: "credentials", variable: "HOME", flag: "--config" };
    context.configuration_file().ok_or(missing)
}

/// `skiff login`.
pub(crate) fn login(context: &Context, parsed: &Parsed) -> Result<u8> {
    let registry = registry(parsed)?;
    let path = configuration_file(context)?;
    let from_stdin = parsed.on("password-stdin");
    let given = parsed.text("password").filter(|text| !text.is_empty());
    if from_stdin && given.is_some() {
        return Err(Error::Conflict("--password and --password-stdin are mutually exclusive"));
    }
    let username = parsed.text("username").filter(|text| !text.is_empty()).map(str::to_owned);
    if from_stdin && username.is_none() {
        return Err(Error::UsernameNeeded);
    }
    if given.is_some() {
        output::warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");
    }
    let username = username.map_or_else(|| ask("Username: ", true), Ok)?;
    let password = match given {
        Some(password) => password.to_owned(),
        None if from_stdin => {
            let mut text = String::new();
            std::io::stdin().take(SECRET_LIMIT).read_to_string(&mut text).map_err(Error::Input)?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        None => ask("Password: ", false)?,
    };
    if username.is_empty() || password.is_empty() {
        return Err(Error::EmptyCredential);
    }
    let credential = Credential::Password { username, password };
    let settings = registries::settings(context)?;
    let credentials = Credentials::only(&registry, credential.clone());
    let client = Client::new(engine::registries::Settings { credentials, ..settings });
    let credential = client.log_in(&registry).map_err(failed)?.unwrap_or(credential);
    if keep(&path, &registry, &credential).map_err(failed)? == Kept::File {
        output::warn(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this \
             warning: see credsStore and credHelpers of the client configuration.\n\n",
            path.display()
        ));
    }
    output::print("Login Succeeded\n");
    Ok(0)
}

/// `skiff logout`.
pub(crate) fn logout(context: &Context, parsed: &Parsed) -> Result<u8> {
    let registry = registry(parsed)?;
    let path = configuration_file(context)?;
    if forget(&path, &registry).map_err(failed)? {
        output::print(&format!("Removing login credentials for {registry}\n"));
    } else {
        output::print(&format!("Not logged in to {registry}\n"));
    }
    Ok(0)
}

/// `skiff image tags`.
pub(crate) fn tags(context: &Context, parsed: &Parsed) -> Result<u8> {
    let text = &parsed.arguments[0];
    let name: Reference =
        text.parse().map_err(|source| Error::Reference { text: text.chars().take(80).collect(), source })?;
    let client = registries::client(context)?;
    let tags = client.repository(&name).and_then(|repository| repository.tags()).map_err(failed)?;
    output::print(&tags.iter().map(|tag| format!("{tag}\n")).collect::<String>());
    Ok(0)
}

/// Asks whoever sits at the terminal; what is typed shows only if it may.
fn ask(prompt: &str, may_show: bool) -> Result<String> {
    let stdin = std::io::stdin();
    if !isatty(&stdin) {
        return Err(Error::LoginWithoutTerminal);
    }
    let failed = |source| Error::System { attempt: "hide what is typed", source };
    // Before anybody is asked: who types fast must not see it either.
    let hidden = if may_show { None } else { Some(RawMode::hide(stdin.as_fd()).map_err(failed)?) };
    output::warn(prompt);
    let mut line = String::new();
    let read = stdin.lock().take(SECRET_LIMIT).read_line(&mut line).map_err(Error::Input);
    if hidden.is_some() {
        output::warn("\n");
    }
    drop(hidden);
    read.map(|_| line.trim_end_matches(['\r', '\n']).to_owned())
}
