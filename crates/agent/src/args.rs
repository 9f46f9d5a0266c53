//! The command line of `nival-agent`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::env_vars;

/// The node agent: fetches environments, checks them, mounts them for containers, and collects what nobody uses.
#[derive(Debug, Parser)]
#[command(name = "nival-agent", version, propagate_version = true)]
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
    /// The configuration file [default: /etc/nival/agent.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = env_vars::CONFIG)]
    pub(crate) config: Option<PathBuf>,
    /// The folder of all that the agent keeps [default: /var/lib/nival]
    #[arg(long, global = true, value_name = "DIR", env = env_vars::STATE)]
    pub(crate) state: Option<PathBuf>,
    /// The Unix socket to listen on, or to ask [default: /run/nival/agent.sock]
    #[arg(long, global = true, value_name = "FILE", env = env_vars::SOCKET)]
    pub(crate) socket: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serves until it is told to stop (SIGTERM)
    Serve(Serve),
    /// Shows what the node holds, runs and fetches
    Status {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Removes what no container, no recent generation and no pin needs
    Collect {
        /// Only says what would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// Fetches a generation without running it
    Prefetch {
        /// The environment or generation: owner/name, owner/name:12, owner/name:12@sha256:…
        reference: String,
        /// For which system [default: the machine's]
        #[arg(long)]
        system: Option<String>,
    },
    /// Checks what the agent needs of this machine
    Doctor,
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The address of the hub [default: http://127.0.0.1:7878]
    #[arg(long, value_name = "URL", env = env_vars::HUB)]
    pub(crate) hub: Option<String>,
    /// Where to serve /metrics, /healthz and /readyz [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics: Option<std::net::SocketAddr>,
    /// Writes the log as JSON
    #[arg(long)]
    pub(crate) log_json: bool,
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
