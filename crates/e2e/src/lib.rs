//! Tests against the real program, the kernel and real clients.
