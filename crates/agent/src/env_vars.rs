//! The environment variables that the agent reads, each in one place.

/// The configuration file: `--config`.
pub(crate) const CONFIG: &str = "NIVAL_AGENT_CONFIG";

/// The folder of all that the agent keeps: `--state`.
pub(crate) const STATE: &str = "NIVAL_AGENT_STATE";

/// The Unix socket: `--socket`.
pub(crate) const SOCKET: &str = "NIVAL_AGENT_SOCKET";

/// The address of the hub: `--hub`.
pub(crate) const HUB: &str = "NIVAL_HUB";
