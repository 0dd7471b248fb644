//! Limits, freezing, killing and statistics of control groups; version 2 and version 1 behind one interface.

mod plan;

pub use plan::{BlockIo, DeviceKind, DeviceRule, Limits, Plan};
