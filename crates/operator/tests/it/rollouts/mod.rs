//! Rollouts by the operator as a program, with the rights of the chart, beside real controllers. No kubelet runs: the
//! tests play it.

mod failing;
mod following;
mod kubelet;
mod people;
mod resuming;
mod strategies;

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{poll, poll_within};

use crate::stage::{Stage, pinned, web};
pub(crate) use kubelet::PlayedKubelet;

/// Rollouts take a few looks of several programs, and the machine is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts everything, the operator with the chart's rights.
fn start() -> Stage {
    let mut stage = Stage::without_operator("");
    stage.with_the_charts_rights();
    stage.start_operator(&[]);
    stage
}

/// A workload of `demo/web` that tracks it, with so many pods where its kind counts them.
fn tracked(kind: &str, name: &str, replicas: u32) -> Value {
    let mut object = web(kind, name);
    object["metadata"]["annotations"] = json!({"nival.dev/track": "latest"});
    if matches!(kind, "Deployment" | "StatefulSet") {
        object["spec"]["replicas"] = replicas.into();
    }
    object
}

/// Returns what the operator remembers of a workload, where its label says that this is the newest.
fn memory(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let text = metadata["annotations"]["nival.dev/rollout"].as_str();
    let memory: Value = serde_json::from_str(text.unwrap_or("null")).unwrap_or_default();
    let serial = metadata["labels"]["nival.dev/rollout-serial"].as_str();
    match serial
        == memory["serial"]
            .as_u64()
            .map(|serial| serial.to_string())
            .as_deref()
    {
        true => memory,
        false => Value::Null,
    }
}

/// Waits until a workload's rollout is in this phase with this pin, and returns the workload.
fn wait(stage: &Stage, what: &str, phase: &str, pin: &str) -> Value {
    let waited = poll_within(
        PATIENCE,
        &format!("{what} to be {phase} with {pin}"),
        || {
            let Ok(object) = stage.cluster.kubectl_json(&["get", what]) else {
                return Ok(None);
            };
            let there = memory(&object)["phase"] == phase && pinned(&object).0 == pin;
            Ok(there.then_some(object))
        },
    );
    waited.unwrap_or_else(|error| {
        let object = stage.get(what);
        panic!(
            "{error}; it is {} with {}\nmemory: {}\nstatus: {}\n{}",
            memory(&object)["phase"],
            pinned(&object).0,
            memory(&object),
            object["status"],
            stage.logs()
        )
    })
}

/// Waits until an `Environment` is as it should be, and returns it.
fn wait_for_environment(stage: &Stage, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let waited = poll_within(PATIENCE, "the state of an environment", || {
        if let Ok(object) = stage.cluster.kubectl_json(&["get", "environments", name]) {
            last = object;
        }
        Ok(fits(&last).then_some(()))
    });
    waited.unwrap_or_else(|error| panic!("{error}: {last}\n{}", stage.logs()));
    last
}

/// Returns a condition as `status reason: message`.
fn condition(environment: &Value, type_: &str) -> String {
    let conditions = environment["status"]["conditions"].as_array();
    let condition = conditions
        .into_iter()
        .flatten()
        .find(|one| one["type"] == type_);
    let text = |field: &str| condition.map_or("-", |one| one[field].as_str().unwrap_or("-"));
    format!("{} {}: {}", text("status"), text("reason"), text("message"))
}

/// Waits for an event of the operator about a workload, and returns its text.
fn wait_for_event(stage: &Stage, name: &str, reason: &str, fits: impl Fn(&str) -> bool) -> String {
    let fields = format!("--field-selector=involvedObject.name={name},reason={reason}");
    let mut seen = Vec::new();
    let waited = poll("an event", || {
        let events = stage.cluster.kubectl_json(&["get", "events", &fields])?;
        seen = events["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|event| Some(event["message"].as_str()?.to_owned()))
            .collect();
        Ok(seen.iter().find(|text| fits(text)).cloned())
    });
    waited.unwrap_or_else(|error| panic!("{error} {reason}: {seen:?}\n{}", stage.logs()))
}

/// Sets an annotation of a workload itself; `name-` takes it away.
fn annotate(stage: &Stage, what: &str, annotation: &str) {
    stage.kubectl(&["annotate", "--overwrite", what, annotation]);
}
