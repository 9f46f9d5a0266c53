//! How long pods take to start, told by the kubelet itself: its own counters, read before and after each pod.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use testkit::{BUSYBOX, Cluster, Failure, OWNER, PLACEHOLDER, poll};

use crate::measure::Starts;

/// What the kubelet asks of the container runtime before a pod of one container runs.
const OPERATIONS: [&str; 3] = ["run_podsandbox", "create_container", "start_container"];
const POD: &str = "start";

/// Measures starts of an environment's pod and of an ordinary one in turn, on one node that holds both contents.
pub(crate) fn starts(cluster: &Cluster, environment: &str, runs: usize) -> Result<Starts> {
    let nodes = cluster.nodes();
    let (node, _) = nodes.first().context("the cluster has a node")?;
    let annotation = format!("nival.dev/environment: {OWNER}/{environment}");
    let own = pod(
        node,
        &annotation,
        PLACEHOLDER,
        "[python3, -c, 'import time; time.sleep(600)']",
    );
    let plain = pod(node, "", BUSYBOX, "[/bin/sleep, '600']");
    let (mut nival, mut runc) = (Vec::new(), Vec::new());
    // The first of each warms the caches and is not counted.
    for run in 0..=runs {
        let (other, this) = (start(cluster, node, &plain)?, start(cluster, node, &own)?);
        if run > 0 {
            runc.push(other);
            nival.push(this);
        }
    }
    Ok(Starts::new(&nival, &runc))
}

/// What the kubelet has waited for since it was started, in sums over all pods.
#[derive(Debug, Clone, Copy)]
struct Waited {
    time: Duration,
    /// How many containers it has started.
    started: f64,
}

impl Waited {
    /// Reads the kubelet's page of counters. A series begins with its first observation.
    fn parse(page: &str) -> Option<Self> {
        let value = |what: &str, operation: &str| -> Option<f64> {
            let name = format!(
                "kubelet_runtime_operations_duration_seconds_{what}{{operation_type=\"{operation}\"}}"
            );
            let line = page.lines().find_map(|line| line.strip_prefix(&*name));
            line.map_or(Some(0.0), |value| value.trim().parse().ok())
        };
        let times = OPERATIONS.map(|operation| value("sum", operation));
        let time = times.into_iter().sum::<Option<f64>>()?;
        Some(Self {
            time: Duration::try_from_secs_f64(time).ok()?,
            started: value("count", "start_container")?,
        })
    }
}

/// Starts a pod, and returns what the kubelet waited for it alone.
fn start(cluster: &Cluster, node: &str, pod: &str) -> Result<Duration> {
    let path = format!("/api/v1/nodes/{node}/proxy/metrics");
    let read =
        || -> Result<_, Failure> { Ok(Waited::parse(&cluster.kubectl(&["get", "--raw", &path])?)) };
    let before = read()?.with_context(|| format!("the counters of {node} are no numbers"))?;
    cluster.apply(pod)?;
    let after = poll("the kubelet to start the container", || {
        Ok(read()?.filter(|now| now.started > before.started))
    })?;
    if after.started > before.started + 1.0 {
        bail!("another container was started on {node} at the same time");
    }
    cluster.kubectl(&["delete", "pod", POD, "--grace-period=1"])?;
    Ok(after.time.saturating_sub(before.time))
}

/// A pod for this node, past the scheduler.
fn pod(node: &str, annotation: &str, image: &str, command: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata:
  name: {POD}
  annotations: {{{annotation}}}
spec:
  nodeName: {node}
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: {image}
      command: {command}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubelets_page_is_read() {
        let none = Waited::parse("# HELP something\n").unwrap();
        assert_eq!(none.time, Duration::ZERO);
        let page = "kubelet_runtime_operations_duration_seconds_count{operation_type=\"start_container\"} 3
kubelet_runtime_operations_duration_seconds_sum{operation_type=\"create_container\"} 0.25
kubelet_runtime_operations_duration_seconds_sum{operation_type=\"run_podsandbox\"} 1
kubelet_runtime_operations_duration_seconds_sum{operation_type=\"version\"} 9
";
        let some = Waited::parse(page).unwrap();
        assert_eq!(some.time, Duration::from_millis(1250));
        assert!((some.started - 3.0).abs() < f64::EPSILON);
        let broken = page.replace("0.25", "much");
        assert!(Waited::parse(&broken).is_none());
    }
}
