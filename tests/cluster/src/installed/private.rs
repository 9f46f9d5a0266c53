//! Private environments: who may run them, and where their credentials are.

use serde_json::{Value, json};
use testkit::{Failure, OWNER};

use crate::{Stage, Story, ensure, ensure_tells};

pub(crate) const STORIES: &[Story] = &[
    Story {
        name: "a-private-environment-runs-where-a-rule-lets-it",
        tell: allowed,
    },
    Story {
        name: "strangers-get-no-private-environment",
        tell: denied,
    },
];

const PRIVATE: &str = include_str!("../../../../deploy/examples/private.yaml");

/// The rule under which the first of these stories runs, as the chart's values have it.
pub(super) fn rule() -> Value {
    json!({
        "namespaces": ["a-private-environment-*"],
        "environments": ["demo/*"],
        "credential": "demo",
    })
}

fn allowed(stage: &mut Stage) -> Result<(), Failure> {
    stage.cluster.apply(PRIVATE)?;
    stage.ready("private")?;
    stage.said("private", "main", "42")?;
    // Nothing of the credential is where the workload could find it.
    let token = stage.kubectl(&[
        "get",
        "secret",
        "demo-hub",
        "-n",
        "nival-system",
        "-o",
        "jsonpath={.data.token}",
    ])?;
    ensure(!token.is_empty(), || "the Secret has no token".to_owned())?;
    let pod = stage.kubectl(&["get", "pod", "private", "-o", "yaml"])?;
    ensure(!pod.contains("demo-hub") && !pod.contains(&token), || {
        format!("the pod knows the credential: {pod}")
    })?;
    let inside = stage.exec("private", "env; cat /proc/mounts")?;
    ensure(!inside.contains("demo-hub"), || {
        format!("the container knows the credential: {inside}")
    })?;
    rotate(stage)
}

/// The token is renewed in the Secret alone; the old one is worth nothing any more.
fn rotate(stage: &Stage) -> Result<(), Failure> {
    let hub = stage.stack.hub.machine();
    let list = "nival-hub token list --json";
    let old: Value = serde_json::from_str(&hub.shell(list)?).map_err(std::io::Error::from)?;
    let token = stage.stack.hub.token(OWNER, &["--scope", "read"])?;
    let patch = format!("{{\"stringData\":{{\"token\":\"{token}\"}}}}");
    let secret = ["patch", "secret", "demo-hub", "-n", "nival-system", "-p"];
    stage.kubectl(&[&secret[..], &[&patch]].concat())?;
    let readers = old.as_array().into_iter().flatten();
    for one in readers.filter(|one| one["scope"] == "read") {
        let id = one["id"].as_str().unwrap_or_default();
        hub.shell(&format!("nival-hub token revoke {id}"))?;
    }
    stage.push("secret-sauce", "nival install curl")?;
    stage.kubectl(&["delete", "pod", "private", "--timeout=30s"])?;
    stage.cluster.apply(PRIVATE)?;
    stage.ready("private")?;
    let curl = stage.exec("private", "command -v curl")?;
    ensure_tells(&curl, &["curl"])
}

fn denied(stage: &mut Stage) -> Result<(), Failure> {
    let refused = stage.cluster.apply(PRIVATE);
    let said = refused.err().map(|failure| failure.to_string());
    let said = said.unwrap_or_default();
    ensure_tells(
        &said,
        &["demo/secret-sauce", "strangers-get-no-private-environment"],
    )
}
