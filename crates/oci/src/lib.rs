//! Digests, references, platforms, manifests, image configs and the runtime specification: parsed types, no I/O.

pub mod runtime;
