//! A workload as the operator keeps it: the little that decisions are made of, read from what the API server sends.

use std::collections::BTreeSet;
use std::time::Duration;

use env_spec::{EnvironmentName, System};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;
use workload::Tracking;
use workload::annotations::Annotations;
use workload::deadline;
use workload::names::{CHANGE_CAUSE, RESTARTED_AT};
use workload::rollout::{Phase, Recall};
use workload::template::{Kind, Template, is_made_from_a_template};
use workload::uses::Use;

use super::progress::Progress;
use super::reason::short;

/// How the operator's own words in a workload's history begin; what people wrote there is theirs.
pub(crate) const CAUSE_PREFIX: &str = "nival: ";
/// Longer ones were not written by the operator.
const LONGEST_CAUSE: usize = 1024;

/// Which workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

/// A workload that runs in environments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    /// Every place that runs in an environment.
    pub(crate) uses: Vec<Use>,
    pub(crate) recall: Recall,
    /// Whether new generations are wanted.
    pub(crate) tracked: bool,
    pub(crate) paused: bool,
    /// How long a rollout may stand still.
    pub(crate) deadline: Duration,
    /// What a person wrote about all this that means nothing.
    pub(crate) doubts: Vec<String>,
    pub(crate) progress: Progress,
    /// Those of the template's annotations that the words about pins are made of.
    pub(crate) restart: Annotations,
    /// What the operator said in the history last.
    pub(crate) cause: Option<String>,
    /// Selects its pods; nothing where it has none of its own.
    pub(crate) selector: Option<String>,
    /// A StatefulSet's newest and present revision.
    pub(crate) revisions: Option<[String; 2]>,
    /// The systems that its pods may run on, where it says so.
    pub(crate) systems: Option<Vec<System>>,
    /// Why no pods are made, where a Deployment's controller says so: its events are about the ReplicaSet.
    pub(crate) makes_no_pods: Option<String>,
    /// Whether it is being deleted.
    pub(crate) ending: bool,
}

impl Key {
    /// Returns how events and states name it: `Deployment/web`.
    pub(crate) fn said(&self) -> String {
        format!("{}/{}", self.kind.name(), self.name)
    }

