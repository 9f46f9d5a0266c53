//! The command line of `nival-operator`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{controller, install, node, on_host, uninstall};
use crate::env_vars;

/// Nival's half of a cluster: pins and rolls out generations, and looks after the nodes that run them.
#[derive(Debug, Parser)]
#[command(name = "nival-operator", version, propagate_version = true)]
pub(crate) struct Arguments {
    /// What all commands need to know.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The configuration file of the nodes, which the operator reads, too
    #[arg(long, global = true, value_name = "FILE", env = env_vars::CONFIG, default_value = api::node::DEFAULT_FILE)]
    pub(crate) config: PathBuf,
    /// The namespace that Nival is installed in
    #[arg(long, global = true, value_name = "NAME", env = env_vars::NAMESPACE, default_value = "nival-system")]
    pub(crate) namespace: String,
    /// Writes the log as JSON
    #[arg(long, global = true)]
    pub(crate) log_json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serves admission, rolls out new generations, and writes the state of environments
    Controller(controller::Controller),
    /// Looks after one node: labels it, hands requests and tokens to its agent, and says what it holds
    Node(node::Node),
    /// Puts the shim and containerd's configuration on a node
    Install(install::Install),
    /// Takes Nival off all nodes, and waits until it is
    Uninstall(uninstall::Uninstall),
    /// Prints the definitions of Nival's resources
    Crds,
    /// Becomes a program of a machine, for `install`
    #[command(hide = true)]
    OnHost(on_host::OnHost),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
