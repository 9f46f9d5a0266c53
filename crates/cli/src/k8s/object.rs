//! Where things are in an object's JSON. What is missing or of another kind is read as not there.

use std::collections::BTreeMap;

use serde_json::Value;
use workload::template::Kind as TemplateKind;

use crate::k8s::kinds::Kind;

/// Returns a text of an object.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

/// Returns a number of an object, or zero.
pub(crate) fn number(object: &Value, pointer: &str) -> i64 {
    object
        .pointer(pointer)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// Returns a list of an object, or an empty one.
pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Returns an object's name.
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name").unwrap_or_default()
}

/// Returns an object's namespace.
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace").unwrap_or_default()
}

/// Returns the texts of a map.
pub(crate) fn texts(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    let map = object.pointer(pointer).and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Returns one annotation of an object's own metadata.
pub(crate) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object
        .pointer("/metadata/annotations")
        .and_then(|map| map.get(name))
        .and_then(Value::as_str)
}

/// Returns the fields that lead to a kind's pod template; a pod is its own.
pub(crate) fn template_fields(kind: Kind) -> &'static [&'static str] {
    kind.with_template().map_or(&[], TemplateKind::path)
}

/// Returns where a kind has its pod template.
fn template_path(kind: Kind) -> String {
    let fields = template_fields(kind).iter();
    fields.map(|field| format!("/{field}")).collect()
}

/// Returns the annotations of an object's pod template.
pub(crate) fn template_annotations(kind: Kind, object: &Value) -> BTreeMap<String, String> {
    texts(
        object,
        &format!("{}/metadata/annotations", template_path(kind)),
    )
}

/// Returns the names of a template's containers, those that prepare among them.
pub(crate) fn containers(kind: Kind, object: &Value) -> Vec<String> {
    let spec = format!("{}/spec", template_path(kind));
    ["initContainers", "containers"]
        .iter()
        .flat_map(|list_name| list(object, &format!("{spec}/{list_name}")))
        .filter_map(|container| text(container, "/name"))
        .map(str::to_owned)
        .collect()
}

/// Returns kind and name of what made an object.
pub(crate) fn owner(object: &Value) -> Option<(&str, &str)> {
    let owners = list(object, "/metadata/ownerReferences");
    let owner = owners
        .iter()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))?;
    Some((text(owner, "/kind")?, text(owner, "/name")?))
}

/// Returns a condition of an object's status.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "/status/conditions")
        .iter()
        .find(|condition| text(condition, "/type") == Some(kind))
}

/// Returns how many pods are ready, and how many there should be.
pub(crate) fn readiness(kind: Kind, object: &Value) -> (i64, i64) {
    match kind {
        Kind::DaemonSet => (
            number(object, "/status/numberReady"),
            number(object, "/status/desiredNumberScheduled"),
        ),
        Kind::Job => {
            let wanted = object.pointer("/spec/completions").and_then(Value::as_i64);
            (number(object, "/status/succeeded"), wanted.unwrap_or(1))
        }
        Kind::CronJob => {
            let active = list(object, "/status/active").len();
            let active = i64::try_from(active).unwrap_or(i64::MAX);
            (active, active)
        }
        Kind::Pod => {
            let states = list(object, "/status/containerStatuses");
            let ready = states
                .iter()
                .filter(|state| state.get("ready").and_then(Value::as_bool) == Some(true));
            let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
            (
                count(ready.count()),
                count(list(object, "/spec/containers").len()),
            )
        }
        _ => {
            let wanted = object.pointer("/spec/replicas").and_then(Value::as_i64);
            (number(object, "/status/readyReplicas"), wanted.unwrap_or(1))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn readiness_is_of_its_kind() {
        let deployment = json!({"spec": {"replicas": 3}, "status": {"readyReplicas": 2}});
        assert_eq!(readiness(Kind::Deployment, &deployment), (2, 3));
        let daemon = json!({"status": {"numberReady": 1, "desiredNumberScheduled": 4}});
        assert_eq!(readiness(Kind::DaemonSet, &daemon), (1, 4));
        let job = json!({"spec": {}, "status": {"succeeded": 1}});
        assert_eq!(readiness(Kind::Job, &job), (1, 1));
        let pod = json!({
            "spec": {"containers": [{}, {}]},
            "status": {"containerStatuses": [{"ready": true}, {"ready": false}]},
        });
        assert_eq!(readiness(Kind::Pod, &pod), (1, 2));
        // An object that no server would give is read without a panic.
        assert_eq!(readiness(Kind::Deployment, &json!("x")), (0, 1));
    }
}
