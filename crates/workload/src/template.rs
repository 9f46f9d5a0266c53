//! Where the pod template of each kind of workload is, and what stands in it that Nival looks at.

use std::collections::BTreeMap;

use env_spec::System;
use serde_json::{Map, Value};

use crate::annotations::Annotations;
use crate::names::RESTARTED_AT;

/// The label by which nodes say what machine they are, and its older name.
const ARCHITECTURE: [&str; 2] = ["kubernetes.io/arch", "beta.kubernetes.io/arch"];
/// Architectures as Kubernetes names them, and the systems that environments are locked for.
const SYSTEMS: [(&str, &str); 2] = [("amd64", "x86_64-linux"), ("arm64", "aarch64-linux")];
/// The lists of containers that a pod has.
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// A kind of object with a pod template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `apps/v1`
    Deployment,
    /// `apps/v1`
    StatefulSet,
    /// `apps/v1`
    DaemonSet,
    /// `apps/v1`
    ReplicaSet,
    /// `batch/v1`
    Job,
    /// `batch/v1`
    CronJob,
    /// `v1`; it is its own template.
    Pod,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
        Self::Job,
        Self::CronJob,
        Self::Pod,
    ];

    /// Returns the kind of this group (`apps`, `batch` or nothing) and name, whatever its version.
    #[must_use]
    pub fn named(group: &str, name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.group() == group && kind.name() == name)
    }

    /// Returns the kind of an object.
    #[must_use]
    pub fn of(object: &Value) -> Option<Self> {
        let text = |field: &str| object.get(field).and_then(Value::as_str);
        Self::named(group_of(text("apiVersion")?), text("kind")?)
    }

    /// Returns its group.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::ReplicaSet => "apps",
            Self::Job | Self::CronJob => "batch",
            Self::Pod => "",
        }
    }

    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
            Self::Pod => "Pod",
        }
    }

    /// Returns the fields that lead from the object to its pod template.
    #[must_use]
    pub const fn path(self) -> &'static [&'static str] {
        match self {
            Self::Pod => &[],
            Self::CronJob => &["spec", "jobTemplate", "spec", "template"],
            _ => &["spec", "template"],
        }
    }
}

/// Tells whether a controller made the object from a template that has been looked at already: it is left as it is.
#[must_use]
pub fn is_made_from_a_template(object: &Value) -> bool {
    let owners = object.pointer("/metadata/ownerReferences");
    let owners = owners.and_then(Value::as_array).into_iter().flatten();
    let mut controllers =
        owners.filter(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true));
    controllers.any(|owner| Kind::of(owner).is_some())
}

fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// A pod template, or the pod itself.
#[derive(Debug, Clone, Copy)]
pub struct Template<'a>(&'a Value);

/// A container of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Container<'a> {
    /// The list that it stands in.
    pub list: &'static str,
    /// Its place there.
    pub index: usize,
    /// Its name; nothing where it has none, which the API server refuses.
    pub name: &'a str,
    /// Its image, or nothing.
    pub image: &'a str,
}

impl<'a> Template<'a> {
    /// Returns the template of an object of this kind, if it has one.
    #[must_use]
    pub fn of(kind: Kind, object: &'a Value) -> Option<Self> {
        let mut place = object;
        for field in kind.path() {
            place = place.get(field)?;
        }
        place.is_object().then_some(Self(place))
    }

    /// Returns its annotations; values that are no text are left out.
    #[must_use]
    pub fn annotations(self) -> Annotations {
        let texts = self.raw_annotations().into_iter().flatten();
        texts
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect()
    }

