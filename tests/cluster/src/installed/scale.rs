//! Many pods at once, and more of them by an autoscaler.

use testkit::Failure;

use super::failures::deployment;
use crate::{Stage, Story, ensure};

pub(crate) const STORIES: &[Story] = &[
    Story {
        name: "sixty-pods-start-at-once",
        tell: sixty,
    },
    Story {
        name: "an-autoscaler-scales-what-runs-and-brings-nothing-new",
        tell: autoscaled,
    },
];

/// Below the least number of replicas it needs no metrics to act.
const AUTOSCALER: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: scaled
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: scaled}
  minReplicas: 3
  maxReplicas: 5
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}
";

fn sixty(stage: &mut Stage) -> Result<(), Failure> {
    let pulls = stage.stack.registry.asked();
    stage.cluster.apply(&deployment("many", "demo/tools", 60))?;
    stage.rolled_out("deployment/many")?;
    let restarts = "jsonpath={.items[*].status.containerStatuses[0].restartCount}";
    let restarts = stage.kubectl(&["get", "pods", "-l", "app=many", "-o", restarts])?;
    let count = restarts.split(' ').count();
    ensure(
        count == 60 && restarts.split(' ').all(|one| one == "0"),
        || format!("restarts: {restarts}"),
    )?;
    let pulled = stage.stack.registry.asked() - pulls;
    ensure(pulled == 0, || {
        format!("a registry was asked {pulled} times")
    })?;
    let gone = [
        "delete",
        "deployment",
        "many",
        "--cascade=foreground",
        "--timeout=120s",
    ];
    stage.kubectl(&gone).map(drop)
}

fn autoscaled(stage: &mut Stage) -> Result<(), Failure> {
    stage
        .stack
        .publish("scaled", "bash coreutils", "--public")?;
    stage
        .cluster
        .apply(&deployment("scaled", "demo/scaled", 1))?;
    stage.rolled_out("deployment/scaled")?;
    stage.push("scaled", "nival install jq")?;
    stage.cluster.apply(AUTOSCALER)?;
    stage.wait("deployment/scaled", "jsonpath={.status.readyReplicas}=3")?;
    let path = "jsonpath={.items[*].metadata.annotations.nival\\.dev/generation}";
    let pins = stage.kubectl(&["get", "pods", "-l", "app=scaled", "-o", path])?;
    let pins: Vec<&str> = pins.split(' ').collect();
    ensure(
        pins.len() == 3 && pins.iter().all(|pin| pin.starts_with("demo/scaled:1@")),
        || format!("the pods' pins are {pins:?}"),
    )?;
    stage.event_of("HorizontalPodAutoscaler", "scaled", &["New size: 3"])?;
    let revisions = stage.kubectl(&["rollout", "history", "deployment/scaled"])?;
    ensure(
        !revisions.lines().any(|line| line.starts_with("2 ")),
        || format!("scaling made a revision:\n{revisions}"),
    )
}
