//! What of a namespace, or of all, runs in environments: workloads, their pods, and the operator's state of both.

use std::collections::{BTreeMap, BTreeSet};

use api::kubernetes::Environment;
use serde_json::Value;
use workload::annotations::Annotations;
use workload::uses::Use;

use crate::error::Outcome;
use crate::k8s::cluster::{Cluster, ClusterError};
use crate::k8s::kinds::{Kind, ObjectName, WORKLOADS};
use crate::k8s::object;
use crate::output::Printer;

/// A workload.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    /// Its kind.
    pub(crate) kind: Kind,
    /// The object.
    pub(crate) object: Value,
}

/// Where an object is: namespace, kind, name.
type Place = (String, String, String);

/// Everything that runs in environments.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    /// The workloads, in the order of lists.
    pub(crate) workloads: Vec<Workload>,
    /// The pods that use environments.
    pub(crate) pods: Vec<Value>,
    /// The operator's state.
    pub(crate) environments: Vec<Environment>,
    /// By made object: what made it.
    owners: BTreeMap<Place, Place>,
    known: BTreeSet<Place>,
}

impl Workload {
    /// Returns its name: `deployment.apps/web`.
    pub(crate) fn name(&self) -> ObjectName {
        ObjectName {
            kind: self.kind,
            name: object::name(&self.object).to_owned(),
        }
    }

    /// Returns the environments that its template names.
    pub(crate) fn uses(&self) -> Vec<Use> {
        Use::all_in(&self.annotations())
    }

    /// Returns the annotations of its template.
    pub(crate) fn annotations(&self) -> Annotations {
        object::template_annotations(self.kind, &self.object)
    }

    /// Returns its namespace.
    pub(crate) fn namespace(&self) -> &str {
        object::namespace(&self.object)
    }

    fn place(&self) -> Place {
        place(
            self.namespace(),
            self.kind.name(),
            object::name(&self.object),
        )
    }
}

impl Inventory {
    /// Reads a namespace, or all. What the user may not see is left out, with a warning.
    ///
    /// # Errors
    /// Fails when the server does not answer.
    pub(crate) async fn read(
        cluster: &Cluster,
        printer: Printer,
        namespace: Option<&str>,
    ) -> Outcome<Self> {
        let mut inventory = Self::default();
        for kind in WORKLOADS {
            for object in allowed(printer, cluster.list(kind, namespace).await)? {
                inventory.take(kind, object);
            }
        }
        if !inventory.pods.is_empty() {
            let sets = cluster.list_metadata(Kind::ReplicaSet, namespace).await;
            for object in allowed(printer, sets)? {
                inventory.remember_owner(Kind::ReplicaSet, &object);
            }
        }
        inventory.drop_made();
        inventory.environments = environments(cluster, printer, namespace).await?;
        Ok(inventory)
    }

    fn take(&mut self, kind: Kind, object: Value) {
        self.remember_owner(kind, &object);
        let workload = Workload { kind, object };
        if workload.uses().is_empty() {
            return;
        }
        self.known.insert(workload.place());
        if kind == Kind::Pod {
            self.pods.push(workload.object.clone());
        }
        self.workloads.push(workload);
    }

    fn remember_owner(&mut self, kind: Kind, object: &Value) {
        if let Some((owner, name)) = object::owner(object) {
            let namespace = object::namespace(object);
            self.owners.insert(
                place(namespace, kind.name(), object::name(object)),
                place(namespace, owner, name),
            );
        }
    }

    /// Drops the Jobs and pods that another workload here made: it speaks for them.
    fn drop_made(&mut self) {
        let (owners, known) = (&self.owners, &self.known);
        self.workloads
            .retain(|workload| top(owners, known, workload.place()) == workload.place());
    }

    /// Returns the pods of a workload.
    pub(crate) fn pods_of<'a>(
        &'a self,
        workload: &Workload,
    ) -> impl Iterator<Item = &'a Value> + use<'a> {
        let wanted = workload.place();
        self.pods
            .iter()
            .filter(move |pod| self.top_of_pod(pod) == wanted)
    }

    /// Returns kind and name of what a pod is of; a pod that nothing known made is of itself.
    pub(crate) fn workload_of(&self, pod: &Value) -> String {
        let (_, kind, name) = self.top_of_pod(pod);
        match Kind::of_word(&kind) {
            Some(kind) => ObjectName { kind, name }.to_string(),
            None => format!("{}/{name}", kind.to_ascii_lowercase()),
        }
    }

    fn top_of_pod(&self, pod: &Value) -> Place {
        let own = place(object::namespace(pod), Kind::Pod.name(), object::name(pod));
        top(&self.owners, &self.known, own)
    }

    /// Returns the operator's state of an environment in a namespace.
    pub(crate) fn environment(&self, namespace: &str, name: &str) -> Option<&Environment> {
        self.environments.iter().find(|one| {
            one.spec.environment == name && one.metadata.namespace.as_deref() == Some(namespace)
        })
    }
}

