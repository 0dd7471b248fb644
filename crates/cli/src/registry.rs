//! `registry serve`.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use engine::registries::Credentials;
use registry_server::{Settings, TlsFiles};

use crate::context::{Context, absolute};
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::image::registries;
use crate::values::time::positive_duration;
use crate::{log, output};

/// `skiff registry serve`.
pub(crate) fn serve(context: &Context, parsed: &Parsed) -> Result<u8> {
    let address = parsed.value("addr", address)?.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 5000)));
    let root = match parsed.text("root") {
        Some(root) => absolute(root)?,
        None => context.root()?.join("registry"),
    };
    let mut settings = settings(parsed, root, address)?;
    settings.tls = match (parsed.text("tls-cert"), parsed.text("tls-key")) {
        (Some(certificate), Some(key)) => {
            Some(TlsFiles { certificate: absolute(certificate)?, key: absolute(key)? })
        }
        (None, None) => None,
        _ => return Err(Error::Conflict("--tls-cert and --tls-key need each other")),
    };
    settings.config = parsed.text("config").map(absolute).transpose()?;
    settings.proxy = parsed.text("proxy").map(str::to_owned);
    // Other registries are asked as the configuration says, never as the caller.
    settings.client = registries::settings_with(context, Credentials::default())?;
    log::serve();
    registry_server::serve(settings, |listening| {
        let scheme = if listening.tls { "https" } else { "http" };
        output::print(&format!("serving {scheme}://{}\n", listening.address));
        if let Some(address) = listening.metrics_address {
            output::print(&format!("monitored at http://{address}\n"));
        }
    })?;
    Ok(0)
}

fn settings(parsed: &Parsed, root: PathBuf, address: SocketAddr) -> Result<Settings> {
    let mut settings = Settings::new(root, address);
    for (flag, place) in [
        ("grace", &mut settings.grace),
        ("upload-expiry", &mut settings.upload_expiry),
        ("collect-every", &mut settings.collect_every),
        ("client-timeout", &mut settings.patience),
    ] {
        if let Some(duration) = parsed.value(flag, positive_duration)? {
            *place = duration;
        }
    }
    settings.metrics_address = parsed.value("metrics-addr", self::address)?;
    settings.untagged = parsed.value("collect-untagged", positive_duration)?;
    if let Some(count) = parsed.value("uploads-per-client", |text| {
        text.parse().ok().filter(|count| *count > 0).ok_or("a number above 0")
    })? {
        settings.uploads_per_client = count;
    }
    settings.sparse_indexes = parsed.on("sparse-indexes");
    Ok(settings)
}

/// `HOST:PORT` or `:PORT`, which is every address of this machine.
fn address(text: &str) -> std::result::Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix(':').and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::from(([0; 16], port)));
    }
    let mut found = text.to_socket_addrs().map_err(|error| format!("want HOST:PORT: {error}"))?;
    found.next().ok_or_else(|| "no such host".to_owned())
}
