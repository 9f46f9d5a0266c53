//! Parts that fail while the installation is in use: what goes on, what waits, and what it says.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Failure, OWNER, poll, poll_within};

use super::PATIENCE;
use super::agents::replace_agent;
use super::applications::{all_pods_run, pin_of, template};
use super::rollouts::{change, moved_on, serve};
use super::upgrade::settle;
use crate::{Stage, Story, ensure, ensure_tells};

pub(crate) const STORIES: &[Story] = &[
    Story {
        name: "with-the-hub-down-what-is-there-starts-and-what-is-not-waits",
        tell: hub_down,
    },
    Story {
        name: "an-agent-that-dies-in-a-rollout-delays-it-and-no-more",
        tell: agent_dies,
    },
    Story {
        name: "an-operator-that-dies-in-a-rollout-is-taken-over-from",
        tell: operator_dies,
    },
    Story {
        name: "pods-answer-while-the-api-server-is-gone-for-a-minute",
        tell: api_server_gone,
    },
    Story {
        name: "a-node-comes-back-from-a-reboot-with-its-pods",
        tell: reboot,
    },
    Story {
        name: "a-node-with-a-full-disk-is-named-and-the-other-goes-on",
        tell: full_disk,
    },
];

/// A Deployment from an environment, with so many replicas.
pub(super) fn deployment(name: &str, reference: &str, replicas: u32) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  replicas: {replicas}
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
      annotations:
        nival.dev/environment: {reference}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          command: [sh, -c, 'exec sleep 3600']
"
    )
}

/// The line after which a story puts its own into a pod's specification.
const GRACE: &str = "      terminationGracePeriodSeconds: 1\n";
const ON_NODE1: &str = "      nodeSelector: {kubernetes.io/hostname: node1}\n";
/// One pod on each node.
const SPREAD: &str = "      topologySpreadConstraints:\n        - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: wide}}}\n";

fn hub_down(stage: &mut Stage) -> Result<(), Failure> {
    // Both are pinned while the hub is there; only one of them is on the nodes.
    let there = deployment("there", "demo/app", 1).replace(GRACE, &format!("{GRACE}{ON_NODE1}"));
    stage.cluster.apply(&there)?;
    stage
        .cluster
        .apply(&deployment("absent", "demo/unfetched", 0))?;
    stage.rolled_out("deployment/there")?;
    stage.stack.hub.kill()?;
    let told = without_hub(stage);
    stage.stack.hub.resume()?;
    told?;
    stage.rolled_out("deployment/absent")
}

fn without_hub(stage: &Stage) -> Result<(), Failure> {
    // Another replica on the node that has it, and one in the place of a lost one.
    stage.kubectl(&["scale", "deployment/there", "--replicas=2"])?;
    stage.kubectl(&["delete", "pod", "-l", "app=there", "--wait=false"])?;
    stage.rolled_out("deployment/there")?;
    stage.kubectl(&["scale", "deployment/absent", "--replicas=1"])?;
    let pod = stage.only_pod("absent")?;
    stage.event(&pod, &["FailedCreatePodSandBox", "hub"])?;
    // A workload that is new cannot be pinned now, and the API server says so at once.
    let refused = stage.cluster.apply(&deployment("new", "demo/app", 1));
    let said = refused.err().map(|failure| failure.to_string());
    ensure_tells(&said.unwrap_or_default(), &["demo/app", "hub"])
}

fn agent_dies(stage: &mut Stage) -> Result<(), Failure> {
    serve(stage)?;
    let before = pin_of(&template(stage, "deployment/web")?)?;
    change(stage, "agent dies")?;
    stage.event_of("Deployment", "web", &["Prefetching"])?;
    for (_, node) in stage.cluster.nodes() {
        node.machine().shell("pkill -KILL -x nival-agent")?;
    }
    let pin = moved_on(stage, &before)?;
    all_pods_run(stage, "web", &pin)?;
    stage.rolled_out("deployment/web")
}

fn operator_dies(stage: &mut Stage) -> Result<(), Failure> {
    serve(stage)?;
    let before = pin_of(&template(stage, "deployment/web")?)?;
    change(stage, "operator dies")?;
    let pin = moved_on(stage, &before)?;
    stage.kubectl(&[
        "delete",
        "pod",
        "-n",
        "nival-system",
        "-l",
        "app.kubernetes.io/component=controller",
        "--force",
        "--grace-period=0",
    ])?;
    all_pods_run(stage, "web", &pin)?;
    // Whoever leads now knows what was begun, and says that it is done.
    let number = pin.split('@').next().unwrap_or_default().to_owned();
    stage.event_of("Deployment", "web", &["RolledOut", &number])?;
    stage.rolled_out("deployment/web")
}

