//! `rollout restart`: replaces all pods, by the annotation of `kubectl rollout restart`; admission pins anew.

use clap::Args;
use serde_json::Value;
use workload::names::RESTARTED_AT;
use workload::uses::Use;

use crate::context::{Context, now};
use crate::error::{CommandError, Outcome};
use crate::k8s::change::{self, Changed, DryRun, require_changeable};
use crate::k8s::cluster::Cluster;
use crate::k8s::kinds::{Kind, ObjectName};
use crate::k8s::object;
use crate::k8s::rollback::told;

/// Restarts.
#[derive(Debug, Args)]
pub(crate) struct RestartArgs {
    /// The workload, such as deployment/web
    workload: ObjectName,
    /// Whether anything is changed.
    #[command(flatten)]
    dry_run: DryRun,
}

/// Runs the command.
///
/// # Errors
/// Fails when the workload cannot be restarted, or the API server refuses the change.
pub(super) async fn run(context: &Context, cluster: &Cluster, args: &RestartArgs) -> Outcome {
    let name = &args.workload;
    require_changeable(name)?;
    let time = now();
    let decide = async |object: &Value| {
        let paused = object.pointer("/spec/paused").and_then(Value::as_bool) == Some(true);
        if name.kind == Kind::Deployment && paused {
            return Err(CommandError::user(format!(
                "{name} is paused, so no pod would be replaced"
            ))
            .hint(format!("resume it first: kubectl rollout resume {name}")));
        }
        let changes = [(RESTARTED_AT.to_owned(), time.clone())];
        Ok(Some(change::template_annotations(name.kind, &changes)))
    };
    let Some(changed) = change::change(cluster, name, args.dry_run, decide).await? else {
        return Ok(());
    };
    context.printer.data(format!("{name} restarted"))?;
    for line in told(name, &changed.before, &changed.after) {
        context.printer.say(line);
    }
    if let Some(place) = unseen(name, &changed, &time) {
        context.printer.warn(format!(
            "{place} was not pinned anew: admission did not look at it (`kubectl nival doctor` tells why); nodes start it with the pin that it has, or resolve it themselves"
        ));
    }
    Ok(())
}

/// Returns a reference whose pin does not know of the restart, although there is nobody else to make it.
fn unseen(name: &ObjectName, changed: &Changed, time: &str) -> Option<String> {
    let annotations = object::template_annotations(name.kind, &changed.after);
    let uses = Use::all_in(&annotations);
    let unseen = uses.into_iter().find(|one| {
        let from = annotations.get(&one.slot.pinned_from());
        let by_hand = one.pin.is_some() && !one.has_pinned_from;
        let seen = from.is_some_and(|from| from.ends_with(time));
        one.floating && !by_hand && !seen
    });
    unseen.and_then(|one| one.reference)
}
