//! `port`: which ports of a container are reached from outside, and where.

use serde_json::Value;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::{inspect, output};

/// `skiff port`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let name = &parsed.arguments[0];
    let document = inspect::container_document(context, name)?;
    let ports = &document["NetworkSettings"]["Ports"];
    match parsed.arguments.get(1).filter(|port| !port.is_empty()) {
        None => output::print(&listing(ports)),
        Some(port) => {
            let key = key(port)?;
            let places = places(&ports[&key]);
            if places.is_empty() {
                return Err(Error::NotPublished { port: port.clone(), container: name.clone() });
            }
            output::print(&places.iter().map(|place| format!("{place}\n")).collect::<String>());
        }
    }
    Ok(0)
}

/// `80` and `80/tcp` mean the same.
fn key(port: &str) -> Result<String> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, ""));
    let protocol = if protocol.is_empty() { "tcp" } else { protocol };
    if number.parse::<u16>().is_err() || number.starts_with('+') {
        return Err(Error::InvalidPort { port: number.to_owned() });
    }
    Ok(format!("{number}/{protocol}"))
}

/// Every published port in a line: by number, then protocol, then place.
fn listing(ports: &Value) -> String {
    let mut lines = Vec::new();
    for (port, published) in ports.as_object().into_iter().flatten() {
        let (number, protocol) = port.split_once('/').unwrap_or((port, ""));
        let order = (number.parse::<u16>().unwrap_or(u16::MAX), protocol.to_owned());
        lines.extend(
            places(published).into_iter().map(|place| (order.clone(), format!("{port} -> {place}\n"))),
        );
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

/// `0.0.0.0:8080`, `[::]:8080`.
fn places(published: &Value) -> Vec<String> {
    let place = |place: &Value| {
        let (address, port) = (place["HostIp"].as_str()?, place["HostPort"].as_str()?);
        Some(if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") })
    };
    published.as_array().into_iter().flatten().filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn published_ports_are_listed_by_number() {
        let place = |address: &str, port: &str| json!({ "HostIp": address, "HostPort": port });
        let ports = json!({
            "443/tcp": [place("0.0.0.0", "8443")],
            "80/tcp": [place("0.0.0.0", "8080"), place("::", "8080")],
            "80/sctp": [place("127.0.0.1", "9")],
            "53/udp": null,
        });
        assert_eq!(
            listing(&ports),
            "80/sctp -> 127.0.0.1:9\n80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n443/tcp -> 0.0.0.0:8443\n"
        );
        assert_eq!(listing(&Value::Null), "");
    }

    #[test]
    fn a_port_is_a_number_with_a_protocol() {
        for (text, want) in [("80", "80/tcp"), ("80/", "80/tcp"), ("53/udp", "53/udp"), ("0", "0/tcp")] {
            assert_eq!(key(text).unwrap(), want);
        }
        for wrong in ["", "x", "65536", "-1", "+1", "80-90"] {
            assert!(key(wrong).is_err(), "{wrong}");
        }
    }
}
