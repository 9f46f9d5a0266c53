//! The environment variables that the operator reads, each in one place.

/// The configuration file, which the agents read, too: `--config`.
pub(crate) const CONFIG: &str = "NIVAL_AGENT_CONFIG";

/// The namespace that Nival is installed in: `--namespace`.
pub(crate) const NAMESPACE: &str = "NIVAL_NAMESPACE";

/// The node's name: `--node`.
pub(crate) const NODE: &str = "NIVAL_NODE";

/// The name by which a replica of the controller leads: `--identity`.
pub(crate) const POD: &str = "NIVAL_POD";
