//! An administrator edits the configuration of the nodes.

use serde_json::json;
use testkit::cluster::NAMESPACE;
use testkit::{Failure, poll, retry};

use super::agents::in_agent;
use crate::{Stage, Story, ensure};

pub(crate) const STORIES: &[Story] = &[Story {
    name: "an-edited-configuration-counts-without-a-restart-by-anybody",
    tell: edited,
}];

const NODES: [&str; 2] = ["node1", "node2"];
/// An owner of whom no other story knows, so that nobody is kept from anything while nodes hear of the edits one by one.
const OWNER: &str = "visitors";

fn edited(stage: &mut Stage) -> Result<(), Failure> {
    let token = stage.stack.hub.token(OWNER, &["--scope", "push"])?;
    stage.stack.laptop.shell(&format!(
        "nival key trust {OWNER} \"$(nival key show demo-1)\" && cd ~/tools && \
         NIVAL_TOKEN={} nival push {OWNER}/tools --public >&2",
        token.trim()
    ))?;
    let before = agents(stage)?;
    let path = "jsonpath={.data.agent\\.toml}";
    let text = stage.kubectl(&["get", "configmap", "nival", "-n", NAMESPACE, "-o", path])?;
    let key = stage.stack.public_key()?;
    let trusting = text.replacen("[trust]\n", &format!("[trust]\n{OWNER} = [\"{key}\"]\n"), 1);
    strangers_to_all(stage)?;
    write(stage, &trusting)?;
    let told = NODES.iter().try_for_each(|node| {
        retry("the agent to trust the key", || prefetch(stage, node)).map(drop)
    });
    // Whatever came of it, the next story has the installation as it was.
    write(stage, &text)?;
    told?;
    strangers_to_all(stage)?;
    let after = agents(stage)?;
    ensure(before == after, || {
        format!("the agents were {before} and are {after}")
    })
}

/// Waits until no agent trusts the owner's key.
fn strangers_to_all(stage: &Stage) -> Result<(), Failure> {
    NODES.iter().try_for_each(|node| {
        poll("the agent to trust the key no more", || {
            let refusal = prefetch(stage, node).err().map(|text| text.to_string());
            let words = format!("not signed by a key trusted for owner {OWNER}");
            Ok(refusal
                .is_some_and(|text| text.contains(&words))
                .then_some(()))
        })
    })
}

fn prefetch(stage: &Stage, node: &str) -> Result<String, Failure> {
    let reference = format!("{OWNER}/tools");
    in_agent(stage, node, &["nival-agent", "prefetch", &reference])
}

/// Returns which pods the agents are, and how often their containers were started again.
fn agents(stage: &Stage) -> Result<String, Failure> {
    let path = "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[*].restartCount};{end}";
    let agents = "--selector=app.kubernetes.io/component=agent";
    stage.kubectl(&["get", "pods", agents, "-n", NAMESPACE, "-o", path])
}

fn write(stage: &Stage, text: &str) -> Result<(), Failure> {
    let patch = json!({"data": {"agent.toml": text}}).to_string();
    let own = ["patch", "configmap", "nival", "-n", NAMESPACE];
    stage
        .kubectl(&[&own[..], &["--type=merge", "-p", &patch]].concat())
        .map(drop)
}
