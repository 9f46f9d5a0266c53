//! `rollback`: brings a workload's template back to an earlier generation. Where the cluster remembers it, no hub is asked.

use api::kubernetes::NivalNode;
use clap::Args;
use env_spec::{EnvironmentName, Pin, Reference};
use serde_json::Value;
use workload::annotations::Annotations;
use workload::names::{TRACK, TRACK_LATEST};
use workload::pin::{Slot, pinned_from};
use workload::uses::Use;

use crate::context::Context;
use crate::error::{CommandError, Outcome};
use crate::hub::{TrustedHub, require_not_revoked};
use crate::k8s::change::{self, DryRun, require_changeable};
use crate::k8s::cluster::Cluster;
use crate::k8s::history::{Revision, pin_of, revisions};
use crate::k8s::kinds::{Kind, ObjectName};
use crate::k8s::object;
use crate::k8s::select::select;

/// Rolls a workload back.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The workload, such as deployment/web
    workload: ObjectName,
    /// The generation to run (default: what the revision before the present one ran)
    #[arg(long, value_name = "NUMBER")]
    to: Option<u64>,
    /// The container whose environment is meant, where there are several
    #[arg(long, short = 'c', value_name = "NAME")]
    container: Option<String>,
    /// Whether anything is changed.
    #[command(flatten)]
    dry_run: DryRun,
}

/// One place, from one generation to another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    place: Use,
    to: Pin,
}

/// Runs the command.
///
/// # Errors
/// Fails when nothing is known to go back to, or the API server refuses the change.
pub(crate) async fn run(context: &Context, cluster: &Cluster, args: &RollbackArgs) -> Outcome {
    let name = &args.workload;
    require_changeable(name)?;
    let decide = async |object: &Value| {
        let steps = steps(context, cluster, args, object).await?;
        let annotations = object::template_annotations(name.kind, object);
        let changes = changes(&steps, &annotations);
        let differs = |(name, value): &(String, String)| annotations.get(name) != Some(value);
        let wanted = changes.iter().any(differs);
        Ok(wanted.then(|| change::template_annotations(name.kind, &changes)))
    };
    let Some(changed) = change::change(cluster, name, args.dry_run, decide).await? else {
        context.printer.say(format!("{name} runs that already."));
        return Ok(());
    };
    let suffix = match args.dry_run.dry_run {
        true => " (server dry run)",
        false => "",
    };
    for line in told(name, &changed.before, &changed.after) {
        context.printer.data(format!("{line}{suffix}"))?;
    }
    if object::annotation(&changed.after, TRACK) == Some(TRACK_LATEST) {
        context.printer.say(
            "Tracking holds until another generation is made live; `kubectl nival rollout status` tells when it goes on.",
        );
    }
    Ok(())
}

/// Returns what each place of the template is to run.
async fn steps(
    context: &Context,
    cluster: &Cluster,
    args: &RollbackArgs,
    object: &Value,
) -> Outcome<Vec<Step>> {
    let name = &args.workload;
    let annotations = object::template_annotations(name.kind, object);
    let uses = Use::all_in(&annotations);
    let revisions = revisions(cluster, name, object).await?;
    let Some(number) = args.to else {
        let uses = match args.container.as_deref() {
            Some(container) => select(&name.to_string(), uses, Some(container))?.1,
            None => uses,
        };
        return before(name, &revisions, &uses);
    };
    let (environment, uses) = select(&name.to_string(), uses, args.container.as_deref())?;
    let pin = match pin_of(&revisions, &environment, number) {
        Some(pin) => pin,
        None => match held_by_nodes(cluster, &environment, number).await {
            Some(pin) => pin,
            None => published(context, &environment, number).await?,
        },
    };
    let step = |place| Step {
        place,
        to: pin.clone(),
    };
    Ok(uses.into_iter().map(step).collect())
}

/// Returns what the last revision ran that ran something else.
fn before(name: &ObjectName, revisions: &[Revision], uses: &[Use]) -> Outcome<Vec<Step>> {
    let steps_of = |revision: &Revision| -> Vec<Step> {
        let old = |place: &Use| revision.uses.iter().find(|old| old.slot == place.slot);
        uses.iter()
            .filter_map(|place| {
                let to = old(place)?.pin.clone()?;
                let same = to.environment == place.environment && Some(&to) != place.pin.as_ref();
                same.then(|| Step {
                    place: place.clone(),
                    to,
                })
            })
            .collect()
    };
    let earlier = revisions.iter().rev().skip(1);
    let found = earlier.map(steps_of).find(|steps| !steps.is_empty());
    found.ok_or_else(|| {
        let what = match name.kind {
            Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet => {
                "no earlier revision of it ran another generation"
            }
            _ => "its kind keeps no history",
        };
        CommandError::user(format!("{name} has nothing to go back to: {what}"))
            .hint("name the generation with --to NUMBER; `nival generations OWNER/NAME` lists them")
    })
}

/// Returns the pin of a generation that a node says it holds.
async fn held_by_nodes(
    cluster: &Cluster,
    environment: &EnvironmentName,
    number: u64,
) -> Option<Pin> {
    // Who may not see nodes asks the hub.
    let nodes = cluster.list(Kind::NivalNode, None).await.ok()?;
    nodes
        .into_iter()
        .filter_map(|node| serde_json::from_value::<NivalNode>(node).ok()?.status)
        .flat_map(|status| status.generations)
        .filter_map(|text| text.parse::<Pin>().ok())
        .find(|pin| pin.environment == *environment && pin.number == number)
}

