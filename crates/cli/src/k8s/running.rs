//! Which generation a pod runs: by its pin, else by what its node says.

use api::kubernetes::NivalNode;
use env_spec::generation::Generation;
use env_spec::{Pin, System};
use serde_json::Value;
use workload::pin::Slot;
use workload::template::{Template, system_of};
use workload::uses::Use;

use crate::error::{CommandError, Outcome};
use crate::k8s::agent_log::Agent;
use crate::k8s::cluster::Cluster;
use crate::k8s::kinds::Kind;
use crate::k8s::object;

/// How it is known what runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// The pod's annotations say it, and its node refuses anything else.
    Pinned(Pin),
    /// The agent of its node resolved it, and told so.
    Resolved(Pin),
    /// Nothing tells; with the generations of the environment that the node holds.
    Unknown(Vec<Pin>),
}

impl Known {
    /// Returns the generation.
    pub(crate) fn pin(&self) -> Option<&Pin> {
        match self {
            Self::Pinned(pin) | Self::Resolved(pin) => Some(pin),
            Self::Unknown(_) => None,
        }
    }
}

/// Returns what runs in one of a pod's environments.
pub(crate) async fn known(
    cluster: &Cluster,
    nival_namespace: &str,
    pod: &Value,
    place: &Use,
) -> Known {
    if let Some(pin) = &place.pin {
        return Known::Pinned(pin.clone());
    }
    let Some(node) = object::text(pod, "/spec/nodeName") else {
        return Known::Unknown(Vec::new());
    };
    // Who may not see Nival's own pods can still see what nodes hold.
    let lines = match Agent::of(cluster, nival_namespace, node).await {
        Ok(Some(agent)) => {
            let since = object::text(pod, "/metadata/creationTimestamp");
            agent.lines(cluster, since).await.unwrap_or_default()
        }
        Ok(None) | Err(_) => Vec::new(),
    };
    let (namespace, name) = (object::namespace(pod), object::name(pod));
    let resolved = lines
        .iter()
        .rev()
        .filter(|line| line.is_of_pod(namespace, name))
        .filter_map(|line| line.prepared())
        .find(|(container, pin)| {
            // What is prepared for the sandbox is for all containers, and has no name.
            let same = match &place.slot {
                Slot::Container(wanted) => container == wanted || container.is_empty(),
                Slot::Pod => true,
            };
            same && pin.environment == place.environment
        });
    if let Some((_, pin)) = resolved {
        return Known::Resolved(pin);
    }
    let held = held(cluster, node).await;
    let of_it = held
        .into_iter()
        .filter(|pin| pin.environment == place.environment);
    Known::Unknown(of_it.collect())
}

/// Returns the generations that a node says it holds.
async fn held(cluster: &Cluster, node: &str) -> Vec<Pin> {
    let state = cluster
        .find(Kind::NivalNode, None, node)
        .await
        .ok()
        .flatten();
    let state = state.and_then(|state| serde_json::from_value::<NivalNode>(state).ok());
    let generations = state
        .and_then(|state| state.status)
        .unwrap_or_default()
        .generations;
    generations
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
}

/// Returns the system of the node that a pod runs on, else the one that its template or the record leaves.
///
/// # Errors
/// Fails when several remain.
pub(crate) async fn system(
    cluster: &Cluster,
    kind: Kind,
    object: &Value,
    generation: &Generation,
) -> Outcome<System> {
    if let Some(node) = object::text(object, "/spec/nodeName") {
        // Not everybody may look at nodes.
        let machine = cluster.find(Kind::Node, None, node).await.ok().flatten();
        let architecture = machine.as_ref().and_then(|machine| {
            object::text(machine, "/status/nodeInfo/architecture").or_else(|| {
                machine
                    .pointer("/metadata/labels/kubernetes.io~1arch")?
                    .as_str()
            })
        });
        if let Some(system) = architecture.and_then(system_of) {
            return Ok(system);
        }
    }
    let template = kind
        .with_template()
        .and_then(|kind| Template::of(kind, object))
        .and_then(Template::systems);
    let possible: Vec<&System> = generation
        .systems
        .keys()
        .filter(|system| system.as_str().ends_with("-linux"))
        .filter(|system| template.as_ref().is_none_or(|all| all.contains(system)))
        .collect();
    match possible.as_slice() {
        [only] => Ok((*only).clone()),
        several => {
            let names: Vec<&str> = several.iter().map(|one| one.as_str()).collect();
            Err(CommandError::user(format!(
                "{} may run on several systems: {}",
                generation.label(),
                names.join(", ")
            ))
            .hint("choose one with --system"))
        }
    }
}
