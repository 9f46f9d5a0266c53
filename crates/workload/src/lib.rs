//! What Nival reads in a Kubernetes workload and writes to it, and what policy lets it have. Pure: no network, no files.

pub mod annotations;
pub mod deadline;
pub mod names;
mod pattern;
pub mod pin;
pub mod policy;
pub mod rollout;
pub mod template;
mod tracking;
pub mod uses;

pub use pattern::Pattern;
pub use tracking::Tracking;