    /// Returns the object that events are about.
    pub(crate) fn reference(&self, workload: &Workload) -> ObjectReference {
        ObjectReference {
            api_version: Some(api_version(self.kind)),
            kind: Some(self.kind.name().to_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: Some(workload.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

/// Returns the version of the API that a kind is in.
pub(crate) fn api_version(kind: Kind) -> String {
    match kind.group() {
        "" => "v1".to_owned(),
        group => format!("{group}/v1"),
    }
}

/// Returns how the API server knows a kind.
pub(crate) fn resource(kind: Kind) -> ApiResource {
    let gvk = GroupVersionKind::gvk(kind.group(), "v1", kind.name());
    ApiResource::from_gvk_with_plural(&gvk, &format!("{}s", kind.name().to_lowercase()))
}

/// Reads an object; nothing where it runs in no environment, or was made from a workload that is read itself.
pub(crate) fn read(kind: Kind, object: DynamicObject) -> Option<(Key, Workload)> {
    let object = whole(object);
    if is_made_from_a_template(&object) {
        return None;
    }
    let text = |path: &str| object.pointer(path).and_then(Value::as_str);
    let template = Template::of(kind, &object)?;
    let in_template = template.annotations();
    let uses = Use::all_in(&in_template);
    if uses.is_empty() {
        return None;
    }
    let key = Key {
        namespace: text("/metadata/namespace")?.to_owned(),
        kind,
        name: text("/metadata/name")?.to_owned(),
    };
    let entry = |map: &str, name: &str| {
        let map = object.get("metadata")?.get(map)?;
        map.get(name)?.as_str()
    };
    let annotation = |name: &str| entry("annotations", name);
    let tracking = Tracking::read(kind, annotation);
    let cause = annotation(CHANGE_CAUSE)
        .filter(|text| text.starts_with(CAUSE_PREFIX) && text.len() <= LONGEST_CAUSE);
    let revision = |field: &str| text(&format!("/status/{field}Revision")).map(str::to_owned);
    let restart = in_template
        .get_key_value(RESTARTED_AT)
        .map(|(name, value)| (name.clone(), value.clone()));
    let workload = Workload {
        uid: text("/metadata/uid").unwrap_or_default().to_owned(),
        resource_version: text("/metadata/resourceVersion")
            .unwrap_or_default()
            .to_owned(),
        recall: Recall::read(annotation, |name| entry("labels", name)),
        tracked: tracking.follows,
        paused: tracking.paused,
        deadline: tracking.deadline.unwrap_or_else(|| own_deadline(&object)),
        doubts: tracking.doubts,
        progress: Progress::of(kind, &object),
        restart: restart.into_iter().collect(),
        cause: cause.map(str::to_owned),
        selector: selector(&object),
        revisions: (kind == Kind::StatefulSet)
            .then(|| Some([revision("update")?, revision("current")?]))
            .flatten(),
        systems: template.systems(),
        makes_no_pods: makes_no_pods(&object),
        ending: text("/metadata/deletionTimestamp").is_some(),
        uses,
    };
    Some((key, workload))
}

/// Puts an object together again, without what nobody looks at.
fn whole(object: DynamicObject) -> Value {
    let DynamicObject {
        mut metadata,
        mut data,
        ..
    } = object;
    metadata.managed_fields = None;
    let metadata = serde_json::to_value(metadata).unwrap_or_default();
    if let Some(fields) = data.as_object_mut() {
        fields.insert("metadata".to_owned(), metadata);
    }
    data
}

fn makes_no_pods(object: &Value) -> Option<String> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let failure = conditions
        .iter()
        .find(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True")?;
    Some(short(failure["message"].as_str()?))
}

/// Returns the deadline that holds where Nival's own is not written.
fn own_deadline(object: &Value) -> Duration {
    object
        .pointer("/spec/progressDeadlineSeconds")
        .and_then(Value::as_u64)
        // Kubernetes means "for ever" by the largest number that it takes.
        .filter(|seconds| (1..i32::MAX as u64).contains(seconds))
        .map_or(deadline::DEFAULT_DEADLINE, Duration::from_secs)
}

/// Returns a workload's selector of pods as the API server takes it in a question.
fn selector(object: &Value) -> Option<String> {
    let selector = object.pointer("/spec/selector")?;
    let mut parts = Vec::new();
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    for (name, value) in labels.into_iter().flatten() {
        parts.push(format!("{name}={}", value.as_str()?));
    }
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let key = expression.get("key")?.as_str()?;
        let values = expression.get("values").and_then(Value::as_array);
        let values: Vec<&str> = values
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let values = values.join(",");
        parts.push(match expression.get("operator")?.as_str()? {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    // One that selects everything would make all pods of the namespace this workload's.
    (!parts.is_empty()).then(|| parts.join(","))
}

impl Workload {
    /// Tells whether this is the same workload at a later time than the other.
    pub(crate) fn is_newer_than(&self, other: &Self) -> bool {
        let number = |one: &Self| one.resource_version.parse::<u64>().ok();
        let newer =
            matches!((number(self), number(other)), (Some(own), Some(other)) if own > other);
        newer && self.uid == other.uid
    }

    /// Returns the pins that a rollout under way brings.
    pub(crate) fn coming(&self) -> BTreeSet<String> {
        let memory = self.recall.known().filter(|_| self.tracked);
        let under_way =
            memory.filter(|one| matches!(one.phase, Phase::Prefetching | Phase::Progressing));
        let steps = under_way
            .into_iter()
            .flat_map(|one| one.environments.values());
        steps.map(|step| step.to.to_string()).collect()
    }

    /// Returns the environments that it runs in, each once.
    pub(crate) fn environments(&self) -> Vec<EnvironmentName> {
        let mut all: Vec<_> = self
            .uses
            .iter()
            .map(|one| one.environment.clone())
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_json(kind: Kind, object: Value) -> Option<(Key, Workload)> {
        read(kind, serde_json::from_value(object).unwrap())
    }

    fn deployment() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 2,
                "annotations": {"nival.dev/track": "latest", "nival.dev/progress-deadline": "90s",
                    "kubernetes.io/change-cause": "nival: acme/api:12"},
                "managedFields": [{"manager": "x"}]},
            "spec": {"replicas": 2, "progressDeadlineSeconds": 300,
                "selector": {"matchLabels": {"app": "web"}, "matchExpressions": [
                    {"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "old", "operator": "DoesNotExist"}]},
                "template": {"metadata": {"annotations": {"nival.dev/environment": "acme/api",
                    "kubectl.kubernetes.io/restartedAt": "2026-11-25T10:00:00Z"}}, "spec": {"containers": []}}},
            "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1},
        })
    }

    #[test]
    fn a_deployment_is_read() {
        let (key, workload) = read_json(Kind::Deployment, deployment()).unwrap();
        assert_eq!(key.said(), "Deployment/web");
        assert_eq!(
            (key.namespace.as_str(), workload.uid.as_str()),
            ("shop", "u")
        );
        assert!(workload.tracked && !workload.paused && !workload.ending);
        assert_eq!(workload.deadline, Duration::from_secs(90));
        assert_eq!(workload.cause.as_deref(), Some("nival: acme/api:12"));
        assert_eq!(
            workload.selector.as_deref(),
            Some("app=web,tier in (a,b),!old")
        );
        assert_eq!(workload.progress.available, 1);
        assert_eq!(workload.restart.len(), 1);
        assert_eq!(
            key.reference(&workload).api_version.as_deref(),
            Some("apps/v1")
        );
    }

    #[test]
    fn the_deadline_is_the_workloads_own_unless_a_person_wrote_one_that_is_valid() {
        let mut object = deployment();
        object["metadata"]["annotations"]["nival.dev/progress-deadline"] = "soon".into();
        let (_, workload) = read_json(Kind::Deployment, object.clone()).unwrap();
        assert_eq!(workload.deadline, Duration::from_secs(300));
        assert!(workload.doubts[0].contains("soon"));
        object["metadata"]["annotations"] = json!({});
        object["spec"]["progressDeadlineSeconds"] = i32::MAX.into();
        object["status"]["conditions"] =
            json!([{"type": "ReplicaFailure", "status": "True", "message": "exceeded\nquota"}]);
        let (_, workload) = read_json(Kind::Deployment, object).unwrap();
        assert_eq!(workload.deadline, deadline::DEFAULT_DEADLINE);
        assert_eq!(workload.makes_no_pods.as_deref(), Some("exceeded quota"));
        assert!(!workload.tracked);
    }

    #[test]
    fn what_runs_in_no_environment_or_is_owned_is_left_out() {
        let mut object = deployment();
        object["spec"]["template"]["metadata"] = json!({});
        assert_eq!(read_json(Kind::Deployment, object), None);
        let pod = |owner: &str| {
            json!({"metadata": {"name": "p", "namespace": "n",
                "annotations": {"nival.dev/environment": "acme/api", "nival.dev/track": "latest"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": owner, "name": "x", "uid": "u", "controller": true}]}})
        };
        assert_eq!(read_json(Kind::Pod, pod("ReplicaSet")), None);
        let (_, workload) = read_json(Kind::Pod, pod("Workflow")).unwrap();
        assert!(!workload.tracked, "a pod's template is the pod");
    }

    #[test]
    fn a_cron_job_has_its_template_deeper_and_a_stateful_set_has_revisions() {
        let cron = json!({"metadata": {"name": "c", "namespace": "n", "annotations": {"nival.dev/track": "latest"}},
            "spec": {"jobTemplate": {"spec": {"template": {"metadata": {"annotations": {
                "environment.nival.dev/a": "acme/api", "environment.nival.dev/b": "acme/web:3"}}}}}}});
        let (_, workload) = read_json(Kind::CronJob, cron).unwrap();
        assert!(workload.tracked);
        assert_eq!(workload.environments().len(), 2);
        assert_eq!(workload.selector, None);
        let mut set = deployment();
        set["status"]["updateRevision"] = "b".into();
        set["status"]["currentRevision"] = "a".into();
        let (_, workload) = read_json(Kind::StatefulSet, set).unwrap();
        assert_eq!(workload.revisions, Some(["b".to_owned(), "a".to_owned()]));
    }

    #[test]
    fn kinds_have_their_names_in_the_api() {
        let plurals: Vec<_> = Kind::ALL
            .iter()
            .map(|kind| resource(*kind).plural)
            .collect();
        assert_eq!(
            plurals,
            [
                "deployments",
                "statefulsets",
                "daemonsets",
                "replicasets",
                "jobs",
                "cronjobs",
                "pods"
            ]
        );
    }

    #[test]
    fn a_selector_of_everything_selects_nothing() {
        let mut object = deployment();
        object["spec"]["selector"] = json!({});
        assert_eq!(
            read_json(Kind::Deployment, object).unwrap().1.selector,
            None
        );
    }
}