/// Follows who made what up to the last workload that is known to use environments.
fn top(owners: &BTreeMap<Place, Place>, known: &BTreeSet<Place>, own: Place) -> Place {
    let mut found = own.clone();
    let mut at = own;
    // Owners may name each other in a circle: nothing in the API forbids it.
    for _ in 0..8 {
        let Some(owner) = owners.get(&at) else {
            break;
        };
        at = owner.clone();
        if known.contains(&at) {
            found = at.clone();
        }
    }
    found
}

fn place(namespace: &str, kind: &str, name: &str) -> Place {
    (namespace.to_owned(), kind.to_owned(), name.to_owned())
}

/// Returns the operator's state of the environments; none where the cluster does not know such resources.
pub(crate) async fn environments(
    cluster: &Cluster,
    printer: Printer,
    namespace: Option<&str>,
) -> Outcome<Vec<Environment>> {
    let objects = cluster.list(Kind::Environment, namespace).await;
    let objects = match objects {
        Err(error) if error.is_not_found() => Vec::new(),
        other => allowed(printer, other)?,
    };
    // Another version of the operator may write what this one cannot read; the rest is still of use.
    let read = objects
        .into_iter()
        .filter_map(|object| serde_json::from_value(object).ok());
    Ok(read.collect())
}

/// Makes a warning of what the user may not list.
pub(crate) fn allowed(
    printer: Printer,
    listed: Result<Vec<Value>, ClusterError>,
) -> Outcome<Vec<Value>> {
    match listed {
        Err(error) if error.is_forbidden() => {
            printer.warn(format!("left out: {error}"));
            Ok(Vec::new())
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: &str, name: &str, owner: Option<(&str, &str)>) -> Value {
        let template = json!({"metadata": {"annotations": {"nival.dev/environment": "acme/api"}}});
        let owners =
            owner.map(|(kind, name)| json!({"kind": kind, "name": name, "controller": true}));
        let annotations = if kind == "Pod" {
            template["metadata"]["annotations"].clone()
        } else {
            json!({})
        };
        json!({
            "metadata": {
                "name": name, "namespace": "default", "annotations": annotations,
                "ownerReferences": owners.into_iter().collect::<Vec<_>>(),
            },
            "spec": {"template": template, "jobTemplate": {"spec": {"template": template}}},
        })
    }

    #[test]
    fn pods_belong_to_the_topmost_workload_that_is_known() {
        let mut inventory = Inventory::default();
        inventory.take(Kind::Deployment, object("Deployment", "web", None));
        inventory.take(Kind::CronJob, object("CronJob", "night", None));
        inventory.take(
            Kind::Job,
            object("Job", "night-1", Some(("CronJob", "night"))),
        );
        inventory.take(
            Kind::Pod,
            object("Pod", "web-1-a", Some(("ReplicaSet", "web-1"))),
        );
        inventory.take(
            Kind::Pod,
            object("Pod", "night-1-a", Some(("Job", "night-1"))),
        );
        inventory.take(Kind::Pod, object("Pod", "alone", None));
        inventory.take(Kind::Pod, object("Pod", "foreign", Some(("Rollout", "x"))));
        inventory.remember_owner(
            Kind::ReplicaSet,
            &object("ReplicaSet", "web-1", Some(("Deployment", "web"))),
        );
        inventory.drop_made();
        let names: Vec<String> = inventory
            .workloads
            .iter()
            .map(|workload| workload.name().to_string())
            .collect();
        assert_eq!(
            names,
            [
                "deployment.apps/web",
                "cronjob.batch/night",
                "pod/alone",
                "pod/foreign"
            ]
        );
        let of = |pod: usize| inventory.workload_of(&inventory.pods[pod]);
        assert_eq!(of(0), "deployment.apps/web");
        assert_eq!(of(1), "cronjob.batch/night");
        assert_eq!(of(3), "pod/foreign");
        assert_eq!(inventory.pods_of(&inventory.workloads[0]).count(), 1);
    }

    #[test]
    fn owners_in_a_circle_end() {
        let mut inventory = Inventory::default();
        inventory.take(Kind::Job, object("Job", "a", Some(("Job", "b"))));
        inventory.take(Kind::Job, object("Job", "b", Some(("Job", "a"))));
        inventory.drop_made();
    }
}
