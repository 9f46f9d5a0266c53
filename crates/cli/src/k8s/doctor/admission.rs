//! Whether the API server asks the controller, and whether that answers: tried for real, by an object that is never made.

use serde_json::{Value, json};

use super::Check;
use crate::k8s::cluster::{Cluster, ClusterError};
use crate::k8s::kinds::Kind;
use crate::k8s::object;

const NAME: &str = "nival";
const INSTALL: &str = "install Nival with admission, or pin in git: `kubectl nival pin`";
/// An environment that there is not: no hub lets anybody own this name.
const NOWHERE: &str = "nival-doctor/no-such-environment";

pub(super) async fn configured(cluster: &Cluster) -> Check {
    const CHECK: &str = "admission configured";
    for kind in [
        Kind::MutatingWebhookConfiguration,
        Kind::ValidatingWebhookConfiguration,
    ] {
        let configuration = match cluster.find(kind, None, NAME).await {
            Ok(Some(configuration)) => configuration,
            Ok(None) => {
                let text = format!("there is no {} {NAME}: nothing is pinned", kind.name());
                return Check::fail(CHECK, text, INSTALL);
            }
            Err(error) => return Check::of_error(CHECK, &error),
        };
        if let Some(webhook) = without_authority(&configuration) {
            return Check::fail(
                CHECK,
                format!("webhook {webhook} has no caBundle: the controller has not written it"),
                "look at the controller's log; it needs the right to change the webhook configurations",
            );
        }
    }
    Check::ok(CHECK, "both webhook configurations have an authority")
}

/// Returns a webhook that the API server could not trust.
fn without_authority(configuration: &Value) -> Option<&str> {
    let webhooks = object::list(configuration, "/webhooks");
    let bare = webhooks.iter().find(|one| {
        one.pointer("/clientConfig/service").is_some()
            && object::text(one, "/clientConfig/caBundle").is_none_or(str::is_empty)
    });
    bare.map(|one| object::text(one, "/name").unwrap_or_default())
}

pub(super) async fn answers(cluster: &Cluster, own: &str) -> Check {
    // Where Nival itself is nothing is asked.
    let namespace = match cluster.namespace() {
        namespace if namespace == own || namespace.starts_with("kube-") => "default",
        namespace => namespace,
    };
    let answer = cluster
        .try_create(Kind::Deployment, namespace, &probe(namespace))
        .await;
    judged(namespace, answer)
}

/// Returns what the API server's answer to an impossible Deployment means.
fn judged(namespace: &str, answer: Result<Value, ClusterError>) -> Check {
    const CHECK: &str = "admission answers";
    let error = match answer {
        Ok(_made) => {
            return Check::fail(
                CHECK,
                format!(
                    "a Deployment of an unknown environment was let in by namespace {namespace}: nobody looked at it"
                ),
                INSTALL,
            );
        }
        Err(error) => error,
    };
    let ClusterError::Refused { message, code, .. } = &error else {
        return Check::of_error(CHECK, &error);
    };
    if message.contains("failed calling webhook") {
        return Check::fail(
            CHECK,
            message.clone(),
            "look at the controller's pods and log; x509 errors go when it has written its new authority",
        );
    }
    // In the words of the API server: which webhook, and what it said.
    if let Some((_, said)) = message.split_once("denied the request: ") {
        // What could not be looked into is told apart from what was refused.
        if *code >= 500 {
            return Check::fail(
                CHECK,
                format!("it cannot decide: {said}"),
                "look at the hub, and at the way from the controller to it",
            );
        }
        return Check::ok(CHECK, format!("to an impossible wish: {said}"));
    }
    Check::of_error(CHECK, &error)
}

fn probe(namespace: &str) -> Value {
    let labels = json!({"app.kubernetes.io/name": "nival-doctor"});
    json!({
        "apiVersion": Kind::Deployment.api_version(),
        "kind": Kind::Deployment.name(),
        "metadata": {"name": "nival-doctor", "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {(workload::names::ENVIRONMENT): NOWHERE},
                },
                "spec": {"containers": [{
                    "name": "doctor",
                    "image": workload::names::PLACEHOLDER_IMAGE,
                }]},
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn refused(code: u16, message: &str) -> Result<Value, ClusterError> {
        Err(ClusterError::Refused {
            doing: "try".to_owned(),
            code,
            reason: String::new(),
            message: message.to_owned(),
        })
    }

    #[test]
    fn the_answer_tells_who_was_asked() {
        for (answer, state) in [
            (Ok(json!({})), State::Fail),
            (
                refused(
                    403,
                    "admission webhook \"workloads.nival.dev\" denied the request: no such environment",
                ),
                State::Ok,
            ),
            (
                refused(
                    500,
                    "Internal error occurred: failed calling webhook \"workloads.nival.dev\": x509: expired",
                ),
                State::Fail,
            ),
            (
                refused(
                    503,
                    "admission webhook \"workloads.nival.dev\" denied the request: the hub did not answer",
                ),
                State::Fail,
            ),
            (
                refused(
                    403,
                    "deployments.apps is forbidden: User \"x\" cannot create",
                ),
                State::Unknown,
            ),
        ] {
            assert_eq!(judged("default", answer).state, state);
        }
    }

    #[test]
    fn a_webhook_without_an_authority_is_found() {
        let with = |bundle: Value| json!({"webhooks": [{"name": "a", "clientConfig": {"service": {}, "caBundle": bundle}}]});
        assert_eq!(without_authority(&with(json!(""))), Some("a"));
        assert_eq!(without_authority(&with(Value::Null)), Some("a"));
        assert_eq!(without_authority(&with(json!("LS0"))), None);
    }
}