async fn published(context: &Context, environment: &EnvironmentName, number: u64) -> Outcome<Pin> {
    let reference = Reference {
        number: Some(number),
        ..environment.clone().into()
    };
    let hub = TrustedHub::of(context, &reference)?;
    let published = hub.resolve(&reference).await.map_err(|error| {
        error.doing(format!(
            "the cluster does not remember {reference}, so the hub has to say which it is"
        ))
    })?;
    let list = hub
        .revocations_for_show(environment.owner(), context.printer)
        .await;
    require_not_revoked(&list, &published.pin)?;
    Ok(published.pin)
}

/// Returns the annotations that make the steps, consistent in themselves, so that admission leaves them as they are.
fn changes(steps: &[Step], annotations: &Annotations) -> Vec<(String, String)> {
    let mut changes = Vec::new();
    for Step { place, to } in steps {
        changes.push((place.slot.generation(), to.to_string()));
        let Some(reference) = &place.reference else {
            continue;
        };
        let reference = match reference.parse::<Reference>() {
            // A reference that says which generation it means has to say so of the new one.
            Ok(parsed) if !place.floating => {
                let new = Reference {
                    number: parsed.number.map(|_| to.number),
                    digest: parsed.digest.map(|_| to.digest),
                    ..parsed
                };
                changes.push((place.slot.environment(), new.to_string()));
                new.to_string()
            }
            _ => reference.clone(),
        };
        if place.has_pinned_from {
            let from = pinned_from(&reference, annotations);
            changes.push((place.slot.pinned_from(), from));
        }
    }
    changes
}

/// Returns a line for each place that changed.
pub(crate) fn told(name: &ObjectName, before: &Value, after: &Value) -> Vec<String> {
    let uses = |object| Use::all_in(&object::template_annotations(name.kind, object));
    let number = |one: &Use| {
        one.pin
            .as_ref()
            .map_or_else(|| "unpinned".to_owned(), |pin| pin.number.to_string())
    };
    let old = uses(before);
    let line = |new: &Use| {
        let old = old.iter().find(|one| one.slot == new.slot);
        if old.is_some_and(|old| old.pin == new.pin) {
            return None;
        }
        let place = match &new.slot {
            Slot::Pod => String::new(),
            Slot::Container(container) => format!("[{container}]"),
        };
        let from = old.map_or_else(|| "nothing".to_owned(), number);
        Some(format!(
            "{name}{place}: {} {from} -> {}",
            new.environment,
            number(new)
        ))
    };
    uses(after).iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(number: u64) -> String {
        format!(
            "acme/api:{number}@sha256:{}",
            format!("{number:x}").repeat(64)
        )
    }

    fn annotations(pairs: &[(&str, &str)]) -> Annotations {
        let pairs = pairs.iter();
        pairs
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn revision(number: i64, generation: u64) -> Revision {
        let pin = pin(generation);
        let annotations = annotations(&[
            ("nival.dev/environment", "acme/api"),
            ("nival.dev/generation", &pin),
            ("nival.dev/pinned-from", "acme/api"),
        ]);
        Revision {
            number,
            created: None,
            cause: None,
            uses: Use::all_in(&annotations),
        }
    }

    #[test]
    fn the_last_revision_with_another_generation_is_gone_back_to() {
        let name: ObjectName = "deployment/web".parse().unwrap();
        // Revisions 3 and 4 differ in something else than the environment.
        let revisions = [
            revision(1, 1),
            revision(2, 2),
            revision(3, 3),
            revision(4, 3),
        ];
        let uses = revision(4, 3).uses;
        let steps = before(&name, &revisions, &uses).unwrap();
        assert_eq!(steps[0].to.number, 2);
        let error = before(&name, &revisions[2..], &uses).unwrap_err();
        assert!(
            error.lines()[0].contains("no earlier revision"),
            "{error:?}"
        );
    }

    #[test]
    fn what_is_written_is_what_admission_keeps() {
        for (reference, restart, expected) in [
            ("acme/api", None, "acme/api"),
            ("acme/api:3", None, "acme/api:2"),
            ("acme/api", Some("2026-11-23T22:00:00Z"), "acme/api"),
        ] {
            let present = pin(3);
            let made_from = format!(
                "{reference}{}",
                restart.map(|at| format!(" {at}")).unwrap_or_default()
            );
            let mut annotations = annotations(&[
                ("nival.dev/environment", reference),
                ("nival.dev/generation", &present),
                ("nival.dev/pinned-from", &made_from),
            ]);
            if let Some(restart) = restart {
                annotations.insert(workload::names::RESTARTED_AT.into(), restart.into());
            }
            let place = Use::all_in(&annotations).remove(0);
            let to: Pin = pin(2).parse().unwrap();
            for (name, value) in changes(&[Step { place, to }], &annotations) {
                annotations.insert(name, value);
            }
            assert_eq!(annotations["nival.dev/environment"], expected);
            let object = serde_json::json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "spec": {"template": {
                    "metadata": {"annotations": annotations},
                    "spec": {"runtimeClassName": "nival", "containers": [{"name": "a", "image": "nival.dev/placeholder:v1"}]},
                }},
            });
            let plan = workload::pin::Plan::new(&object, None).unwrap();
            assert_eq!(
                plan.edits(&std::collections::BTreeMap::new()),
                [],
                "{reference}"
            );
            assert_eq!(plan.wanted(), [], "{reference}");
            assert_eq!(plan.kept()[0].1.number, 2);
        }
    }
}
