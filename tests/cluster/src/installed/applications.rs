//! Applications as users run them: the examples of `deploy/examples`, applied as they stand.

use serde_json::Value;
use testkit::{Failure, poll_within, retry};

use super::PATIENCE;
use crate::{Stage, Story, ensure, ensure_tells};

pub(crate) const STORIES: &[Story] = &[
    Story {
        name: "one-annotation-is-all-that-a-deployment-needs",
        tell: minimal,
    },
    Story {
        name: "a-web-application-and-redis-from-two-environments-behind-a-service",
        tell: web_and_redis,
    },
    Story {
        name: "a-batch-job-computes-with-numpy",
        tell: batch_job,
    },
    Story {
        name: "a-sidecar-from-an-image-beside-a-container-from-an-environment",
        tell: sidecar,
    },
    Story {
        name: "a-stateful-set-finds-its-data-again",
        tell: stateful,
    },
    Story {
        name: "a-cron-job-runs-what-is-pinned",
        tell: cron,
    },
];

const MINIMAL: &str = include_str!("../../../../deploy/examples/minimal.yaml");
pub(super) const WEB_AND_REDIS: &str =
    include_str!("../../../../deploy/examples/web-and-redis.yaml");
const BATCH_JOB: &str = include_str!("../../../../deploy/examples/batch-job.yaml");
const SIDECAR: &str = include_str!("../../../../deploy/examples/sidecar.yaml");
const STATEFUL: &str = include_str!("../../../../deploy/examples/stateful.yaml");
const CRON: &str = include_str!("../../../../deploy/examples/cron.yaml");

fn minimal(stage: &mut Stage) -> Result<(), Failure> {
    stage.cluster.apply(MINIMAL)?;
    stage.rolled_out("deployment/minimal")?;
    let template = template(stage, "deployment/minimal")?;
    let pin = pin_of(&template)?;
    ensure_tells(&pin, &["demo/web:", "@sha256:"])?;
    ensure(template["spec"]["runtimeClassName"] == "nival", || {
        format!("no runtime class: {template}")
    })?;
    let image = &template["spec"]["containers"][0]["image"];
    ensure(image == "nival.dev/placeholder:v1", || {
        format!("the image is {image}")
    })?;
    // Applied again as it stands, the file changes nothing: no new revision, no other pin.
    stage.cluster.apply(MINIMAL)?;
    let revisions = stage.kubectl(&["get", "replicasets", "-l", "app=minimal", "-o", "name"])?;
    ensure(revisions.lines().count() == 1, || {
        format!("applying again made another revision: {revisions}")
    })
}

fn web_and_redis(stage: &mut Stage) -> Result<(), Failure> {
    stage.cluster.apply(WEB_AND_REDIS)?;
    stage.rolled_out("deployment/redis")?;
    stage.rolled_out("deployment/web")?;
    stage.cluster.apply(CLIENT)?;
    stage.ready("client")?;
    // The nodes learn of the Service's pods a moment after they are ready. This question counts no visit.
    retry("the Service to answer", || {
        let ask =
            "python3 -c 'import urllib.request as r; r.urlopen(\"http://web/healthz\", timeout=5)'";
        stage.exec("client", ask)
    })?;
    let ask = "python3 -c 'import urllib.request as r; print(r.urlopen(\"http://web/\", timeout=5).read().decode())'";
    let visits = stage.exec("client", &format!("{ask}; {ask}"))?;
    ensure_tells(&visits, &["demo/web:", "visit 1\n", "visit 2\n"])
}

fn batch_job(stage: &mut Stage) -> Result<(), Failure> {
    stage.cluster.apply(BATCH_JOB)?;
    stage.wait("job/numbers", "condition=Complete")?;
    let said = stage.kubectl(&["logs", "-l", "app=numbers", "--tail=-1"])?;
    let lines = said.lines().filter(|line| line.starts_with("numpy "));
    ensure(lines.count() == 2, || {
        format!("two pods should have said it: {said}")
    })?;
    let failed = stage.kubectl(&["get", "job", "numbers", "-o", "jsonpath={.status.failed}"])?;
    ensure(failed.is_empty(), || format!("{failed} pods failed"))
}

