//! `nival k8s` and `kubectl nival`: what runs on a cluster. The verbs, one file each.

mod agent_log;
mod change;
mod cluster;
mod completion;
mod diff;
mod doctor;
mod flags;
mod history;
mod init;
mod inventory;
mod kinds;
mod logs;
mod object;
mod packages;
mod pin;
mod plugin;
mod rollback;
mod rollout;
mod running;
mod sbom;
mod select;
mod show;
mod status;
mod who_runs;
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
    /// Follow, hold and ask for rollouts of new generations
    Rollout(rollout::RolloutArgs),
    /// Bring a workload back to an earlier generation
    Rollback(rollback::RollbackArgs),
    /// Show what would change for a workload with the live generation, or another
    Diff(diff::DiffArgs),
    /// Print the bill of materials of what runs in a pod
    Sbom(sbom::SbomArgs),
    /// List the workloads that have a package in what they run
    WhoRuns(who_runs::WhoRunsArgs),
    /// Show how a pod's start went, stage by stage
    Logs(logs::LogsArgs),
    /// Print manifests of a workload that runs in an environment
    Init(init::InitArgs),
    /// Look at all parts of Nival in the cluster, and say what to do next
    Doctor(doctor::DoctorArgs),
    /// Print a script by which a shell completes this program
    Completion(completion::CompletionArgs),
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
        Verb::Rollout(verb) => rollout::run(context, &connect().await?, verb).await?,
        Verb::Rollback(verb) => rollback::run(context, &connect().await?, verb).await?,
        Verb::Diff(verb) => diff::run(context, &connect().await?, verb).await?,
        Verb::Sbom(verb) => sbom::run(context, &connect().await?, &args.flags, verb).await?,
        Verb::WhoRuns(verb) => {
            who_runs::run(context, &connect().await?, &args.flags, verb).await?;
        }
        Verb::Logs(verb) => logs::run(context, &connect().await?, &args.flags, verb).await?,
        Verb::Init(verb) => init::run(context, verb).await?,
        Verb::Completion(verb) => completion::script(context, verb)?,
        Verb::Doctor(verb) => {
            doctor::run(context, &connect().await?, &args.flags, verb).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
