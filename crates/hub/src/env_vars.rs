//! The environment variables that the hub reads, each in one place.

/// Where to listen: `--listen`.
pub(crate) const LISTEN: &str = "NIVAL_HUB_LISTEN";

/// The folder of data: `--data`.
pub(crate) const DATA: &str = "NIVAL_HUB_DATA";

/// The configuration file: `--config`.
pub(crate) const CONFIG: &str = "NIVAL_HUB_CONFIG";
