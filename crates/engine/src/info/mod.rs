//! What the engine tells about containers, images and itself: complete typed values, rendered by front ends.

mod build;
mod container;
mod host;
mod image;
mod log;

pub use monitor::{HealthReport, HealthState, Probe};

pub use crate::plan::Hidden;
pub use build::{Built, BuiltImage};
pub use container::{ContainerInfo, ContainerState, ContainerSummary, Created, Status, VolumeMount};
pub use host::{Info, Version};
pub use image::{
    Attestation, HistoryEntry, ImageInfo, ImagePlatform, ImageRemoval, ImageSummary, ImageTree, LoadedImage,
    Pruned, Pulled, Pushed, Repaired, Unrepaired, Verified,
};
pub(crate) use log::LogAttributes;
pub use log::{LogLine, LogTime};
