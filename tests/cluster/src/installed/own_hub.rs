//! The hub runs in the cluster, from the same chart, keeps what it was given, and knows the cluster's service accounts.

use serde_json::json;
use testkit::Failure;
use testkit::cluster::NAMESPACE;

use super::upgrade::settle;
use crate::{Stage, Story, ensure_tells};

pub(crate) const STORIES: &[Story] = &[Story {
    name: "the-hub-runs-in-the-cluster-from-the-same-chart",
    tell: own_hub,
}];

/// Where no provisioner runs, a person makes the volume.
const VOLUME: &str = "
apiVersion: v1
kind: PersistentVolume
metadata:
  name: own-hub
spec:
  accessModes: [ReadWriteOnce]
  capacity: {storage: 1Gi}
  local: {path: /var/lib/own-hub}
  nodeAffinity:
    required:
      nodeSelectorTerms:
        - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node1]}]
";

fn own_hub(stage: &mut Stage) -> Result<(), Failure> {
    let node = stage.cluster.node().machine();
    node.shell("mkdir -p /var/lib/own-hub")?;
    stage.cluster.apply(VOLUME)?;
    let mut values = super::values();
    // The cluster's workloads stay with the hub that they have.
    let reader =
        json!({"namespace": "default", "name": "default", "owner": "team", "scope": "read"});
    let own = json!({"enabled": true, "storage": {"size": "1Gi"}, "serviceAccounts": [reader]});
    values["hub"] = own;
    values["cluster"] = json!({"issuer": "https://kubernetes.default.svc"});
    let installation = stage.stack.installation(&values)?;
    stage.cluster.upgrade(&installation)?;
    let told = push_to_it(stage);
    stage
        .cluster
        .upgrade(&stage.stack.installation(&super::values())?)?;
    settle(stage)?;
    let claim = "persistentvolumeclaim/data-nival-hub-0";
    stage.kubectl(&["delete", claim, "--namespace", NAMESPACE])?;
    stage.kubectl(&["delete", "persistentvolume", "own-hub"])?;
    told
}

fn push_to_it(stage: &Stage) -> Result<(), Failure> {
    let hub =
        |arguments: &[&str]| stage.kubectl(&[&["--namespace", NAMESPACE], arguments].concat());
    let rolled_out = [
        "rollout",
        "status",
        "statefulset/nival-hub",
        "--timeout=90s",
    ];
    hub(&rolled_out)?;
    let make = "nival-hub token create --owner team --scope push";
    let exec = ["exec", "nival-hub-0", "--"];
    let words: Vec<&str> = make.split(' ').collect();
    let token = hub(&[&exec[..], &words].concat())?;
    let address = || {
        hub(&[
            "get",
            "pod",
            "nival-hub-0",
            "-o",
            "jsonpath={.status.podIP}",
        ])
    };
    let (token, first) = (token.trim(), address()?);
    let laptop = &stage.stack.laptop;
    laptop.shell(&format!(
        "nival key trust team \"$(nival key show demo-1)\" && cd ~/tools && \
         NIVAL_TOKEN={token} nival push team/tools --hub http://{first}:7878 >&2"
    ))?;
    // What was pushed is on the volume, not in the pod.
    stage.replace("nival-hub-0", Some(NAMESPACE))?;
    let second = address()?;
    let record = laptop.shell(&format!(
        "NIVAL_TOKEN={token} nival show team/tools --json --hub http://{second}:7878"
    ))?;
    ensure_tells(&record, &["team/tools"])?;
    // The environment is private. A service account reads it with a token of its own, if a rule names it.
    let show = |namespace: &str| {
        let token = stage.kubectl(&[
            "create",
            "token",
            "default",
            "--namespace",
            namespace,
            "--audience=nival-hub",
        ])?;
        let token = token.trim();
        laptop.shell(&format!(
            "NIVAL_TOKEN={token} nival show team/tools --json --hub http://{second}:7878"
        ))
    };
    ensure_tells(&show("default")?, &["team/tools"])?;
    let refused = show(NAMESPACE).err().map(|failure| failure.to_string());
    ensure_tells(
        &refused.unwrap_or_default(),
        &[
            "system:serviceaccount:nival-system:default",
            "[[oidc.allow]]",
        ],
    )
}
