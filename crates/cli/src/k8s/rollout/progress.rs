//! How far Kubernetes is with replacing a workload's pods, in one sentence.

use serde_json::Value;

use crate::k8s::kinds::Kind;
use crate::k8s::object::{condition, number, text};

/// Where a rollout is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// All pods are of the newest template, and up.
    Done,
    /// What is waited for.
    Waiting(String),
    /// Kubernetes itself gave up.
    Failed(String),
    /// Nothing replaces pods, whatever is waited for.
    Still(String),
}

/// Reads a workload.
pub(super) fn of(kind: Kind, object: &Value) -> Progress {
    let waiting = |text: String| Progress::Waiting(text);
    let seen = number(object, "/status/observedGeneration");
    if matches!(kind, Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet)
        && seen < number(object, "/metadata/generation")
    {
        return waiting("the change to be seen".to_owned());
    }
    let status = |field: &str| number(object, &format!("/status/{field}"));
    let replicas = object
        .pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(1);
    match kind {
        Kind::Deployment => {
            if let Some(progressing) = condition(object, "Progressing")
                && text(progressing, "/reason") == Some("ProgressDeadlineExceeded")
            {
                let message = text(progressing, "/message").unwrap_or_default();
                return Progress::Failed(message.to_owned());
            }
            if object.pointer("/spec/paused").and_then(Value::as_bool) == Some(true) {
                return Progress::Still("the Deployment is paused".to_owned());
            }
            let (updated, total) = (status("updatedReplicas"), status("replicas"));
            let available = status("availableReplicas");
            if updated < replicas {
                waiting(format!("{updated} of {replicas} new pods are made"))
            } else if total > updated {
                waiting(format!("{} old pods have to end", total - updated))
            } else if available < updated {
                waiting(format!("{available} of {updated} new pods are available"))
            } else {
                Progress::Done
            }
        }
        Kind::StatefulSet => {
            if text(object, "/spec/updateStrategy/type") == Some("OnDelete") {
                return Progress::Still("its strategy is OnDelete".to_owned());
            }
            let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition");
            let wanted = (replicas - partition).max(0);
            let (updated, ready) = (status("updatedReplicas"), status("readyReplicas"));
            let whole =
                text(object, "/status/updateRevision") == text(object, "/status/currentRevision");
            if ready < replicas {
                waiting(format!("{ready} of {replicas} pods are ready"))
            } else if updated < wanted && !whole {
                waiting(format!("{updated} of {wanted} pods are new"))
            } else {
                Progress::Done
            }
        }
        Kind::DaemonSet => {
            if text(object, "/spec/updateStrategy/type") == Some("OnDelete") {
                return Progress::Still("its strategy is OnDelete".to_owned());
            }
            let wanted = status("desiredNumberScheduled");
            let (updated, available) =
                (status("updatedNumberScheduled"), status("numberAvailable"));
            if updated < wanted {
                waiting(format!("{updated} of {wanted} new pods are made"))
            } else if available < wanted {
                waiting(format!("{available} of {wanted} new pods are available"))
            } else {
                Progress::Done
            }
        }
        _ => Progress::Still(format!("nothing replaces the pods of a {}", kind.name())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deployment_is_followed_step_by_step() {
        let at = |status: Value| {
            let object =
                json!({"metadata": {"generation": 2}, "spec": {"replicas": 3}, "status": status});
            of(Kind::Deployment, &object)
        };
        let waits = |status: Value, part: &str| {
            let Progress::Waiting(text) = at(status) else {
                panic!("nothing is waited for");
            };
            assert!(text.contains(part), "{text}");
        };
        waits(json!({"observedGeneration": 1}), "seen");
        waits(
            json!({"observedGeneration": 2, "updatedReplicas": 1}),
            "1 of 3 new",
        );
        waits(
            json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 4}),
            "1 old",
        );
        waits(
            json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 2}),
            "2 of 3 new",
        );
        let up = json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 3});
        assert_eq!(at(up), Progress::Done);
        let late = json!({"observedGeneration": 2, "conditions": [
            {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
        ]});
        assert_eq!(at(late), Progress::Failed("timed out".to_owned()));
    }

    #[test]
    fn kinds_whose_pods_nothing_replaces_are_not_waited_for() {
        let still = |kind, object| matches!(of(kind, &object), Progress::Still(_));
        assert!(still(Kind::CronJob, json!({})));
        let strategy = json!({"spec": {"updateStrategy": {"type": "OnDelete"}}});
        assert!(still(Kind::StatefulSet, strategy.clone()));
        assert!(still(Kind::DaemonSet, strategy));
        assert!(still(Kind::Deployment, json!({"spec": {"paused": true}})));
    }

    #[test]
    fn the_other_kinds_end_too() {
        let stateful = json!({
            "spec": {"replicas": 2},
            "status": {"readyReplicas": 2, "updatedReplicas": 1, "updateRevision": "b", "currentRevision": "a"},
        });
        assert_eq!(
            of(Kind::StatefulSet, &stateful),
            Progress::Waiting("1 of 2 pods are new".to_owned())
        );
        let daemon = json!({"status": {
            "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2
        }});
        assert_eq!(of(Kind::DaemonSet, &daemon), Progress::Done);
    }
}
