//! Commands about a registry of one's own.

use super::verb;
use crate::flags::{Arguments, Entry, Group, Section, Verb, switch, value};

/// `skiff registry`.
pub(crate) static REGISTRY: Group = Group { path: "registry", about: "Run a registry", entries: ENTRIES };

static ENTRIES: &[Entry] = &[verb("serve", Section::Plain, &SERVE)];

/// `skiff registry serve`.
pub(crate) static SERVE: Verb = Verb {
    usage: "[OPTIONS]",
    about: "Serve images to whoever speaks the distribution protocol, until SIGTERM",
    aliases: &[],
    arguments: Arguments::Exactly(0),
    interspersed: true,
    flags: &[&[
        value("addr", "address", "Where to listen; port 0 takes a free one").default("127.0.0.1:5000"),
        value("client-timeout", "duration", "Cut a client that takes and sends next to nothing for so long")
            .default("60s"),
        value("collect-every", "duration", "Pause between collections of garbage").default("10m"),
        value("collect-untagged", "duration", "Also remove manifests of this age that nothing leads to"),
        value("config", "string", "File (TOML) that says who may do what; without one, everybody may"),
        value("grace", "duration", "Keep what no manifest uses for so long after a client relied on it")
            .default("1h"),
        value("metrics-addr", "address", "Where to answer /metrics (Prometheus) and /healthz"),
        value(
            "proxy",
            "string",
            "Stand in for the registry at this URL: fetch from it what clients ask for, and keep it",
        ),
        value("root", "string", "Folder of what the registry holds; \"registry\" in Skiff's own by default"),
        switch("sparse-indexes", "Take an index whose manifests are not all there"),
        value("tls-cert", "string", "Certificate (PEM), to speak TLS"),
        value("tls-key", "string", "Key of the certificate (PEM)"),
        value("upload-expiry", "duration", "Remove an upload that nobody goes on with after so long")
            .default("24h"),
        value("uploads-per-client", "int", "How many uploads one client may send at once").default("64"),
    ]],
    run: crate::registry::serve,
};
