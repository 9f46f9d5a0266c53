//! The pods of one workload, asked for only when it has to be known why they do not come up, or which is in the way.

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, Preconditions};
use workload::rollout::Memory;
use workload::uses::Use;

use super::State;
use super::reason::{self, Weight, short};
use super::seen::{Key, Workload};

/// How many pods and events are looked at for why they do not come up: the first ones say as much as all.
const ENOUGH: u32 = 200;
/// How many pods the API server sends at a time, where all are looked at.
const PAGE: u32 = 100;
/// By this label a StatefulSet's pods say which revision they are of.
const REVISION: &str = "controller-revision-hash";

/// Says why the pods of a rollout's generations do not come up.
pub(super) async fn why(
    state: &State,
    key: &Key,
    workload: &Workload,
    memory: &Memory,
) -> Result<String, kube::Error> {
    let pods = pods_of(state, key, workload).await?;
    let new = pods.iter().filter(|pod| is_of(pod, memory));
    let worst = new
        .map(|pod| (pod.name_any(), reason::of(pod)))
        .max_by_key(|(_, (weight, _))| *weight);
    let Some((name, (weight, text))) = worst else {
        if let Some(said) = &workload.makes_no_pods {
            return Ok(said.clone());
        }
        let said = last_warning(state, &key.namespace, key.kind.name(), &key.name).await?;
        return Ok(said.unwrap_or_else(|| "no pod of it was made".to_owned()));
    };
    let said = match weight {
        Weight::Waiting | Weight::NotReady => {
            last_warning(state, &key.namespace, "Pod", &name).await?
        }
        _ => None,
    };
    Ok(match (weight, said) {
        (_, Some(said)) => format!("pod {name}: {said}"),
        (Weight::Nothing, None) => "its new pods are up, but not all old ones are gone".to_owned(),
        (Weight::Waiting, None) if text.starts_with("is ") || text.starts_with("has ") => {
            format!("pod {name} {text}")
        }
        (_, None) => format!("pod {name}: {text}"),
    })
}

/// Deletes one pod that keeps an ordered StatefulSet from going on: it is of a revision that is neither wanted nor
/// the one before, and does not become ready. Returns its name.
pub(super) async fn unblock(
    state: &State,
    key: &Key,
    workload: &Workload,
) -> Result<Option<String>, kube::Error> {
    let (Some([update, current]), Some(selector)) = (&workload.revisions, &workload.selector)
    else {
        return Ok(None);
    };
    // Of a large one most pods are of those two; `notin` alone would take pods that say nothing of it.
    let others = format!("{selector},{REVISION},{REVISION} notin ({update},{current})");
    let pods: Api<Pod> = Api::namespaced(state.client.clone(), &key.namespace);
    let in_the_way = |pod: &Pod| {
        let mut owners = pod.owner_references().iter();
        owners.any(|one| one.uid == workload.uid)
            && pod.metadata.deletion_timestamp.is_none()
            && !is_ready(pod)
    };
    let found = look_through(&pods, &others, |pod| in_the_way(&pod).then_some(pod)).await?;
    let Some(pod) = found else {
        return Ok(None);
    };
    // Only that one, and only as it was seen: it may have become ready since.
    let how = DeleteParams::default().preconditions(Preconditions {
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
    });
    let name = pod.name_any();
    pods.delete(&name, &how).await?;
    Ok(Some(name))
}

/// Looks at all pods that a selector means, a page at a time, until there is an answer.
pub(super) async fn look_through<T>(
    pods: &Api<Pod>,
    selector: &str,
    mut look: impl FnMut(Pod) -> Option<T>,
) -> Result<Option<T>, kube::Error> {
    let mut question = ListParams::default().labels(selector).limit(PAGE);
    loop {
        let page = pods.list(&question).await?;
        if let Some(answer) = page.items.into_iter().find_map(&mut look) {
            return Ok(Some(answer));
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => question = question.continue_token(&token),
            None => return Ok(None),
        }
    }
}

