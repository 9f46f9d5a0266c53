//! Everything that is remembered of a start, in the order in which it happened.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::time;
use crate::k8s::agent_log::Line;
use crate::k8s::cluster::one_line;
use crate::k8s::object::{list, number, text};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Moment {
    pub(super) time: Timestamp,
    from: String,
    what: String,
}

impl Moment {
    /// Returns the cells of a table that begins at a time.
    pub(super) fn cells(&self, begun: Option<Timestamp>) -> Vec<String> {
        let after = self.time.duration_since(begun.unwrap_or(self.time));
        vec![shown(after), self.from.clone(), self.what.clone()]
    }
}

fn shown(after: SignedDuration) -> String {
    let whole = after.as_secs();
    match after.subsec_millis() {
        0 => format!("{whole}s"),
        part => format!("{whole}.{part:03}s"),
    }
}

/// Returns what is remembered of a pod.
pub(super) fn of(pod: &Value, events: &[Value], lines: &[Line]) -> Vec<Moment> {
    let mut moments = Vec::new();
    let mut add = |at: Option<Timestamp>, from: &str, what: String| {
        if let Some(time) = at {
            moments.push(Moment {
                time,
                from: from.to_owned(),
                what: one_line(&what),
            });
        }
    };
    let created = time(text(pod, "/metadata/creationTimestamp"));
    add(created, "api", "the pod is made".to_owned());
    for condition in list(pod, "/status/conditions") {
        let at = time(text(condition, "/lastTransitionTime"));
        let kind = text(condition, "/type").unwrap_or_default();
        let what = match (text(condition, "/status"), text(condition, "/message")) {
            (Some("True"), _) => format!("condition {kind} holds"),
            (_, Some(message)) => format!("condition {kind} does not hold: {message}"),
            (_, None) => format!("condition {kind} does not hold"),
        };
        add(at, "condition", what);
    }
    let containers = list(pod, "/status/initContainerStatuses")
        .iter()
        .chain(list(pod, "/status/containerStatuses"));
    for container in containers {
        let name = text(container, "/name").unwrap_or_default();
        for state in ["lastState", "state"] {
            let place = |field: &str| format!("/{state}/{field}");
            let running = time(text(container, &place("running/startedAt")));
            add(running, "container", format!("{name} started"));
            let ended = time(text(container, &place("terminated/finishedAt")));
            let begun = time(text(container, &place("terminated/startedAt")));
            add(begun, "container", format!("{name} started"));
            let code = number(container, &place("terminated/exitCode"));
            let reason = text(container, &place("terminated/reason")).unwrap_or_default();
            let message = text(container, &place("terminated/message")).unwrap_or_default();
            add(
                ended,
                "container",
                format!("{name} ended with {code} ({reason}) {message}"),
            );
        }
    }
    for event in events {
        let (first, last) = (first_time(event), time(text(event, "/lastTimestamp")));
        let reason = text(event, "/reason").unwrap_or_default();
        let message = text(event, "/message").unwrap_or_default();
        let from = text(event, "/source/component")
            .or_else(|| text(event, "/reportingComponent"))
            .unwrap_or("event");
        let count = number(event, "/count");
        let many = match (count, first.zip(last)) {
            (2.., Some((first, last))) => format!(
                " ({count} times in {}s)",
                last.as_second() - first.as_second()
            ),
            _ => String::new(),
        };
        add(first.or(last), from, format!("{reason}: {message}{many}"));
    }
    for line in lines {
        let particulars: Vec<String> = line
            .fields
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "namespace" | "pod"))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let what = format!("{} {}", line.message, particulars.join(" "));
        add(time(Some(&line.time)), "agent", what);
    }
    moments.sort_by_key(|moment| moment.time);
    moments
}

/// Returns when an event was first seen; newer clients write only the last of these.
fn first_time(event: &Value) -> Option<Timestamp> {
    [
        "/firstTimestamp",
        "/eventTime",
        "/metadata/creationTimestamp",
    ]
    .iter()
    .find_map(|place| time(text(event, place)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sources_are_merged_in_their_order() {
        let pod = json!({
            "metadata": {"creationTimestamp": "2026-11-25T10:00:00Z"},
            "status": {
                "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-25T10:00:01Z"}],
                "containerStatuses": [{"name": "web", "state": {"terminated": {
                    "startedAt": "2026-11-25T10:00:20Z", "finishedAt": "2026-11-25T10:00:21Z", "exitCode": 7, "reason": "Error",
                }}}],
            },
        });
        let events = [json!({
            "firstTimestamp": "2026-11-25T10:00:02Z", "lastTimestamp": "2026-11-25T10:00:12Z", "count": 3,
            "reason": "FailedCreatePodSandBox", "message": "fetching acme/api:12:\n 3.1 of 5.0 GB",
            "source": {"component": "kubelet"},
        })];
        let lines = [Line {
            time: "2026-11-25T10:00:13.250Z".to_owned(),
            message: "prepared".to_owned(),
            fields: [
                ("pin".to_owned(), "p".to_owned()),
                ("pod".to_owned(), "x".to_owned()),
            ]
            .into(),
        }];
        let moments = of(&pod, &events, &lines);
        let begun = moments.first().map(|one| one.time);
        let told: Vec<String> = moments
            .iter()
            .map(|one| one.cells(begun).join("|"))
            .collect();
        assert_eq!(
            told,
            [
                "0s|api|the pod is made",
                "1s|condition|condition PodScheduled holds",
                "2s|kubelet|FailedCreatePodSandBox: fetching acme/api:12: 3.1 of 5.0 GB (3 times in 10s)",
                "13.250s|agent|prepared pin=p",
                "20s|container|web started",
                "21s|container|web ended with 7 (Error)",
            ]
        );
    }
}
