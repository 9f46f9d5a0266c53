//! From a closure and its metadata to CycloneDX and SPDX documents: pure.

mod component;
mod cyclonedx;
mod input;
mod license;
mod name;
mod serial;
mod spdx_document;

pub use cyclonedx::{CYCLONEDX_FORMAT, cyclonedx};
pub use input::SbomInput;
pub use spdx_document::{SPDX_FORMAT, spdx};
