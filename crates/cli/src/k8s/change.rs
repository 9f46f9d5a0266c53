//! How workloads are changed: read, decided, and written only where nobody else was faster.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::error::{CommandError, Outcome};
use crate::k8s::cluster::Cluster;
use crate::k8s::kinds::{Kind, ObjectName};
use crate::k8s::object;

/// Controllers write to workloads all the time; this many times somebody else may be faster.
const ATTEMPTS: usize = 8;

/// Whether anything is changed.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct DryRun {
    /// Let the server say what would come of it, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A workload before and after.
#[derive(Debug)]
pub(crate) struct Changed {
    /// As it was.
    pub(crate) before: Value,
    /// As the server has it now, admission's changes among it.
    pub(crate) after: Value,
}

/// Returns a workload.
///
/// # Errors
/// Fails when there is none.
pub(crate) async fn get(cluster: &Cluster, name: &ObjectName) -> Outcome<Value> {
    let namespace = cluster.namespace();
    let found = cluster.find(name.kind, Some(namespace), &name.name).await?;
    found.ok_or_else(|| {
        CommandError::user(format!("namespace {namespace} has no {name}")).hint(
            "choose the namespace by -n; `kubectl nival status -A` lists what runs in environments",
        )
    })
}

/// Changes a workload as decided from what it is; `None` where nothing is to be changed.
///
/// # Errors
/// Fails as deciding does, and when the server refuses the change.
pub(crate) async fn change(
    cluster: &Cluster,
    name: &ObjectName,
    dry_run: DryRun,
    decide: impl AsyncFn(&Value) -> Outcome<Option<Value>>,
) -> Outcome<Option<Changed>> {
    let mut attempt = 1;
    loop {
        let before = get(cluster, name).await?;
        let Some(mut patch) = decide(&before).await? else {
            return Ok(None);
        };
        let version = object::text(&before, "/metadata/resourceVersion").unwrap_or_default();
        put(&mut patch, &["metadata", "resourceVersion"], json!(version));
        let (kind, namespace) = (name.kind, cluster.namespace());
        let answer = cluster
            .patch(kind, namespace, &name.name, &patch, dry_run.dry_run)
            .await;
        match answer {
            Ok(after) => return Ok(Some(Changed { before, after })),
            Err(error) if error.is_conflict() && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns a patch that sets annotations of a workload itself, or removes those without a value.
pub(crate) fn annotations(changes: &[(&str, Option<&str>)]) -> Value {
    let mut patch = json!({});
    for &(name, value) in changes {
        put(&mut patch, &["metadata", "annotations", name], json!(value));
    }
    patch
}

/// Returns a patch that sets annotations of a workload's pod template.
pub(crate) fn template_annotations(kind: Kind, changes: &[(String, String)]) -> Value {
    let mut patch = json!({});
    for (name, value) in changes {
        let mut path = object::template_fields(kind).to_vec();
        path.extend(["metadata", "annotations", name]);
        put(&mut patch, &path, json!(value));
    }
    patch
}

/// Refuses a workload whose template cannot change.
///
/// # Errors
/// Fails for Jobs and pods.
pub(crate) fn require_changeable(name: &ObjectName) -> Outcome {
    let what = match name.kind {
        Kind::Job => "a Job's template never changes",
        Kind::Pod => "a pod keeps its generation as long as it lives",
        _ => return Ok(()),
    };
    Err(
        CommandError::user(format!("{name} cannot be changed: {what}"))
            .hint("delete it and make it anew; its pin is made then"),
    )
}

fn put(place: &mut Value, path: &[&str], value: Value) {
    let Some((last, way)) = path.split_last() else {
        return;
    };
    let mut place = place;
    for field in way {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[*field];
    }
    place[*last] = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_name_only_what_changes() {
        let patch = annotations(&[("a", Some("1")), ("b", None)]);
        assert_eq!(
            patch,
            json!({"metadata": {"annotations": {"a": "1", "b": null}}})
        );
        let patch = template_annotations(Kind::CronJob, &[("a".into(), "1".into())]);
        let expected = json!({"spec": {"jobTemplate": {"spec": {"template": {"metadata": {"annotations": {"a": "1"}}}}}}});
        assert_eq!(patch, expected);
    }
}
