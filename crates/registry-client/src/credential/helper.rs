//! Credential helpers: programs of the user's, `docker-credential-NAME`, that keep secrets elsewhere. One is started with a
//! verb, reads its request from standard input and answers on standard output.

#![allow(clippy::disallowed_methods, reason = "the protocol is to start a program of that name")]

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::Credential;
use crate::error::{Error, Result, excerpt};

/// No answer is longer.
const LIMIT: u64 = 1 << 20;
/// The name under which a helper keeps an identity token.
const TOKEN_USER: &str = "<token>";
/// What a helper says about a server that it does not know.
const UNKNOWN: &str = "credentials not found in native keychain";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks a helper for the credential of a server; `None` if it has none.
pub(super) fn get(name: &str, server: &str) -> Result<Option<Credential>> {
    let (program, output) = match run(name, "get", server.as_bytes())? {
        Ran::Done { program, output } => (program, output),
        Ran::Unknown => return Ok(None),
    };
    let answer: Answer = serde_json::from_slice(&output).map_err(|_| Error::Helper {
        program,
        reason: "its answer is not what the protocol wants".to_owned(),
    })?;
    Ok(match answer {
        Answer { secret, .. } if secret.is_empty() => None,
        Answer { username, secret } if username == TOKEN_USER => Some(Credential::IdentityToken(secret)),
        Answer { username, secret } => Some(Credential::Password { username, password: secret }),
    })
}

enum Ran {
    Done { program: String, output: Vec<u8> },
    Unknown,
}

fn run(name: &str, verb: &str, input: &[u8]) -> Result<Ran> {
    let program = format!("docker-credential-{name}");
    let failed = |reason: String| Error::Helper { program: program.clone(), reason };
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(failed("no program has such a name".to_owned()));
    }
    let mut child = Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read its request says by its end what is wrong.
        drop(stdin.write_all(input));
    }
    let mut output = Vec::new();
    let read = child.stdout.take().map_or(Ok(0), |stdout| stdout.take(LIMIT + 1).read_to_end(&mut output));
    if read.is_err() || output.len() as u64 > LIMIT {
        // It may wait for ever for somebody to read the rest.
        drop(child.kill());
    }
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    read.map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output);
    match status.success() {
        true => Ok(Ran::Done { program, output }),
        false if said.trim() == UNKNOWN => Ok(Ran::Unknown),
        false => Err(failed(format!("{verb} failed ({status}): {}", excerpt(said.trim())))),
    }
}

/// Has a helper keep a credential.
pub(super) fn store(name: &str, server: &str, credential: &Credential) -> Result<()> {
    let (username, secret) = match credential {
        Credential::Password { username, password } => (username.as_str(), password.as_str()),
        Credential::IdentityToken(token) | Credential::RegistryToken(token) => (TOKEN_USER, token.as_str()),
    };
    let request = serde_json::json!({"ServerURL": server, "Username": username, "Secret": secret});
    run(name, "store", request.to_string().as_bytes()).map(drop)
}

/// Has a helper forget a credential.
pub(super) fn erase(name: &str, server: &str) -> Result<()> {
    run(name, "erase", server.as_bytes()).map(drop)
}
