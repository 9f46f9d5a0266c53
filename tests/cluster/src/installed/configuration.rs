//! An administrator edits the configuration of the nodes.

use serde_json::json;
use testkit::cluster::NAMESPACE;
use testkit::{Failure, poll, retry};

use super::agents::{agent_on, in_agent};
use crate::{Stage, Story, ensure};

pub(crate) const STORIES: &[Story] = &[Story {
    name: "an-edited-configuration-counts-without-a-restart-by-anybody",
    tell: edited,
}];

/// A key that signed nothing here.
const STRANGER: &str = "other-1:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const PREFETCH: &[&str] = &["nival-agent", "prefetch", "demo/app"];

fn edited(stage: &mut Stage) -> Result<(), Failure> {
    let before = agent(stage)?;
    let path = "jsonpath={.data.agent\\.toml}";
    let text = stage.kubectl(&["get", "configmap", "nival", "-n", NAMESPACE, "-o", path])?;
    let key = stage.stack.public_key()?;
    write(stage, &text.replace(&key, STRANGER))?;
    let told = poll("the agent to trust another key alone", || {
        let refusal = in_agent(stage, "node1", PREFETCH).err();
        let told = refusal.is_some_and(|text| text.to_string().contains("trusted: other-1"));
        Ok(told.then_some(()))
    });
    // Whatever came of it, the next story needs the right key.
    write(stage, &text)?;
    told?;
    retry("the agent to trust the key again", || {
        in_agent(stage, "node1", PREFETCH)
    })?;
    stage.cluster.wait_until_installed()?;
    let after = agent(stage)?;
    ensure(before == after, || {
        format!("the agent was {before} and is {after}")
    })
}

/// Returns which pod the agent is, and how often its containers were started again.
fn agent(stage: &Stage) -> Result<String, Failure> {
    let pod = agent_on(stage, "node1")?;
    let path = "jsonpath={.metadata.uid} {.status.containerStatuses[*].restartCount}";
    stage.kubectl(&["get", "pod", &pod, "-n", NAMESPACE, "-o", path])
}

fn write(stage: &Stage, text: &str) -> Result<(), Failure> {
    let patch = json!({"data": {"agent.toml": text}}).to_string();
    let own = ["patch", "configmap", "nival", "-n", NAMESPACE];
    stage
        .kubectl(&[&own[..], &["--type=merge", "-p", &patch]].concat())
        .map(drop)
}
