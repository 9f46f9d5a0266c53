//! `nival k8s` and `kubectl nival`: what runs on a cluster. The verbs, one file each.

mod cluster;
mod flags;
mod inventory;
mod kinds;
mod object;
mod pin;
mod plugin;
mod show;
mod status;
mod uses;
mod yaml;

use std::process::ExitCode;

use clap::{Args, Subcommand};

pub(crate) use cluster::ClusterError;
pub use plugin::run_plugin;

use crate::context::Context;
use crate::error::Outcome;
use crate::k8s::cluster::Cluster;
use crate::k8s::flags::ClusterFlags;

/// Looks after what runs on a cluster.
#[derive(Debug, Args)]
pub(crate) struct K8sArgs {
    /// Which cluster, as whom.
    #[command(flatten)]
    flags: ClusterFlags,
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Show which workloads run which generations, and how their rollouts stand
    Status(status::StatusArgs),
    /// Write the pins that admission would write into manifests
    Pin(pin::PinArgs),
}

/// Runs a verb.
///
/// # Errors
/// Fails as the verb does.
pub(crate) async fn run(context: &Context, args: &K8sArgs) -> Outcome<ExitCode> {
    let connect = || Cluster::of(&args.flags);
    match &args.verb {
        Verb::Status(verb) => status::run(context, &connect().await?, verb).await?,
        Verb::Pin(verb) => pin::run(context, verb).await?,
    }
    Ok(ExitCode::SUCCESS)
}
