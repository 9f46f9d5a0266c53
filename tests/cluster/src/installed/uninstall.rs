//! Taking Nival off a cluster that is in use, and putting it back.

use testkit::cluster::NAMESPACE;
use testkit::{Failure, poll};

use super::upgrade::on_node1;
use crate::{Stage, Story, ensure};

pub(crate) const STORIES: &[Story] = &[Story {
    name: "an-uninstall-leaves-ordinary-pods-running-and-the-nodes-clean",
    tell: uninstall,
}];

/// One on each node; one of them has a pod from an environment, too.
const ORDINARY: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: ordinary-NODE
spec:
  nodeName: NODE
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: nival.local/busybox:1
      command: [sleep, '3600']
";

const STARTED: &str =
    "{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}";
/// Where the pod from an environment runs.
const ENVIRONMENT_ON: &str = "node1";
const NODES: [&str; 2] = ["node1", "node2"];

fn uninstall(stage: &mut Stage) -> Result<(), Failure> {
    for node in NODES {
        stage.cluster.apply(&ORDINARY.replace("NODE", node))?;
    }
    stage.cluster.apply(&on_node1("environment"))?;
    let pods = ["ordinary-node1", "ordinary-node2", "environment"];
    let mut before = Vec::new();
    for pod in pods {
        stage.ready(pod)?;
        before.push(stage.get(pod, STARTED)?);
    }

    stage
        .cluster
        .helm(&["uninstall", "nival", "--wait", "--timeout=5m"])
        .map_err(|failure| {
            Failure::Text(format!("{failure}\n{}", stage.cluster.state_of_release()))
        })?;

    for (pod, before) in pods.iter().zip(before) {
        let after = stage.get(pod, STARTED)?;
        ensure(before == after, || {
            format!("{pod} did not live on: {before}, then {after}")
        })?;
        stage.exec(pod, "true")?;
    }
    stage.exec("environment", "python3 --version")?;
    clean_nodes(stage)?;
    clean_cluster(stage)?;

    // Such a pod may end without anything of Nival but its shim.
    stage.kubectl(&["delete", "pod", "environment", "--timeout=60s"])?;
    let installation = stage.stack.installation(&super::values())?;
    stage.cluster.install(&installation)?;
    stage.cluster.apply(&on_node1("again"))?;
    stage.ready("again")
}

fn clean_nodes(stage: &Stage) -> Result<(), Failure> {
    for (name, node) in stage.cluster.nodes() {
        let path = "jsonpath={.metadata.labels.nival\\.dev/node}";
        let label = stage.kubectl(&["get", "node", &name, "-o", path])?;
        ensure(label.is_empty(), || {
            format!("{name} has the label {label:?}")
        })?;
        if name == ENVIRONMENT_ON {
            // What its pod runs by stays as long as it runs.
            continue;
        }
        let machine = node.machine();
        let files = machine.shell("find /etc/containerd /opt -name '*nival*'")?;
        ensure(files.is_empty(), || {
            format!("on {name} there is still: {files}")
        })?;
        let info = node.crictl(&["info"])?;
        ensure(!info.contains("nival.dev"), || {
            format!("containerd on {name} still knows of Nival: {info}")
        })?;
        let images = node.crictl(&["images"])?;
        ensure(!images.contains("nival.dev/placeholder"), || {
            format!("{name} still has the placeholder: {images}")
        })?;
    }
    Ok(())
}

fn clean_cluster(stage: &Stage) -> Result<(), Failure> {
    let kinds = "clusterroles,clusterrolebindings,customresourcedefinitions,runtimeclasses,\
                 mutatingwebhookconfigurations,validatingwebhookconfigurations,\
                 validatingadmissionpolicies,validatingadmissionpolicybindings";
    let own = "--selector=app.kubernetes.io/part-of=nival";
    poll("everything of the release to be gone", || {
        let left = stage.kubectl(&["get", kinds, own, "-o", "name"])?;
        let pods = stage.kubectl(&["get", "pods", "--namespace", NAMESPACE, "-o", "name"])?;
        Ok((left.is_empty() && pods.is_empty()).then_some(()))
    })
}