async fn pods_of(state: &State, key: &Key, workload: &Workload) -> Result<Vec<Pod>, kube::Error> {
    let Some(selector) = &workload.selector else {
        return Ok(Vec::new());
    };
    let pods: Api<Pod> = Api::namespaced(state.client.clone(), &key.namespace);
    let question = ListParams::default().labels(selector).limit(ENOUGH);
    Ok(pods.list(&question).await?.items)
}

/// Tells whether a pod was made of a template with the rollout's generations.
fn is_of(pod: &Pod, memory: &Memory) -> bool {
    let mut pins = Use::all_in(pod.annotations())
        .into_iter()
        .filter_map(|one| one.pin);
    pins.any(|pin| memory.environments.values().any(|step| step.to == pin))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter());
    let mut conditions = conditions.flatten();
    conditions.any(|one| one.type_ == "Ready" && one.status == "True")
}

/// Returns the last warning about an object: there the kubelet says what the shim refused.
async fn last_warning(
    state: &State,
    namespace: &str,
    kind: &str,
    name: &str,
) -> Result<Option<String>, kube::Error> {
    let events: Api<Event> = Api::namespaced(state.client.clone(), namespace);
    let fields = format!("involvedObject.kind={kind},involvedObject.name={name},type=Warning");
    let question = ListParams::default().fields(&fields).limit(ENOUGH);
    let events = events.list(&question).await?.items.into_iter();
    let when = |event: &Event| {
        let series = event.series.as_ref();
        let last = series.and_then(|series| series.last_observed_time.as_ref());
        let last = last.or(event.event_time.as_ref()).map(|time| time.0);
        last.max(event.last_timestamp.as_ref().map(|time| time.0))
    };
    // The operator's own word about a rollout is no reason for the next.
    let others = events
        .filter(|event| event.reporting_component.as_deref() != Some(workload::names::OPERATOR));
    let newest = others.max_by_key(when);
    Ok(newest.map(|event| {
        let message = short(event.message.as_deref().unwrap_or_default());
        match event.reason {
            Some(reason) => format!("{reason}: {message}"),
            None => message,
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use workload::template::Kind;

    use super::*;
    use crate::rollouts::scene::{self, NO_HUB};
    use crate::rollouts::seen::read;

    fn pod(name: &str, owner: &str, ready: bool) -> Value {
        let ready = if ready { "True" } else { "False" };
        json!({
            "metadata": {"name": name, "uid": name, "resourceVersion": "1",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": owner}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        })
    }

    #[tokio::test]
    async fn a_stuck_pod_is_found_however_many_pods_there_are() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let state = scene::state(NO_HUB, move |_, method, uri, _| {
            log.lock().unwrap().push(format!("{method} {uri}"));
            let (items, token) = match uri.contains("continue=more") {
                true => (
                    json!([pod("another", "x", false), pod("stuck", "u", false)]),
                    "",
                ),
                false => (json!([pod("fine", "u", true)]), "more"),
            };
            let list = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"continue": token}, "items": items});
            match method {
                "GET" => (200, list),
                _ => (200, pod("stuck", "u", false)),
            }
        });
        let object = json!({
            "metadata": {"name": "db", "namespace": "shop", "uid": "u"},
            "spec": {"selector": {"matchLabels": {"app": "db"}}, "template": {"metadata": {"annotations": {
                "nival.dev/environment": "acme/api"}}}},
            "status": {"updateRevision": "db-3", "currentRevision": "db-1"},
        });
        let object = serde_json::from_value(object).unwrap();
        let (key, workload) = read(Kind::StatefulSet, object).unwrap();
        let deleted = unblock(&state, &key, &workload).await.unwrap();
        assert_eq!(deleted.as_deref(), Some("stuck"));
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 3, "{asked:?}");
        let selector = "app%3Ddb%2Ccontroller-revision-hash%2Ccontroller-revision-hash+notin+%28db-3%2Cdb-1%29";
        assert!(asked[0].contains(selector), "{asked:?}");
        assert!(asked[2].starts_with("DELETE ") && asked[2].contains("/pods/stuck"));
    }
}