fn sidecar(stage: &mut Stage) -> Result<(), Failure> {
    stage.name_images("docker.io/library/busybox:1.37")?;
    stage.cluster.apply(SIDECAR)?;
    stage.ready("sidecar")?;
    stage.said("sidecar", "reader", "python 3.")?;
    stage.said("sidecar", "both", "BusyBox")?;
    stage.said("sidecar", "both", "\n42\n")?;
    // The image's container has nothing of the environment.
    let reader = ["exec", "sidecar", "-c", "reader", "--"];
    let lacks = stage.kubectl(&[&reader[..], &["sh", "-c", "! command -v python3"]].concat());
    lacks.map(drop)
}

fn stateful(stage: &mut Stage) -> Result<(), Failure> {
    let node = stage.cluster.node().machine();
    node.shell("mkdir -p /var/lib/stories")?;
    stage.cluster.apply(VOLUME)?;
    stage.cluster.apply(STATEFUL)?;
    stage.rolled_out("statefulset/store")?;
    stage.exec("store-0", "redis-cli set greeting kept")?;
    stage.replace("store-0", None)?;
    let kept = stage.exec("store-0", "redis-cli get greeting")?;
    stage.kubectl(&["delete", "statefulset/store", "pvc/data-store-0"])?;
    stage.kubectl(&["delete", "pv/stories"])?;
    ensure_tells(&kept, &["kept"])
}

fn cron(stage: &mut Stage) -> Result<(), Failure> {
    stage.cluster.apply(CRON)?;
    let template = stage
        .cluster
        .kubectl_json(&["get", "cronjob", "nightly"])?
        .pointer("/spec/jobTemplate/spec/template")
        .cloned()
        .unwrap_or_default();
    let pin = pin_of(&template)?;
    stage.kubectl(&["create", "job", "tonight", "--from=cronjob/nightly"])?;
    stage.wait("job/tonight", "condition=Complete")?;
    ensure_tells(&stage.kubectl(&["logs", "job/tonight"])?, &["mean 0.5"])?;
    let job = self::template(stage, "job/tonight")?;
    ensure(pin_of(&job)? == pin, || {
        format!("the run has another pin than the CronJob: {job}")
    })
}

/// Returns a workload's pod template.
pub(super) fn template(stage: &Stage, workload: &str) -> Result<Value, Failure> {
    let object = stage.cluster.kubectl_json(&["get", workload])?;
    Ok(object["spec"]["template"].clone())
}

/// Returns what a template is pinned to.
pub(super) fn pin_of(template: &Value) -> Result<String, Failure> {
    let pin = template["metadata"]["annotations"]["nival.dev/generation"].as_str();
    pin.map(str::to_owned)
        .ok_or_else(|| Failure::Text(format!("the template has no pin: {template}")))
}

/// Waits until the pods of a workload all have a pin like this, and none of another is left.
pub(super) fn all_pods_run(stage: &Stage, app: &str, pin: &str) -> Result<(), Failure> {
    let own = format!("app={app}");
    let path =
        "jsonpath={range .items[*]}{.metadata.annotations.nival\\.dev/generation}{\"\\n\"}{end}";
    let mut seen = String::new();
    // After an outage the controllers, the scheduler and the kubelets come back one by one.
    poll_within(PATIENCE, "all pods to run the generation", || {
        seen = stage.kubectl(&["get", "pods", "-l", &own, "-o", path])?;
        Ok((!seen.is_empty() && seen.lines().all(|line| line == pin)).then_some(()))
    })
    .map_err(|failure| Failure::Text(format!("{failure}: {pin}; seen: {seen}")))
}

/// A pod to ask others from.
pub(super) const CLIENT: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: client
  annotations:
    nival.dev/environment: demo/app
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      command: [sh, -c, 'exec sleep 3600']
";

/// Where no provisioner runs, a person makes the volume.
const VOLUME: &str = "
apiVersion: v1
kind: PersistentVolume
metadata:
  name: stories
spec:
  accessModes: [ReadWriteOnce]
  capacity: {storage: 64Mi}
  local: {path: /var/lib/stories}
  nodeAffinity:
    required:
      nodeSelectorTerms:
        - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node1]}]
";
