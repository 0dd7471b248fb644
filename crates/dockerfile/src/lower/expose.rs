//! Ports of EXPOSE.

/// What an argument says.
pub(super) struct Ports {
    /// Each as `80/tcp`.
    pub(super) ports: Vec<String>,
    /// Whether it names an address or a port of the host, which EXPOSE has no use for.
    pub(super) maps: bool,
    /// Whether the protocol is not in lower case.
    pub(super) odd_case: bool,
}

/// `port[-port][/protocol]`; also `[ip:][port:]port`, of which only the last counts.
pub(super) fn parse(text: &str) -> Result<Ports, String> {
    let mut parts: Vec<&str> = text.split(':').collect();
    let container = parts.pop().unwrap_or_default();
    let host = parts.pop().unwrap_or_default();
    let address = parts.join(":");
    let (port, protocol) = container.split_once('/').unwrap_or((container, ""));
    if port.is_empty() {
        return Err(format!("no port specified: {container}<empty>"));
    }
    let lower = protocol.to_lowercase();
    let name = match lower.as_str() {
        "" => "tcp",
        known @ ("tcp" | "udp" | "sctp") => known,
        other => return Err(format!("invalid proto: {other}")),
    };
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&address);
    if !bare.is_empty() && bare.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address: {address}"));
    }
    let (from, to) = range(port).ok_or_else(|| format!("invalid containerPort: {port}"))?;
    if !host.is_empty() {
        let (first, last) = range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?;
        if to - from != last - first && to != from {
            return Err(format!("invalid ranges specified for container and host Ports: {port} and {host}"));
        }
    }
    Ok(Ports {
        ports: (from..=to).map(|port| format!("{port}/{name}")).collect(),
        maps: !address.is_empty() || !host.is_empty(),
        odd_case: lower != protocol,
    })
}

fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| !text.starts_with('+'));
    match text.split_once('-') {
        None => number(text).map(|port| (port, port)),
        Some((from, to)) => Some((number(from)?, number(to)?)).filter(|(from, to)| from <= to),
    }
}
