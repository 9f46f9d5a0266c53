//! What each namespace is told of an environment that several of them use.

use serde_json::json;
use workload::template::Kind;

use super::*;
use crate::rollouts::scene::{self, LONG};
use crate::rollouts::seen::read;

fn environment() -> EnvironmentName {
    "acme/api".parse().unwrap()
}

/// Returns a waiter for an environment at this hub, in a cluster with these rules and no API server.
fn waiter(hub: &str, rules: &str) -> One {
    let text = format!("hub = \"{hub}\"\n[policy]\ndefault = \"deny\"\n{rules}");
    let nobody = |_: &State, _: &str, _: &str, _| scene::error(503, "ServiceUnavailable");
    One {
        state: scene::state(&text, nobody),
        environment: environment(),
        places: Arc::new(Semaphore::new(1)),
        wake: Arc::default(),
    }
}

fn comes(state: &State, namespace: &str) {
    let object = json!({
        "metadata": {"name": "web", "namespace": namespace, "uid": "u", "annotations": {"nival.dev/track": "latest"}},
        "spec": {"template": {"metadata": {"annotations": {"nival.dev/environment": "acme/api"}}}},
    });
    let (key, workload) = read(Kind::Deployment, serde_json::from_value(object).unwrap()).unwrap();
    state.with(|index| index.put_workload(key, Some(workload)));
}

/// Waits until a namespace was told of trouble, and returns it.
async fn told(state: &State, namespace: &str) -> Trouble {
    let heard = async {
        loop {
            let answer = state.with(|index| index.answer(namespace, &environment()).cloned());
            if let Some(trouble) = answer.and_then(|answer| answer.trouble) {
                return trouble;
            }
            tokio::task::yield_now().await;
        }
    };
    let heard = tokio::time::timeout(LONG, heard).await;
    heard.expect("the namespace is told something")
}

#[tokio::test]
async fn a_namespace_that_comes_later_is_told_at_once_and_not_when_the_hub_has_news() {
    // It takes questions, and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rules = "[[allow]]\nnamespaces = [\"early\"]\nenvironments = [\"acme/api\"]\n";
    let one = waiter(&format!("http://{}", silent.local_addr().unwrap()), rules);
    let (state, wake) = (Arc::clone(&one.state), Arc::clone(&one.wake));
    comes(&state, "early");
    let pointer = LivePointer {
        environment: environment(),
        number: 12,
        digest: env_spec::Digest::of(b"12"),
        sequence: 5,
        time: "2026-11-25T09:00:00Z".to_owned(),
    };
    let running = tokio::spawn(one.run(Some(pointer)));
    let (_asked, _) = silent.accept().await.unwrap();
    // In an order in which it is told before those that the hub keeps waiting.
    comes(&state, "a-late-one");
    wake.notify_one();
    assert_eq!(told(&state, "a-late-one").await.reason, "NotAllowed");
    running.abort();
}

/// Lets a waiter ask a hub that is down, and returns what these namespaces are told.
async fn told_of_a_hub_that_is_down(rules: &str, namespaces: &[&str]) -> Vec<Trouble> {
    let one = waiter("http://127.0.0.1:1", rules);
    let state = Arc::clone(&one.state);
    for namespace in namespaces {
        comes(&state, namespace);
    }
    let running = tokio::spawn(one.run(None));
    let mut all = Vec::new();
    for namespace in namespaces {
        all.push(told(&state, namespace).await);
    }
    running.abort();
    all
}

const RULES: &str = r#"
[[allow]]
namespaces = ["b-*"]
environments = ["acme/api"]
credential = "secret-of-b"
[credentials.secret-of-b]
token_file = "/nowhere/at/all"
[[allow]]
namespaces = ["c-*"]
environments = ["acme/api"]
"#;

#[tokio::test]
async fn what_one_namespace_is_refused_for_is_told_to_no_other() {
    let told = told_of_a_hub_that_is_down(RULES, &["a-denied", "b-lent", "d-denied"]).await;
    let reasons: Vec<_> = told.iter().map(|one| one.reason).collect();
    assert_eq!(reasons, ["NotAllowed", "Credential", "NotAllowed"]);
    assert!(told[0].message.contains("a-denied") && told[2].message.contains("d-denied"));
    assert!(told[1].message.contains("secret-of-b") && told[1].lasting);
}

#[tokio::test]
async fn that_the_hub_is_down_is_told_to_those_whom_policy_lets_in() {
    let all = ["b-lent", "c-one", "c-two", "d-denied"];
    let told = told_of_a_hub_that_is_down(RULES, &all).await;
    let reasons: Vec<_> = told.iter().map(|one| one.reason).collect();
    assert_eq!(reasons, ["Credential", "HubDown", "HubDown", "NotAllowed"]);
    assert!(!told[1].lasting && told[3].lasting);
}
