//! `rollout track`: whether each generation that is made live reaches a workload by itself.

use clap::Args;
use serde_json::Value;
use workload::names::{PROGRESS_DEADLINE, TRACK, TRACK_LATEST};
use workload::uses::Use;

use crate::context::Context;
use crate::error::{CommandError, Outcome};
use crate::k8s::change::{self, DryRun, require_changeable};
use crate::k8s::cluster::Cluster;
use crate::k8s::kinds::ObjectName;
use crate::k8s::object;

/// Tracks.
#[derive(Debug, Args)]
pub(crate) struct TrackArgs {
    /// The workload, such as deployment/web
    workload: ObjectName,
    /// Stop it
    #[arg(long, conflicts_with = "deadline")]
    off: bool,
    /// How long a rollout may make no progress before it is rolled back, such as 10m or 1h30m
    #[arg(long, value_name = "TIME", value_parser = deadline)]
    deadline: Option<String>,
    /// Whether anything is changed.
    #[command(flatten)]
    dry_run: DryRun,
}

fn deadline(text: &str) -> Result<String, workload::deadline::DeadlineError> {
    workload::deadline::parse(text).map(|_time| text.to_owned())
}

/// Runs the command.
///
/// # Errors
/// Fails when the workload has nothing to track, or the API server refuses the change.
pub(super) async fn run(context: &Context, cluster: &Cluster, args: &TrackArgs) -> Outcome {
    let name = &args.workload;
    require_changeable(name)?;
    let decide = async |object: &Value| {
        if !args.off {
            require_trackable(name, object)?;
        }
        let track = (!args.off).then_some(TRACK_LATEST);
        let mut changes = vec![(TRACK, track)];
        if let Some(deadline) = &args.deadline {
            changes.push((PROGRESS_DEADLINE, Some(deadline)));
        }
        let differs =
            |(name, value): &(&str, Option<&str>)| object::annotation(object, name) != *value;
        Ok(changes
            .iter()
            .any(differs)
            .then(|| change::annotations(&changes)))
    };
    let changed = change::change(cluster, name, args.dry_run, decide).await?;
    let done = match (changed.is_some(), args.off) {
        (false, _) => "unchanged",
        (true, false) => "tracks the live generation",
        (true, true) => "stays at its generation",
    };
    Ok(context.printer.data(format!("{name} {done}"))?)
}

/// Refuses a workload whose references all say which generation they mean: there would be nothing to follow.
fn require_trackable(name: &ObjectName, object: &Value) -> Outcome {
    let uses = Use::all_in(&object::template_annotations(name.kind, object));
    if uses.iter().any(|one| one.floating) {
        return Ok(());
    }
    let reference = uses.iter().find_map(|one| one.reference.as_deref());
    Err(match reference {
        Some(reference) => CommandError::user(format!(
            "{name} names one generation ({reference}), so there is nothing to follow"
        ))
        .hint("write the reference without a number: owner/name"),
        None => CommandError::user(format!("{name} does not name an environment"))
            .hint("annotate its pod template with nival.dev/environment: owner/name"),
    })
}
