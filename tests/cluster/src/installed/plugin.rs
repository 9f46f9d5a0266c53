//! `kubectl nival` where everything is in place: what the operator and the agents say reaches the one who asks.

use serde_json::Value;
use testkit::{Failure, poll, retry};

use super::applications::{pin_of, template};
use crate::{Stage, Story, ensure, ensure_tells};

pub(crate) const STORIES: &[Story] = &[Story {
    name: "the-plugin-tells-what-runs-and-changes-it",
    tell: plugin,
}];

const MANIFEST: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: asked
spec:
  selector:
    matchLabels: {app: asked}
  template:
    metadata:
      labels: {app: asked}
      annotations:
        nival.dev/environment: demo/tools # the live one
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: main
          command: [sleep, infinity]
";

/// Types `kubectl-nival` at the laptop, for the story's namespace.
fn nival(stage: &Stage, arguments: &str) -> Result<String, Failure> {
    let laptop = &stage.stack.laptop;
    let kubeconfig = laptop.stage("kubeconfig", stage.cluster.kubeconfig())?;
    let namespace = ["config", "view", "--minify", "-o", "jsonpath={..namespace}"];
    let namespace = stage.kubectl(&namespace)?;
    laptop.shell(&format!(
        "kubectl-nival --kubeconfig {kubeconfig} -n {namespace} {arguments}"
    ))
}

fn json(stage: &Stage, arguments: &str) -> Result<Value, Failure> {
    let text = nival(stage, &format!("{arguments} -o json"))?;
    Ok(serde_json::from_str(&text).map_err(std::io::Error::from)?)
}

fn plugin(stage: &mut Stage) -> Result<(), Failure> {
    let doctor = nival(stage, "doctor")?;
    for check in ["admission answers", "controller", "runtime class", "nodes"] {
        let row = doctor.lines().find(|line| line.starts_with(check));
        ensure_tells(row.unwrap_or_default(), &[" ok "])?;
    }
    stage.cluster.apply(MANIFEST)?;
    stage.rolled_out("deployment/asked")?;
    let pin = pin_of(&template(stage, "deployment/asked")?)?;

    // What a developer writes into git is what admission made of the same file.
    let file = stage.stack.laptop.stage("asked.yaml", MANIFEST)?;
    let pinned = nival(stage, &format!("pin - < {file}"))?;
    ensure_tells(&pinned, &[&pin, "demo/tools # the live one"])?;
    let path = stage
        .cluster
        .control_plane()
        .stage("pinned.yaml", &pinned)?;
    // Controllers write while it is asked.
    retry("kubectl diff to find nothing", || {
        stage.kubectl(&["diff", "--server-side", "-f", &path])
    })?;

    let status = json(stage, "status")?;
    let row = &status["items"][0];
    let tells = row["generation"] == pin.as_str()
        && row["ready"] == 1
        && row["nodes"]
            .as_array()
            .is_some_and(|nodes| nodes.len() == 1);
    ensure(tells, || status.to_string())?;
    // The operator says what is live a moment later.
    poll("the live generation in the list", || {
        let status = json(stage, "status")?;
        let row = &status["items"][0];
        Ok((row["live"] == row["number"]).then_some(()))
    })?;

    let pod = stage.only_pod("asked")?;
    let start = json(stage, &format!("logs {pod}"))?;
    let stages = start["stages"].as_array().cloned().unwrap_or_default();
    let prepared = stages.iter().any(|one| {
        let text = |field: &str| one[field].as_str().unwrap_or_default();
        text("stage") == "- prepare" && text("detail").contains(&pin) && !text("took").is_empty()
    });
    ensure(prepared && start["unknown"].is_null(), || start.to_string())?;
    let sbom = nival(stage, &format!("sbom pod/{pod}"))?;
    ensure_tells(&sbom, &["CycloneDX", "demo/tools"])?;
    let runs = nival(stage, "who-runs jq -o name")?;
    ensure_tells(&runs, &["deployment.apps/asked"])?;

    // Push, restart: admission takes the new generation, and a word brings the old one back.
    stage.push("tools", "sed -i '$a # once more' .nival/manifest.toml")?;
    let diff = json(stage, "diff deploy/asked")?;
    ensure(
        diff["from"] == pin.as_str() && diff["to"] != diff["from"],
        || diff.to_string(),
    )?;
    let restarted = nival(stage, "rollout restart deploy/asked 2>&1")?;
    ensure_tells(&restarted, &["restarted", "demo/tools", "->"])?;
    ensure(!restarted.contains("not pinned anew"), || restarted.clone())?;
    nival(stage, "rollout status deploy/asked --timeout 2m")?;
    nival(stage, "rollback deploy/asked")?;
    nival(stage, "rollout status deploy/asked --timeout 2m")?;
    let back = pin_of(&template(stage, "deployment/asked")?)?;
    ensure(back == pin, || format!("{back} and not {pin}"))
}
