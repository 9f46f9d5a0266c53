//! `nival-operator node`: the agent's neighbour on a node.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use kube::Client;

use super::install::Machine;
use crate::args::Global;
use crate::env_vars;
use crate::error::Failure;
use crate::node::{self, Setup};

/// Options of `node`.
#[derive(Debug, Args)]
pub(crate) struct Node {
    /// The node's name in the cluster
    #[arg(long, value_name = "NAME", env = env_vars::NODE)]
    node: String,
    /// The agent's socket
    #[arg(long, value_name = "FILE", default_value = api::agent::DEFAULT_SOCKET)]
    agent_socket: PathBuf,
    /// Where metrics and health are served
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// What is said of the machine
    #[command(flatten)]
    machine: Machine,
}

/// Runs until it is told to stop.
pub(crate) async fn run(global: &Global, wish: &Node) -> Result<(), Failure> {
    host::telemetry::init(None, global.log_json);
    let setup = Setup {
        name: wish.node.clone(),
        installation: wish.machine.installation_or_extension()?,
        agent_socket: wish.agent_socket.clone(),
        config: global.config.clone(),
        listen: wish.listen,
    };
    let client = Client::try_default().await?;
    node::run(setup, client, host::shutdown::signal()).await
}