    /// Returns its annotations as written: what is read from a file may hold anything.
    #[must_use]
    pub fn raw_annotations(self) -> Option<&'a Map<String, Value>> {
        self.0.pointer("/metadata/annotations")?.as_object()
    }

    /// Returns when `kubectl rollout restart` was last asked for.
    #[must_use]
    pub fn restarted_at(self) -> Option<&'a str> {
        let text = self.raw_annotations()?.get(RESTARTED_AT)?.as_str()?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// Returns all containers, those that come first first.
    #[must_use]
    pub fn containers(self) -> Vec<Container<'a>> {
        let text = |value: &'a Value, field| value.get(field).and_then(Value::as_str);
        let mut all = Vec::new();
        for list in CONTAINERS {
            let containers = self.spec(list).and_then(Value::as_array);
            for (index, container) in containers.into_iter().flatten().enumerate() {
                all.push(Container {
                    list,
                    index,
                    name: text(container, "name").unwrap_or_default(),
                    image: text(container, "image").unwrap_or_default(),
                });
            }
        }
        all
    }

    /// Returns its runtime class.
    #[must_use]
    pub fn runtime_class(self) -> Option<&'a str> {
        let class = self.spec("runtimeClassName")?.as_str()?;
        (!class.is_empty()).then_some(class)
    }

    /// Returns the systems that the template's own node selector and required node affinity let its pods run on;
    /// `None` where they say nothing of it.
    #[must_use]
    pub fn systems(self) -> Option<Vec<System>> {
        let selector = self.spec("nodeSelector").and_then(Value::as_object);
        let terms = self
            .0
            .pointer("/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms")
            .and_then(Value::as_array);
        let fits = |architecture: &str| {
            let selected = ARCHITECTURE.iter().all(|label| {
                let asked = selector.and_then(|selector| selector.get(*label));
                asked.is_none_or(|asked| asked.as_str() == Some(architecture))
            });
            // One of the terms must hold; a list of none is refused by the API server.
            let allowed =
                terms.is_none_or(|terms| terms.iter().any(|term| holds(term, architecture)));
            selected && allowed
        };
        let fitting: Vec<_> = SYSTEMS.iter().filter(|(name, _)| fits(name)).collect();
        // Where all fit and nothing else would, nothing was said.
        let says_nothing = fitting.len() == SYSTEMS.len() && fits("");
        (!says_nothing).then(|| {
            let systems = fitting
                .into_iter()
                .filter_map(|(_, system)| system.parse().ok());
            systems.collect()
        })
    }

    fn spec(self, field: &str) -> Option<&'a Value> {
        self.0.get("spec")?.get(field)
    }
}

/// Returns the system of a node with this architecture, as Kubernetes names it.
#[must_use]
pub fn system_of(architecture: &str) -> Option<System> {
    let systems: BTreeMap<&str, &str> = SYSTEMS.into_iter().collect();
    systems.get(architecture)?.parse().ok()
}

