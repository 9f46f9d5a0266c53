//! `rollout`: how new generations reach a workload.

mod history;
mod pause;
mod progress;
mod restart;
mod status;
mod track;

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::error::Outcome;
use crate::k8s::cluster::Cluster;

/// Looks after rollouts.
#[derive(Debug, Args)]
pub(crate) struct RolloutArgs {
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Wait until a workload's pods all run what its template says, and tell how that goes
    Status(status::StatusArgs),
    /// List the revisions of a workload with the generations that they ran
    History(history::HistoryArgs),
    /// Hold the rollout of new generations
    Pause(pause::PauseArgs),
    /// Let new generations be rolled out again
    Resume(pause::ResumeArgs),
    /// Replace all pods; a reference without a number takes the generation that is live now
    Restart(restart::RestartArgs),
    /// Roll out each generation that is made live
    Track(track::TrackArgs),
}

/// Runs a verb.
///
/// # Errors
/// Fails as the verb does.
pub(crate) async fn run(context: &Context, cluster: &Cluster, args: &RolloutArgs) -> Outcome {
    match &args.verb {
        Verb::Status(verb) => status::run(context, cluster, verb).await,
        Verb::History(verb) => history::run(context, cluster, verb).await,
        Verb::Pause(verb) => pause::pause(context, cluster, verb).await,
        Verb::Resume(verb) => pause::resume(context, cluster, verb).await,
        Verb::Restart(verb) => restart::run(context, cluster, verb).await,
        Verb::Track(verb) => track::run(context, cluster, verb).await,
    }
}
