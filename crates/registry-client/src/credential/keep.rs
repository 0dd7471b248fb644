//! Writes credentials: into the file, of which all else stays as it is, or with the helper that the file names.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Credential, Credentials, LIMIT, Place, helper, host_of, key};
use crate::error::{Error, Result};

/// Where a credential is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// With a helper.
    Helper,
    /// In the file, readable for whoever can read that.
    File,
}

/// Keeps the credential of a registry, by the configuration at `path`, which is made when missing.
///
/// # Errors
/// If the file makes no sense or cannot be written, or a helper fails.
pub fn keep(path: &Path, registry: &str, credential: &Credential) -> Result<Kept> {
    let server = key(registry);
    if let Place::Helper { name, server } = Credentials::read(path)?.place(server)? {
        return helper::store(name, server, credential).map(|()| Kept::Helper);
    }
    let entry = match credential {
        Credential::Password { username, password } => {
            json!({"auth": STANDARD.encode(format!("{username}:{password}"))})
        }
        Credential::IdentityToken(token) => {
            json!({"auth": STANDARD.encode("00000000-0000-0000-0000-000000000000:"), "identitytoken": token})
        }
        Credential::RegistryToken(token) => json!({"registrytoken": token}),
    };
    change(path, |auths| {
        auths.insert(server.to_owned(), entry);
        true
    })?;
    Ok(Kept::File)
}

/// Forgets the credential of a registry; tells whether there was one.
///
/// # Errors
/// As [`keep`].
pub fn forget(path: &Path, registry: &str) -> Result<bool> {
    let server = key(registry);
    let credentials = Credentials::read(path)?;
    let with_helper = match credentials.place(server) {
        Ok(Place::Helper { name, server }) => {
            helper::erase(name, server)?;
            true
        }
        // One that makes no sense is forgotten all the same.
        Ok(_) | Err(_) => false,
    };
    let in_file = change(path, |auths| {
        let before = auths.len();
        auths.retain(|name, _| name != server && host_of(name) != host_of(server));
        auths.len() != before
    })?;
    Ok(with_helper || in_file)
}

/// Changes what the file says under `auths`, if `change` does anything; tells whether it did.
fn change(path: &Path, change: impl FnOnce(&mut Map<String, Value>) -> bool) -> Result<bool> {
    let refuse =
        |reason: &str| Error::Configuration { path: path.display().to_string(), reason: reason.to_owned() };
    let mut document = match linux::file::read_bounded(path, LIMIT) {
        // The library's own words may quote a secret.
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| refuse("it is not JSON"))?,
        Err(error) if error.is_missing() => json!({}),
        Err(error) => return Err(error.into()),
    };
    let object = document.as_object_mut().ok_or_else(|| refuse("it is not an object"))?;
    let auths = object.entry("auths").or_insert_with(|| json!({}));
    let auths = auths.as_object_mut().ok_or_else(|| refuse("auths is not an object"))?;
    if !change(auths) {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        linux::file::create_dirs(folder, 0o700)?;
    }
    let mut text = serde_json::to_string_pretty(&document).map_err(|_| refuse("it cannot be written"))?;
    text.push('\n');
    // One that lies elsewhere, with a link in its place, is replaced there.
    let target = std::fs::read_link(path).ok().and_then(|target| Some(path.parent()?.join(target)));
    linux::file::write_atomic(target.as_deref().unwrap_or(path), text.as_bytes(), 0o600)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Credential {
        Credential::Password { username: "user".to_owned(), password: text.to_owned() }
    }

    #[test]
    fn a_file_keeps_all_that_is_not_about_the_registry() {
        let scratch = testkit::Scratch::new();
        let path = scratch.join("new/config.json");
        assert!(!forget(&path, "a.test").unwrap());
        assert_eq!(keep(&path, "a.test", &password("x:y")).unwrap(), Kept::File);
        let find = |registry: &str| Credentials::read(&path).unwrap().find(registry).unwrap();
        assert_eq!(find("a.test"), Some(password("x:y")));
        let mode = rustix_mode(&path);
        assert_eq!(mode, 0o600);
        let text = r#"{"psFormat":"z","auths":{"b.test":{"auth":"dTpw"},"https://a.test/v1/":{"auth":"dTpw"}},"proxies":{"a":1}}"#;
        linux::file::write(&path, text.as_bytes()).unwrap();
        keep(&path, "docker.io", &password("hub")).unwrap();
        assert!(forget(&path, "a.test").unwrap());
        assert_eq!((find("a.test"), find("docker.io")), (None, Some(password("hub"))));
        let left: Value = serde_json::from_slice(&linux::file::read(&path).unwrap()).unwrap();
        assert_eq!((&left["psFormat"], &left["proxies"]["a"]), (&json!("z"), &json!(1)));
        assert!(
            left["auths"].get("b.test").is_some() && left["auths"].get(super::super::DOCKER_KEY).is_some()
        );
        linux::file::write(&path, b"[\"secret\"").unwrap();
        let error = keep(&path, "a.test", &password("x")).unwrap_err();
        assert!(!format!("{error:?}").contains("secret"));
    }

    fn rustix_mode(path: &Path) -> u32 {
        use std::os::unix::fs::PermissionsExt as _;
        path.metadata().unwrap().permissions().mode() & 0o777
    }
}
