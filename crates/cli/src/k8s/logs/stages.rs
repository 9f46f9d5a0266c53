//! The stages of a start, and how long each took.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::time;
use crate::k8s::agent_log::Line;
use crate::k8s::object::{condition, list, text};

/// A stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stage {
    stage: &'static str,
    state: State,
    /// As precise as its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    took: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Done,
    Running,
    Pending,
}

impl Stage {
    pub(super) fn cells(&self) -> Vec<String> {
        let state = match self.state {
            State::Done => "done",
            State::Running => "running",
            State::Pending => "pending",
        };
        vec![
            self.stage.to_owned(),
            state.to_owned(),
            self.took.clone().unwrap_or_else(|| "<unknown>".to_owned()),
            self.detail.clone(),
        ]
    }
}

/// Returns the stages of a pod's start.
pub(super) fn of(pod: &Value, lines: &[Line]) -> Vec<Stage> {
    let created = time(text(pod, "/metadata/creationTimestamp"));
    let since = |kind: &str| {
        let found = condition(pod, kind).filter(|one| text(one, "/status") == Some("True"));
        time(found.and_then(|one| text(one, "/lastTransitionTime")))
    };
    let scheduled = since("PodScheduled");
    let sandbox = since("PodReadyToStartContainers");
    let started = first_starts(pod);
    let ready = since("Ready");
    let node = text(pod, "/spec/nodeName").unwrap_or_default();
    let mut stages = vec![
        stage("schedule", created, scheduled, node),
        stage(
            "sandbox",
            scheduled,
            sandbox,
            "the environments are on the node, and the network is",
        ),
    ];
    stages.extend(fetches(lines));
    stages.push(stage("containers", sandbox, started, &waiting(pod)));
    stages.push(stage("ready", started, ready, ""));
    stages.push(stage("all", created, ready, ""));
    stages
}

fn stage(
    name: &'static str,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    detail: &str,
) -> Stage {
    let state = match (from, to) {
        (_, Some(_)) => State::Done,
        (Some(_), None) => State::Running,
        (None, None) => State::Pending,
    };
    // A condition may have changed again since: then nothing is known of the first time.
    let took = from.zip(to).and_then(|(from, to)| {
        let seconds = to.as_second() - from.as_second();
        (seconds >= 0).then(|| format!("{seconds}s"))
    });
    Stage {
        stage: name,
        state,
        took: match state {
            State::Done => took,
            State::Running | State::Pending => Some("-".to_owned()),
        },
        detail: detail.to_owned(),
    }
}

/// Returns when the last of the containers was first started, where all are.
fn first_starts(pod: &Value) -> Option<Timestamp> {
    let states = list(pod, "/status/containerStatuses");
    let wanted = list(pod, "/spec/containers").len();
    let starts: Vec<Timestamp> = states
        .iter()
        .filter_map(|state| {
            let own = ["/state/running/startedAt", "/state/terminated/startedAt"];
            own.iter().find_map(|place| time(text(state, place)))
        })
        .collect();
    let all = wanted > 0 && starts.len() == wanted;
    starts.into_iter().max().filter(|_| all)
}

/// Returns what containers wait for, in the kubelet's words.
fn waiting(pod: &Value) -> String {
    let states = list(pod, "/status/initContainerStatuses")
        .iter()
        .chain(list(pod, "/status/containerStatuses"));
    let waits = states.filter_map(|state| {
        let reason = text(state, "/state/waiting/reason")?;
        let name = text(state, "/name").unwrap_or_default();
        Some(match text(state, "/state/waiting/message") {
            Some(message) => format!("{name}: {reason}: {message}"),
            None => format!("{name}: {reason}"),
        })
    });
    waits.collect::<Vec<_>>().join("; ")
}

/// Returns the fetches that the pod waited for, and what was prepared when they were done, by the agent's own clock.
fn fetches(lines: &[Line]) -> Vec<Stage> {
    let mut stages = Vec::new();
    for line in lines {
        let field = |name: &str| line.fields.get(name).cloned();
        let generation = field("generation").unwrap_or_default();
        let (stage, detail) = match line.message.as_str() {
            "fetched" => (
                "- fetch",
                format!(
                    "{generation}: {} store paths, {} bytes from the network",
                    field("paths").unwrap_or_default(),
                    field("bytes").unwrap_or_default()
                ),
            ),
            "prepared" => (
                "- prepare",
                format!(
                    "{} {}",
                    field("container").unwrap_or_default(),
                    field("pin").unwrap_or_default()
                ),
            ),
            _ => continue,
        };
        stages.push(Stage {
            stage,
            state: State::Done,
            took: field("elapsed"),
            detail: detail.trim().to_owned(),
        });
    }
    stages
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn at(second: u8) -> String {
        format!("2026-11-25T10:00:{second:02}Z")
    }

    #[test]
    fn a_whole_start_is_told_stage_by_stage() {
        let condition = |kind: &str, second| json!({"type": kind, "status": "True", "lastTransitionTime": at(second)});
        let pod = json!({
            "metadata": {"creationTimestamp": at(0)},
            "spec": {"nodeName": "n1", "containers": [{}]},
            "status": {
                "conditions": [
                    condition("PodScheduled", 1), condition("PodReadyToStartContainers", 8), condition("Ready", 12),
                ],
                "containerStatuses": [{"state": {"running": {"startedAt": at(9)}}}],
            },
        });
        let fields = [
            ("generation", "acme/api:1"),
            ("elapsed", "5.2s"),
            ("paths", "3"),
            ("bytes", "10"),
        ];
        let line = Line {
            time: at(7),
            message: "fetched".to_owned(),
            fields: fields
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        let told: Vec<(&str, String)> = of(&pod, &[line])
            .into_iter()
            .map(|stage| (stage.stage, stage.took.unwrap_or_default()))
            .collect();
        let expected = [
            ("schedule", "1s"),
            ("sandbox", "7s"),
            ("- fetch", "5.2s"),
            ("containers", "1s"),
            ("ready", "3s"),
            ("all", "12s"),
        ];
        assert_eq!(told, expected.map(|(stage, took)| (stage, took.to_owned())));
    }

    #[test]
    fn a_start_that_stands_still_says_what_is_waited_for() {
        let pod = json!({
            "metadata": {"creationTimestamp": at(0)},
            "spec": {"containers": [{}, {}]},
            "status": {
                "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(1)}],
                "containerStatuses": [
                    {"name": "web", "state": {"waiting": {"reason": "CreateContainerError", "message": "no such thing"}}},
                    {"name": "log", "state": {"running": {"startedAt": at(2)}}},
                ],
            },
        });
        let stages = of(&pod, &[]);
        assert_eq!(stages[1].state, State::Running);
        assert_eq!(stages[2].state, State::Pending);
        assert_eq!(stages[2].detail, "web: CreateContainerError: no such thing");
        // Whatever a server sends, nothing panics.
        of(
            &json!({"status": 7}),
            &[Line {
                time: String::new(),
                message: "fetched".into(),
                fields: BTreeMap::new(),
            }],
        );
    }
}
