//! How long pods take to start, told by the kubelet itself: its own counters, read before and after each pod.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use testkit::{BUSYBOX, Cluster, Failure, OWNER, PLACEHOLDER, poll};

use crate::measure::Starts;

/// What the kubelet asks of the container runtime before a pod of one container runs.
const OPERATIONS: [&str; 3] = ["run_podsandbox", "create_container", "start_container"];
const POD: &str = "start";

/// The same starts by two of the kubelet's clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PodStarts {
    /// What the container runtime took.
    pub(crate) runtime: Starts,
    /// From the kubelet's first sight of the pod until it has seen it run, which it looks for once a second.
    pub(crate) whole: Starts,
}

/// Measures starts of an environment's pod and of an ordinary one in turn, on one node that holds both contents.
pub(crate) fn starts(cluster: &Cluster, environment: &str, runs: usize) -> Result<PodStarts> {
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
    let by = |clock: fn(&Clocks) -> Duration| {
        let times = |all: &[Clocks]| all.iter().map(clock).collect::<Vec<_>>();
        Starts::new(&times(&nival), &times(&runc))
    };
    Ok(PodStarts {
        runtime: by(|clocks| clocks.runtime),
        whole: by(|clocks| clocks.whole),
    })
}

/// What the kubelet has counted since it was started, in sums over all pods.
#[derive(Debug, Clone, Copy, Default)]
struct Clocks {
    runtime: Duration,
    whole: Duration,
    /// How many pods it has seen start.
    pods: f64,
}

impl Clocks {
    /// Reads the kubelet's page of counters. A series begins with its first observation.
    fn parse(page: &str) -> Option<Self> {
        let value = |name: &str| -> Option<f64> {
            let line = page.lines().find_map(|line| line.strip_prefix(name));
            line.map_or(Some(0.0), |value| value.trim().parse().ok())
        };
        let operation = |name: &str| {
            value(&format!(
                "kubelet_runtime_operations_duration_seconds_sum{{operation_type=\"{name}\"}}"
            ))
        };
        let runtime = OPERATIONS.into_iter().map(operation).sum::<Option<f64>>()?;
        let whole = value("kubelet_pod_start_duration_seconds_sum")?;
        Some(Self {
            runtime: Duration::try_from_secs_f64(runtime).ok()?,
            whole: Duration::try_from_secs_f64(whole).ok()?,
            pods: value("kubelet_pod_start_duration_seconds_count")?,
        })
    }
}

/// Starts a pod, and returns what the kubelet counted for it alone.
fn start(cluster: &Cluster, node: &str, pod: &str) -> Result<Clocks> {
    let path = format!("/api/v1/nodes/{node}/proxy/metrics");
    let read =
        || -> Result<_, Failure> { Ok(Clocks::parse(&cluster.kubectl(&["get", "--raw", &path])?)) };
    let before = read()?.with_context(|| format!("the counters of {node} are no numbers"))?;
    cluster.apply(pod)?;
    let after = poll("the kubelet to see the pod run", || {
        Ok(read()?.filter(|now| now.pods > before.pods))
    })?;
    if after.pods > before.pods + 1.0 {
        bail!("another pod was started on {node} at the same time");
    }
    cluster.kubectl(&["delete", "pod", POD, "--grace-period=1"])?;
    Ok(Clocks {
        runtime: after.runtime.saturating_sub(before.runtime),
        whole: after.whole.saturating_sub(before.whole),
        pods: 1.0,
    })
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
        let none = Clocks::parse("# HELP something\n").unwrap();
        assert_eq!((none.runtime, none.whole), (Duration::ZERO, Duration::ZERO));
        let page = "kubelet_pod_start_duration_seconds_count 3
kubelet_pod_start_duration_seconds_sum 4.5
kubelet_runtime_operations_duration_seconds_sum{operation_type=\"create_container\"} 0.25
kubelet_runtime_operations_duration_seconds_sum{operation_type=\"run_podsandbox\"} 1
kubelet_runtime_operations_duration_seconds_sum{operation_type=\"version\"} 9
";
        let some = Clocks::parse(page).unwrap();
        assert_eq!(some.runtime, Duration::from_millis(1250));
        assert_eq!(some.whole, Duration::from_millis(4500));
        assert!(Clocks::parse("kubelet_pod_start_duration_seconds_sum x").is_none());
    }
}
