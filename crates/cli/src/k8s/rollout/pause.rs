//! `rollout pause` and `rollout resume`: whether new generations are rolled out.

use clap::Args;
use serde_json::Value;
use workload::names::{PAUSED, TRACK, TRACK_LATEST};

use crate::context::Context;
use crate::error::Outcome;
use crate::k8s::change::{self, DryRun};
use crate::k8s::cluster::Cluster;
use crate::k8s::kinds::ObjectName;
use crate::k8s::object;

/// Pauses.
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// The workload, such as deployment/web
    workload: ObjectName,
    /// Whether anything is changed.
    #[command(flatten)]
    dry_run: DryRun,
}

/// Resumes.
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The workload, such as deployment/web
    workload: ObjectName,
    /// Whether anything is changed.
    #[command(flatten)]
    dry_run: DryRun,
}

/// Runs `pause`.
///
/// # Errors
/// Fails when there is no such workload, or the API server refuses the change.
pub(super) async fn pause(context: &Context, cluster: &Cluster, args: &PauseArgs) -> Outcome {
    set(
        context,
        cluster,
        &args.workload,
        args.dry_run,
        Some("true"),
        "paused",
    )
    .await
}

/// Runs `resume`.
///
/// # Errors
/// As [`pause`].
pub(super) async fn resume(context: &Context, cluster: &Cluster, args: &ResumeArgs) -> Outcome {
    set(
        context,
        cluster,
        &args.workload,
        args.dry_run,
        None,
        "resumed",
    )
    .await
}

async fn set(
    context: &Context,
    cluster: &Cluster,
    name: &ObjectName,
    dry_run: DryRun,
    value: Option<&str>,
    done: &str,
) -> Outcome {
    let decide = async |object: &Value| {
        let differs = object::annotation(object, PAUSED) != value;
        Ok(differs.then(|| change::annotations(&[(PAUSED, value)])))
    };
    let Some(changed) = change::change(cluster, name, dry_run, decide).await? else {
        context.printer.data(format!("{name} unchanged"))?;
        return Ok(());
    };
    if object::annotation(&changed.after, TRACK) != Some(TRACK_LATEST) {
        context.printer.warn(format!(
            "{name} does not track new generations: `kubectl nival rollout track {name}` makes it"
        ));
    }
    Ok(context.printer.data(format!("{name} {done}"))?)
}
