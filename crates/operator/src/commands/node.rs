//! `nival-operator node`: the agent's neighbour on a node.

use clap::Args;

use crate::args::Global;
use crate::env_vars;
use crate::error::Failure;

/// Options of `node`.
#[derive(Debug, Args)]
pub(crate) struct Node {
    /// The node's name in the cluster
    #[arg(long, value_name = "NAME", env = env_vars::NODE)]
    node: String,
}

/// Runs to its end.
pub(crate) async fn run(_global: &Global, wish: &Node) -> Result<(), Failure> {
    tracing::info!(node = wish.node, "starting");
    Err("this command is not built yet".into())
}