/// Tells whether what a term asks of the architecture holds; all its expressions must. One that asks nothing at all fits
/// no node.
fn holds(term: &Value, architecture: &str) -> bool {
    let expressions = term.get("matchExpressions").and_then(Value::as_array);
    let fields = term.get("matchFields").and_then(Value::as_array);
    if expressions.into_iter().chain(fields).all(Vec::is_empty) {
        return false;
    }
    let mut about = expressions.into_iter().flatten().filter(|expression| {
        let key = expression.get("key").and_then(Value::as_str);
        key.is_some_and(|key| ARCHITECTURE.contains(&key))
    });
    about.all(|expression| {
        let values = expression.get("values").and_then(Value::as_array);
        let named = values
            .into_iter()
            .flatten()
            .any(|value| value.as_str() == Some(architecture));
        match expression.get("operator").and_then(Value::as_str) {
            Some("In") => named,
            Some("NotIn") => !named,
            Some("DoesNotExist") => false,
            _ => true,
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_is_found_by_its_group_and_has_its_template() {
        for kind in Kind::ALL {
            let version = if kind.group().is_empty() {
                "v1".to_owned()
            } else {
                format!("{}/v1", kind.group())
            };
            let mut object = json!({"metadata": {"annotations": {"a": "b"}}, "spec": {}});
            for field in kind.path().iter().rev() {
                object = json!({ (*field): object });
            }
            object["apiVersion"] = version.into();
            object["kind"] = kind.name().into();
            assert_eq!(Kind::of(&object), Some(kind));
            let template = Template::of(kind, &object).unwrap();
            assert_eq!(template.annotations()["a"], "b", "{kind:?}");
        }
        let other = json!({"apiVersion": "serving.example.com/v1", "kind": "Deployment"});
        assert_eq!(Kind::of(&other), None);
    }

    #[test]
    fn what_a_known_controller_made_is_left_alone() {
        let owned = |version: &str, kind: &str, controller: bool| {
            json!({"metadata": {"ownerReferences": [
                {"apiVersion": version, "kind": kind, "controller": controller}
            ]}})
        };
        assert!(is_made_from_a_template(&owned(
            "apps/v1",
            "ReplicaSet",
            true
        )));
        assert!(is_made_from_a_template(&owned("batch/v1", "CronJob", true)));
        assert!(!is_made_from_a_template(&owned(
            "apps/v1",
            "ReplicaSet",
            false
        )));
        assert!(!is_made_from_a_template(&owned(
            "argoproj.io/v1",
            "Workflow",
            true
        )));
        assert!(!is_made_from_a_template(&json!({"metadata": {}})));
        assert!(!is_made_from_a_template(
            &json!({"metadata": {"ownerReferences": "x"}})
        ));
    }

    #[test]
    fn containers_of_all_lists_are_found_with_their_places() {
        let pod = json!({"spec": {
            "containers": [{"name": "web", "image": "x"}, {"name": "log"}, 7],
            "initContainers": [{"name": "first"}],
        }});
        let template = Template::of(Kind::Pod, &pod).unwrap();
        let places: Vec<_> = template
            .containers()
            .into_iter()
            .map(|one| (one.list, one.index, one.name, one.image))
            .collect();
        assert_eq!(
            places,
            [
                ("initContainers", 0, "first", ""),
                ("containers", 0, "web", "x"),
                ("containers", 1, "log", ""),
                ("containers", 2, "", ""),
            ]
        );
    }

    #[test]
    fn node_selectors_and_required_affinities_say_which_systems_are_meant() {
        let systems = |spec: Value| {
            let pod = json!({ "spec": spec });
            let systems = Template::of(Kind::Pod, &pod).unwrap().systems();
            systems.map(|list| list.iter().map(System::to_string).collect::<Vec<_>>())
        };
        let affinity = |terms: Value| {
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": terms
            }}}})
        };
        let term = |operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": "kubernetes.io/arch", "operator": operator, "values": values}]});
        let arm = Some(vec!["aarch64-linux".to_owned()]);
        let both = Some(vec!["x86_64-linux".to_owned(), "aarch64-linux".to_owned()]);
        assert_eq!(systems(json!({})), None);
        assert_eq!(systems(json!({"nodeSelector": {"disk": "ssd"}})), None);
        let selector = json!({"nodeSelector": {"kubernetes.io/arch": "arm64"}});
        assert_eq!(systems(selector), arm);
        let older = json!({"nodeSelector": {"beta.kubernetes.io/arch": "arm64"}});
        assert_eq!(systems(older), arm);
        assert_eq!(systems(affinity(json!([term("In", &["arm64"])]))), arm);
        assert_eq!(systems(affinity(json!([term("NotIn", &["amd64"])]))), arm);
        let two = json!([term("In", &["arm64"]), term("In", &["amd64"])]);
        assert_eq!(systems(affinity(two)), both);
        for empty in [json!({"matchExpressions": []}), json!({}), json!(null)] {
            let one = json!([term("In", &["arm64"]), empty]);
            assert_eq!(
                systems(affinity(one)),
                arm,
                "a term that asks nothing fits no node"
            );
            assert_eq!(systems(affinity(json!([empty]))), Some(Vec::new()));
        }
        let name =
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]});
        let open = json!([term("In", &["arm64"]), name]);
        assert_eq!(
            systems(affinity(open)),
            None,
            "that node may be any machine"
        );
        let other = json!([term("In", &["arm64"]), {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]);
        assert_eq!(systems(affinity(other)), None);
        let strange = json!({"nodeSelector": {"kubernetes.io/arch": "s390x"}});
        assert_eq!(systems(strange), Some(Vec::new()));
    }
}
