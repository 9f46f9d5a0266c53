//! How much memory the controller needs for a thousand workloads and a hundred environments of a real API server.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fs_err as fs;
use serde_json::{Value, json};
use testkit::{Cluster, ClusterOptions, HUB_ADDRESS, OWNER, Stack, poll_within, run};

const WORKLOADS: usize = 1000;
const ENVIRONMENTS: usize = 100;
const NAMESPACES: usize = 10;
const METRICS: &str = "127.0.0.1:8090";
/// A thousand workloads are made, pinned and looked at, on whatever machine.
const PATIENCE: Duration = Duration::from_mins(10);

/// What the process had in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OperatorMemory {
    pub(crate) workloads: usize,
    pub(crate) environments: usize,
    /// At most, since it was started.
    pub(crate) peak_kib: u64,
    /// In the end.
    pub(crate) rss_kib: u64,
}

/// Publishes the environments, makes the workloads, lets one environment move, and reads what the kernel counted.
pub(crate) fn memory() -> Result<OperatorMemory> {
    let stack = Stack::start_for_cluster()?;
    stack.publish("e0", "jq", "--public")?;
    // All have the same contents, of which each push sends only the names.
    let others = format!(
        "cd ~/e0 && for number in $(seq 1 {}); do nival push {OWNER}/e$number --public >&2; done",
        ENVIRONMENTS - 1
    );
    stack.laptop.shell(&others)?;
    let options = ClusterOptions {
        nodes: Vec::new(),
        ..ClusterOptions::default()
    };
    let cluster = stack.cluster(options)?;
    let machine = cluster.control_plane();
    cluster.define(&run(machine.command("nival-operator")?.arg("crds"))?)?;
    for name in (0..NAMESPACES)
        .map(namespace)
        .chain(["nival-system".to_owned()])
    {
        cluster.kubectl(&["create", "namespace", &name])?;
    }
    let settings = format!(
        "hub = \"http://{HUB_ADDRESS}\"\n[trust]\n{OWNER} = [\"{}\"]\n",
        stack.public_key()?
    );
    machine.write("/etc/nival/agent.toml", &settings)?;
    machine.write("/etc/nival/kubeconfig", cluster.kubeconfig())?;
    let mut operator = machine.service(
        "operator",
        "env",
        &[
            "KUBECONFIG=/etc/nival/kubeconfig",
            "nival-operator",
            "controller",
            "--listen=127.0.0.1:8453",
            &format!("--metrics={METRICS}"),
        ],
    )?;
    create(&cluster)?;
    let mut counted = |name: &str, least: usize| {
        let what = format!("{name} to be {least}");
        poll_within(PATIENCE, &what, || {
            operator.check_alive()?;
            let page = stack.world.get(METRICS, "/metrics").ok();
            let value = page.and_then(|(_, page)| {
                let line = page
                    .lines()
                    .find_map(|line| line.strip_prefix(name))?
                    .trim();
                line.parse::<usize>().ok()
            });
            Ok(value.filter(|value| *value >= least))
        })
    };
    counted("nival_operator_workloads ", WORKLOADS)?;
    let complete = "nival_operator_rollouts_total{outcome=\"complete\"} ";
    let before = counted(complete, WORKLOADS)?;
    stack.laptop.shell(&format!(
        "cd ~/e0 && nival install bash >&2 && nival push {OWNER}/e0 >&2"
    ))?;
    counted(complete, before + WORKLOADS / ENVIRONMENTS)?;
    let environments = poll_within(PATIENCE, "the states of all environments", || {
        let listed = cluster.kubectl(&["get", "environments", "-A", "--no-headers"])?;
        let count = listed.lines().count();
        Ok((count >= ENVIRONMENTS).then_some(count))
    })?;
    let process = machine.processes("nival-operator");
    let process = process.first().context("the operator is gone")?;
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    Ok(OperatorMemory {
        workloads: WORKLOADS,
        environments,
        peak_kib: kib(&status, "VmHWM:")?,
        rss_kib: kib(&status, "VmRSS:")?,
    })
}

fn kib(status: &str, field: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    let number = number.with_context(|| format!("the kernel says no {field}"))?;
    Ok(number.parse()?)
}

fn namespace(number: usize) -> String {
    format!("team{}", number % NAMESPACES)
}

/// Makes all workloads, a hundred to a request of `kubectl`.
fn create(cluster: &Cluster) -> Result<()> {
    for first in (0..WORKLOADS).step_by(100) {
        let mut text = String::new();
        for number in first..(first + 100).min(WORKLOADS) {
            writeln!(text, "---\n{}", workload(number))?;
        }
        let file = cluster.control_plane().stage("workloads.yaml", &text)?;
        cluster.kubectl(&["create", "-f", &file])?;
    }
    Ok(())
}

/// A workload of the size that workloads have, with no pods: the operator keeps none of them.
fn workload(number: usize) -> Value {
    let name = format!("app{number}");
    let environment = number % ENVIRONMENTS;
    let variables: Vec<Value> = (0..20)
        .map(|one| json!({"name": format!("VARIABLE_{one}"), "value": "some value of some length, as they have"}))
        .collect();
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 5});
    let template = json!({
        "metadata": {"labels": {"app": name}, "annotations": {"nival.dev/environment": format!("{OWNER}/e{environment}")}},
        "spec": {"runtimeClassName": "nival", "containers": [{
            "name": "app", "image": testkit::PLACEHOLDER, "command": ["jq", "--version"], "env": variables,
            "readinessProbe": probe, "livenessProbe": probe,
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        }]},
    });
    let selector = json!({"matchLabels": {"app": name}});
    let (version, kind, spec) = match number % 10 {
        7 => (
            "apps/v1",
            "StatefulSet",
            json!({"replicas": 0, "serviceName": name, "selector": selector, "template": template}),
        ),
        8 => (
            "apps/v1",
            "DaemonSet",
            json!({"selector": selector, "template": template}),
        ),
        9 => {
            let mut template = template;
            template["spec"]["restartPolicy"] = "Never".into();
            let job = json!({"spec": {"template": template}});
            (
                "batch/v1",
                "CronJob",
                json!({"schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": job}),
            )
        }
        _ => (
            "apps/v1",
            "Deployment",
            json!({"replicas": 0, "selector": selector, "template": template}),
        ),
    };
    json!({"apiVersion": version, "kind": kind, "spec": spec,
        "metadata": {"name": name, "namespace": namespace(number), "annotations": {"nival.dev/track": "latest"}}})
}
