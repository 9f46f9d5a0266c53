//! Nival's resources in a cluster. The operator writes their state; people, the command line and the nodes read them.

mod environment;
mod nival_node;

pub use environment::{
    Environment, EnvironmentSpec, EnvironmentStatus, Failure, Holder, Live, Phase, Workload,
};
pub use nival_node::{
    NivalNode, NivalNodeSpec, NivalNodeStatus, NodeState, Prefetch, PrefetchState, PrefetchStatus,
};

/// The version of the resources.
pub const VERSION: &str = "v1alpha1";