fn api_server_gone(stage: &mut Stage) -> Result<(), Failure> {
    serve(stage)?;
    let address = "jsonpath={.items[0].status.podIP}";
    let address = stage.kubectl(&["get", "pods", "-l", "app=web", "-o", address])?;
    stage.cluster.kill_api_server()?;
    let begun = Instant::now();
    // Each round is a request to a pod; a minute of them is what is told here.
    let mut told = Ok(());
    while told.is_ok() && begun.elapsed() < Duration::from_mins(1) {
        let answer = stage
            .stack
            .world
            .get(&format!("{address}:8080"), "/healthz");
        told = answer
            .and_then(|(status, _)| ensure(status == 200, || format!("the pod answered {status}")));
    }
    stage.cluster.start_api_server()?;
    told?;
    // Whoever could not renew its lease meanwhile has started anew.
    settle(stage)?;
    let before = pin_of(&template(stage, "deployment/web")?)?;
    change(stage, "after the outage")?;
    let pin = moved_on(stage, &before)?;
    all_pods_run(stage, "web", &pin)
}

fn reboot(stage: &mut Stage) -> Result<(), Failure> {
    stage.cluster.apply(&deployment("lasting", "demo/app", 4))?;
    stage.rolled_out("deployment/lasting")?;
    let served = stage.served()?;
    let before = starts_on(stage, "node1")?;
    stage.cluster.reboot(1)?;
    // What the cluster knows of the node is from before, until its kubelet has started every pod anew.
    poll_within(PATIENCE, "the node's pods to be started anew", || {
        let now = starts_on(stage, "node1")?;
        let is_back = |(pod, (starts, _)): (&String, &(i64, bool))| {
            now.get(pod)
                .is_none_or(|(again, ready)| again > starts && *ready)
        };
        Ok(before.iter().all(is_back).then_some(()))
    })?;
    poll("the node to say that Nival is ready again", || {
        let label = "jsonpath={.status.state}";
        let state = stage.kubectl(&["get", "nivalnodes", "node1", "-o", label])?;
        Ok((state == "Ready").then_some(()))
    })?;
    settle(stage)?;
    stage.rolled_out("deployment/lasting")?;
    stage.cluster.apply(&deployment("next", "demo/app", 4))?;
    stage.rolled_out("deployment/next")?;
    // What was on its disk is used, not fetched again.
    let after = stage.served()?;
    ensure(after == served, || {
        format!("{} bytes were fetched after the reboot", after - served)
    })
}

/// Returns the pods that run on a node by their names, how often their containers were started again, and whether they
/// are ready.
fn starts_on(stage: &Stage, node: &str) -> Result<BTreeMap<String, (i64, bool)>, Failure> {
    let own = format!("--field-selector=spec.nodeName={node},status.phase=Running");
    let pods = stage.cluster.kubectl_json(&["get", "pods", "-A", &own])?;
    let pods = pods["items"].as_array().cloned().unwrap_or_default();
    let standing = |pod: &Value| {
        let name = &pod["metadata"]["name"];
        let containers = pod["status"]["containerStatuses"].as_array();
        let containers = containers.cloned().unwrap_or_default();
        let starts = containers.iter().map(|one| &one["restartCount"]);
        let starts = starts.filter_map(Value::as_i64).sum();
        let ready = containers.iter().all(|one| one["ready"] == true);
        (
            name.as_str().unwrap_or_default().to_owned(),
            (starts, ready),
        )
    };
    Ok(pods.iter().map(standing).collect())
}

fn full_disk(stage: &mut Stage) -> Result<(), Failure> {
    // The agent sees another disk only when it starts anew.
    on_node2(stage, "mount -t tmpfs -o size=8m tmpfs /var/lib/nival")?;
    let told = with_full_disk(stage);
    on_node2(stage, "umount -l /var/lib/nival")?;
    told?;
    stage.rolled_out("deployment/wide")
}

/// Does something to the second node's disk, and starts its agent anew.
fn on_node2(stage: &Stage, script: &str) -> Result<(), Failure> {
    let nodes = stage.cluster.nodes();
    let (_, node) = nodes
        .get(1)
        .ok_or_else(|| Failure::Text("there is no second node".to_owned()))?;
    node.machine().shell(script)?;
    replace_agent(stage, "node2")
}

fn with_full_disk(stage: &Stage) -> Result<(), Failure> {
    let spread = deployment("wide", &format!("{OWNER}/large"), 2)
        .replace(GRACE, &format!("{GRACE}{SPREAD}"));
    stage.cluster.apply(&spread)?;
    poll("the pod on the whole node to be ready", || {
        let ready = "jsonpath={.status.readyReplicas}";
        let ready = stage.kubectl(&["get", "deployment", "wide", "-o", ready])?;
        Ok((ready == "1").then_some(()))
    })?;
    let waiting = poll("the pod on the full node", || {
        let pods =
            "jsonpath={range .items[?(@.status.phase==\"Pending\")]}{.metadata.name}{\"\\n\"}{end}";
        let names = stage.kubectl(&["get", "pods", "-l", "app=wide", "-o", pods])?;
        Ok(names.lines().next().map(str::to_owned))
    })?;
    stage.event(&waiting, &["no space for"]).map(drop)
}
