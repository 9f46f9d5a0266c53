//! Why a pod does not come up, in one line: what the kubelet, the scheduler and the program itself said last.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use workload::rollout::one_line;

/// How much of what a program said is repeated.
const LONGEST_MESSAGE: usize = 200;

/// What is wrong with a pod; the later ones say more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// Nothing is, as far as its state says.
    Nothing,
    /// It runs, but is not ready.
    NotReady,
    /// It waits, and its events may say for what.
    Waiting,
    /// No node takes it.
    Unschedulable,
    /// A container was refused.
    Refused,
    /// A container ended.
    Ended,
}

/// Returns what is wrong with a pod.
pub(crate) fn of(pod: &Pod) -> (Weight, String) {
    let Some(status) = &pod.status else {
        return (Weight::Waiting, "has no state yet".to_owned());
    };
    let init = status.init_container_statuses.iter().flatten();
    let main = status.container_statuses.iter().flatten();
    let mut worst = init
        .chain(main)
        .map(of_container)
        .max_by_key(|(weight, _)| *weight);
    if let Some(refused) = worst.take_if(|(weight, _)| *weight >= Weight::Refused) {
        return refused;
    }
    let conditions = status.conditions.iter().flatten();
    for condition in conditions {
        if condition.type_ == "PodScheduled" && condition.status == "False" {
            let message = condition.message.as_deref().unwrap_or("no node takes it");
            return (
                Weight::Unschedulable,
                format!("cannot be scheduled: {}", short(message)),
            );
        }
    }
    if let (Some("Failed"), Some(message)) = (status.phase.as_deref(), &status.message) {
        return (Weight::Refused, short(message));
    }
    if let Some(problem) = worst.filter(|(weight, _)| *weight > Weight::Nothing) {
        return problem;
    }
    match status.phase.as_deref() {
        Some("Pending") => (Weight::Waiting, "is pending".to_owned()),
        _ => (Weight::Nothing, String::new()),
    }
}

fn of_container(status: &ContainerStatus) -> (Weight, String) {
    let name = &status.name;
    let ended = |state: Option<&ContainerState>| state.and_then(|state| state.terminated.clone());
    let last = ended(status.state.as_ref())
        .filter(|end| end.exit_code != 0)
        .or_else(|| ended(status.last_state.as_ref()));
    let waiting = status
        .state
        .as_ref()
        .and_then(|state| state.waiting.as_ref());
    let waits_for = waiting.and_then(|waiting| waiting.reason.as_deref());
    // A container that could not even start is said to have ended with 128, in the words of the refusal.
    if let Some(end) = last.filter(|_| !status.ready) {
        let reason = end.reason.as_deref().unwrap_or("");
        let message = end
            .message
            .as_deref()
            .map(short)
            .filter(|text| !text.is_empty());
        let text = match (reason, message) {
            ("StartError" | "ContainerCannotRun", Some(message)) => {
                return (
                    Weight::Refused,
                    format!("container {name} cannot start: {message}"),
                );
            }
            ("OOMKilled", _) => {
                format!("container {name} was killed: it used more memory than its limit")
            }
            (_, Some(message)) => format!(
                "container {name} exited with code {}: {message}",
                end.exit_code
            ),
            ("" | "Error" | "Completed", None) => {
                format!("container {name} exited with code {}", end.exit_code)
            }
            (reason, None) => {
                format!(
                    "container {name} exited with code {} ({reason})",
                    end.exit_code
                )
            }
        };
        return (Weight::Ended, text);
    }
    match (waiting, waits_for) {
        (Some(_), Some("ContainerCreating" | "PodInitializing") | None) => (
            Weight::Waiting,
            format!("container {name} is not created yet"),
        ),
        (Some(waiting), Some(reason)) => {
            let message = waiting.message.as_deref().map(short).unwrap_or_default();
            let said = if message.is_empty() {
                reason.to_owned()
            } else {
                format!("{reason}: {message}")
            };
            (Weight::Refused, format!("container {name} waits: {said}"))
        }
        (None, _) if !status.ready => (
            Weight::NotReady,
            format!("container {name} runs but is not ready"),
        ),
        (None, _) => (Weight::Nothing, String::new()),
    }
}

