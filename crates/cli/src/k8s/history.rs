//! The revisions of a workload that the cluster itself remembers, with the generations that they ran.

use env_spec::{EnvironmentName, Pin};
use serde_json::Value;
use workload::uses::Use;

use crate::error::Outcome;
use crate::k8s::cluster::Cluster;
use crate::k8s::kinds::{Kind, ObjectName};
use crate::k8s::object;

/// A Deployment's number of a ReplicaSet.
const DEPLOYMENT_REVISION: &str = "deployment.kubernetes.io/revision";
/// Why a person says that a revision was made.
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// A revision of a workload's template.
#[derive(Debug, Clone)]
pub(crate) struct Revision {
    /// Its number; the highest is the present one.
    pub(crate) number: i64,
    /// When it was first made.
    pub(crate) created: Option<String>,
    /// Why a person says that it was made.
    pub(crate) cause: Option<String>,
    /// The environments that it names.
    pub(crate) uses: Vec<Use>,
}

/// Returns the revisions of a workload, oldest first; none for kinds that have no history.
///
/// # Errors
/// Fails when the API server does not answer.
pub(crate) async fn revisions(
    cluster: &Cluster,
    name: &ObjectName,
    object: &Value,
) -> Outcome<Vec<Revision>> {
    let kind = match name.kind {
        Kind::Deployment => Kind::ReplicaSet,
        Kind::StatefulSet | Kind::DaemonSet => Kind::ControllerRevision,
        _ => return Ok(Vec::new()),
    };
    let wanted = object::text(object, "/metadata/uid").unwrap_or_default();
    let all = cluster.list(kind, Some(object::namespace(object))).await?;
    let owned = all.iter().filter(|one| {
        let owners = object::list(one, "/metadata/ownerReferences");
        owners
            .iter()
            .any(|owner| object::text(owner, "/uid") == Some(wanted))
    });
    let mut revisions: Vec<Revision> = owned.filter_map(|one| revision(kind, one)).collect();
    revisions.sort_by_key(|one| one.number);
    Ok(revisions)
}

fn revision(kind: Kind, object: &Value) -> Option<Revision> {
    let cause = object::annotation(object, CHANGE_CAUSE).map(str::to_owned);
    let created = object::text(object, "/metadata/creationTimestamp").map(str::to_owned);
    let (number, template) = match kind {
        Kind::ReplicaSet => (
            object::annotation(object, DEPLOYMENT_REVISION)?
                .parse()
                .ok()?,
            object,
        ),
        // What a revision of the others holds is the object's part that it may bring back.
        _ => (object::number(object, "/revision"), object.get("data")?),
    };
    let annotations = object::texts(template, "/spec/template/metadata/annotations");
    Some(Revision {
        number,
        created,
        cause,
        uses: Use::all_in(&annotations),
    })
}

/// Returns the pin of a generation, where one of the revisions ran it.
pub(crate) fn pin_of(
    revisions: &[Revision],
    environment: &EnvironmentName,
    number: u64,
) -> Option<Pin> {
    let uses = revisions.iter().rev().flat_map(|revision| &revision.uses);
    let mut pins = uses.filter_map(|one| one.pin.clone());
    pins.find(|pin| pin.environment == *environment && pin.number == number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn annotations() -> Value {
        let pin = format!("acme/api:3@sha256:{}", "0".repeat(64));
        json!({"metadata": {"annotations": {
            "nival.dev/environment": "acme/api", "nival.dev/generation": pin, "nival.dev/pinned-from": "acme/api",
        }}})
    }

    #[test]
    fn both_kinds_of_history_are_read() {
        let set = json!({
            "metadata": {"annotations": {DEPLOYMENT_REVISION: "7", CHANGE_CAUSE: "why"}},
            "spec": {"template": annotations()},
        });
        let revision_of = |kind, object| revision(kind, object).unwrap();
        let one = revision_of(Kind::ReplicaSet, &set);
        assert_eq!((one.number, one.cause.as_deref()), (7, Some("why")));
        let stateful = json!({"revision": 4, "data": {"spec": {"template": annotations()}}});
        let other = revision_of(Kind::ControllerRevision, &stateful);
        assert_eq!(other.number, 4);
        assert_eq!(other.uses, one.uses);
        let name = "acme/api".parse().unwrap();
        let revisions = [one, other];
        assert_eq!(pin_of(&revisions, &name, 3).unwrap().number, 3);
        assert_eq!(pin_of(&revisions, &name, 2), None);
        // A ReplicaSet that no Deployment numbered is no revision.
        assert!(revision(Kind::ReplicaSet, &json!({"spec": {}})).is_none());
    }
}
