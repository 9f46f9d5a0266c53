//! What each namespace is told of an environment that several of them use.

use async_trait::async_trait;
use kube::Client;
use serde_json::json;
use workload::template::Kind;

use super::*;
use crate::http;
use crate::resolve::{Resolver, TokenError, Tokens};
use crate::rollouts::seen::read;
use crate::rollouts::{Metrics, Rollouts};
use crate::settings::Config;

/// Where something does not come, this is how long it is waited for.
const LONG: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct NoTokens;

#[async_trait]
impl Tokens for NoTokens {
    async fn token(&self, _namespace: &str, _name: &str) -> Result<String, TokenError> {
        Err(TokenError::Absent)
    }
}

fn environment() -> EnvironmentName {
    "acme/api".parse().unwrap()
}

/// Returns a waiter for an environment at this hub, in a cluster with these rules and no API server.
fn waiter(hub: &str, rules: &str) -> One {
    host::tls::install();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    let text = format!("hub = \"{hub}\"\n[policy]\ndefault = \"deny\"\n{rules}");
    fs_err::write(&file, text).unwrap();
    let config = Config::load(&file).unwrap();
    let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let state = State::new(Rollouts {
        client: Client::try_from(nowhere).unwrap(),
        resolver: Resolver::new(config, Arc::new(NoTokens)).unwrap(),
        metrics: Metrics::new(&http::Metrics::default()),
        identity: "test".to_owned(),
    });
    One {
        state: Arc::new(state),
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