/// Returns the end of what was said, in one line: that is where programs say what went wrong.
pub(crate) fn short(text: &str) -> String {
    let line = one_line(text);
    let length = line.chars().count();
    if length <= LONGEST_MESSAGE {
        return line;
    }
    let rest = line.chars().skip(length - LONGEST_MESSAGE + 1);
    ['…'].into_iter().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(status: &Value) -> (Weight, String) {
        of(&serde_json::from_value(json!({ "status": status })).unwrap())
    }

    fn container(state: &Value, last: &Value) -> Value {
        json!({"phase": "Running", "containerStatuses": [
            {"name": "fine", "ready": true, "image": "", "imageID": "", "restartCount": 0, "state": {"running": {}}},
            {"name": "app", "ready": false, "image": "", "imageID": "", "restartCount": 3, "state": state, "lastState": last}]})
    }

    #[test]
    fn a_program_that_ends_is_quoted() {
        let crash = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}});
        let last = |more: &Value| {
            let mut end = json!({"exitCode": 3});
            end.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            json!({ "terminated": end })
        };
        for (end, text) in [
            (
                json!({"reason": "Error", "message": "no module\n named x\n"}),
                "container app exited with code 3: no module named x",
            ),
            (
                json!({"reason": "Error", "message": "\u{1b}[31mred\u{1b}[0m\u{7}\n"}),
                "container app exited with code 3: [31mred [0m",
            ),
            (
                json!({"reason": "Error"}),
                "container app exited with code 3",
            ),
            (
                json!({"reason": "DeadlineExceeded"}),
                "container app exited with code 3 (DeadlineExceeded)",
            ),
            (
                json!({"reason": "OOMKilled"}),
                "container app was killed: it used more memory than its limit",
            ),
        ] {
            assert_eq!(
                said(&container(&crash, &last(&end))),
                (Weight::Ended, text.to_owned())
            );
        }
        let refused = last(&json!({"reason": "StartError", "message": "acme/api:13 is revoked"}));
        assert_eq!(
            said(&container(&crash, &refused)),
            (
                Weight::Refused,
                "container app cannot start: acme/api:13 is revoked".to_owned()
            )
        );
    }

    #[test]
    fn a_refusal_a_wait_and_a_pod_without_a_node_are_told_apart() {
        let waiting = |reason: &str, message: &str| {
            let state = json!({"waiting": {"reason": reason, "message": message}});
            said(&container(&state, &json!({})))
        };
        assert_eq!(
            waiting("CreateContainerError", "no such environment"),
            (
                Weight::Refused,
                "container app waits: CreateContainerError: no such environment".to_owned()
            )
        );
        assert_eq!(waiting("ContainerCreating", "").0, Weight::Waiting);
        assert_eq!(
            said(&container(&json!({"running": {}}), &json!({}))).0,
            Weight::NotReady
        );
        let (weight, text) = said(&json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available"}]}));
        assert_eq!(weight, Weight::Unschedulable);
        assert_eq!(text, "cannot be scheduled: 0/2 nodes are available");
        assert_eq!(said(&json!({"phase": "Pending"})).0, Weight::Waiting);
        assert_eq!(
            said(&json!({"phase": "Failed", "message": "evicted"})),
            (Weight::Refused, "evicted".to_owned())
        );
        assert_eq!(of(&Pod::default()).0, Weight::Waiting);
    }

    #[test]
    fn init_containers_count_and_long_words_keep_their_end() {
        let status = json!({"phase": "Pending", "initContainerStatuses": [
            {"name": "first", "ready": false, "image": "", "imageID": "", "restartCount": 1,
             "state": {"terminated": {"exitCode": 1, "message": format!("{}the end", "x ".repeat(500))}}}]});
        let (weight, text) = said(&status);
        assert_eq!(weight, Weight::Ended);
        assert!(text.ends_with("the end") && text.len() < 300, "{text}");
    }
}
