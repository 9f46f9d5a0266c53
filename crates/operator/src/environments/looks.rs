//! Looks at environments, with what the API server answers to their writes.

use std::sync::{Arc, Mutex};

use api::kubernetes::Environment;
use env_spec::EnvironmentName;
use serde_json::{Value, json};
use workload::template::Kind;

use crate::rollouts::State;
use crate::rollouts::index::Item;
use crate::rollouts::scene::{self, NO_HUB};
use crate::rollouts::seen::{Key, read};

const NAMESPACE: &str = "shop";

fn environment() -> EnvironmentName {
    "acme/api".parse().unwrap()
}

/// A Deployment begins to use the environment.
fn comes(state: &State) -> Key {
    let object = json!({
        "metadata": {"name": "web", "namespace": NAMESPACE, "uid": "u", "annotations": {"nival.dev/track": "latest"}},
        "spec": {"template": {"metadata": {"annotations": {"nival.dev/environment": "acme/api"}}}},
    });
    let (key, workload) = read(Kind::Deployment, serde_json::from_value(object).unwrap()).unwrap();
    state.with(|index| index.put_workload(key.clone(), Some(workload)));
    key
}

fn resource(name: &str, generation: i64, suspend: bool) -> Value {
    json!({
        "apiVersion": "nival.dev/v1alpha1", "kind": "Environment",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": name, "generation": generation,
            "labels": {"nival.dev/managed-by": "nival-operator"}},
        "spec": {"environment": "acme/api", "suspend": suspend},
    })
}

fn put(state: &State, object: Value) {
    let object: Environment = serde_json::from_value(object).unwrap();
    let name = object.metadata.name.clone().unwrap();
    state.with(|index| index.put_resource(NAMESPACE.to_owned(), name, Some(object)));
}

async fn look(state: &State) -> Result<(), kube::Error> {
    super::look(state, NAMESPACE, &environment()).await
}

#[tokio::test]
async fn what_a_person_changed_is_heard_also_from_the_answer_to_a_write() {
    let state = scene::state(NO_HUB, |_, _, _, _| (200, resource("acme.api", 3, false)));
    let key = comes(&state);
    put(&state, resource("acme.api", 2, true));
    look(&state).await.unwrap();
    assert_eq!(scene::next(&state).await, Item::Workload(key));
}

#[tokio::test]
async fn what_is_made_is_heard_of_from_the_answer_as_well() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let state = scene::state(NO_HUB, move |_, method, uri, _| {
        let (path, _) = uri.split_once('?').unwrap();
        log.lock().unwrap().push(format!("{method} {path}"));
        (200, resource("acme.api", 1, true))
    });
    let key = comes(&state);
    look(&state).await.unwrap();
    let at = "PATCH /apis/nival.dev/v1alpha1/namespaces/shop/environments/acme.api";
    assert_eq!(
        *asked.lock().unwrap(),
        [at.to_owned(), format!("{at}/status")]
    );
    assert_eq!(scene::next(&state).await, Item::Workload(key));
}

#[tokio::test]
async fn what_is_gone_by_the_time_of_an_answer_does_not_come_back() {
    let state = scene::state(NO_HUB, |state, _, _, _| {
        // The watch is quicker than the answer.
        state.with(|index| index.put_resource(NAMESPACE.to_owned(), "acme.api".to_owned(), None));
        (200, resource("acme.api", 2, false))
    });
    comes(&state);
    put(&state, resource("acme.api", 2, false));
    look(&state).await.unwrap();
    assert_eq!(
        state.with(|index| index.resources(NAMESPACE, &environment())),
        []
    );
}

#[tokio::test]
async fn what_the_api_server_does_not_find_is_no_longer_known() {
    let state = scene::state(NO_HUB, |_, _, _, _| scene::error(404, "NotFound"));
    comes(&state);
    put(&state, resource("acme.api", 2, false));
    look(&state).await.unwrap();
    assert_eq!(
        state.with(|index| index.resources(NAMESPACE, &environment())),
        []
    );
    let again = scene::next(&state).await;
    assert!(matches!(again, Item::Workload(_)), "{again:?}");
}

#[tokio::test]
async fn a_name_that_a_person_gave_to_another_environment_is_left_alone() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let state = scene::state(NO_HUB, move |_, _, uri, _| {
        log.lock().unwrap().push(uri.to_owned());
        let name = uri
            .split(['/', '?'])
            .find(|part| part.starts_with("acme.api"));
        if name == Some("acme.api") {
            let (code, mut status) = scene::error(409, "Conflict");
            status["details"] = json!({"causes": [{"reason": "FieldManagerConflict",
                "message": "conflict with \"kubectl-edit\"", "field": ".spec.environment"}]});
            return (code, status);
        }
        (200, resource(name.unwrap(), 1, false))
    });
    comes(&state);
    look(&state).await.unwrap();
    let asked = asked.lock().unwrap().clone();
    assert!(
        asked
            .iter()
            .all(|uri| !uri.contains("force") || uri.contains("/status")),
        "{asked:?}"
    );
    let known = state.with(|index| index.resources(NAMESPACE, &environment()));
    let name = workload::names::environment_resource_apart(&environment());
    assert_eq!(
        known.into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
        [name]
    );
}

#[tokio::test]
async fn another_conflict_makes_no_second_resource() {
    let state = scene::state(NO_HUB, |_, _, uri, _| {
        assert!(uri.contains("/environments/acme.api?"), "{uri}");
        scene::error(409, "Conflict")
    });
    comes(&state);
    look(&state).await.unwrap_err();
}
