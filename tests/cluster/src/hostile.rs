//! What is wrong is refused, and the pod's events say why in one line.

use serde_json::Value;
use testkit::{Failure, KEY, OWNER, Stack, poll};

use crate::{Stage, Story, ensure, ensure_tells};

pub(crate) const STORIES: &[Story] = &[
    Story {
        name: "a-refused-environment-is-explained-by-kubectl-describe",
        tell: refused,
    },
    Story {
        name: "hostile-annotations-are-refused-by-name",
        tell: annotations,
    },
    Story {
        name: "an-environment-for-another-architecture-is-refused",
        tell: other_architecture,
    },
    Story {
        name: "a-container-that-the-annotations-do-not-name-right-is-told",
        tell: misnamed_container,
    },
];

/// Returns a pod whose one container waits.
pub(crate) fn pod(name: &str, annotation: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  annotations:
    {annotation}
spec:
  runtimeClassName: nival
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: nival.dev/placeholder:v1
      command: [sleep, '600']
"
    )
}

fn refused(stage: &mut Stage) -> Result<(), Failure> {
    // Signed by a key that the node does not trust.
    let laptop = &stage.stack.laptop;
    laptop.shell("nival key generate stranger-1")?;
    let publish = format!(
        "cp ~/.config/nival/config.toml ~/config.saved && sed -i s/{KEY}/stranger-1/ ~/.config/nival/config.toml && \
         mkdir -p ~/foreign && cd ~/foreign && nival init >&2 && nival install jq >&2 && \
         nival push {OWNER}/foreign --public >&2; mv ~/config.saved ~/.config/nival/config.toml"
    );
    laptop.shell(&publish)?;
    stage.cluster.apply(&pod(
        "foreign",
        &format!("nival.dev/environment: {OWNER}/foreign"),
    ))?;
    stage.cluster.apply(&pod(
        "unknown",
        &format!("nival.dev/environment: {OWNER}/nowhere"),
    ))?;
    let event = stage.event("foreign", &["FailedCreatePodSandBox", "trusted", KEY])?;
    ensure(event.lines().count() == 1, || {
        format!("more than a line: {event}")
    })?;
    let described = stage.kubectl(&["describe", "pod", "foreign"])?;
    ensure_tells(&described, &[&format!("{OWNER}/foreign"), "trusted"])?;
    let event = stage.event("unknown", &["FailedCreatePodSandBox", "demo/nowhere"])?;
    ensure(event.lines().count() == 1, || {
        format!("more than a line: {event}")
    })
}

fn annotations(stage: &mut Stage) -> Result<(), Failure> {
    let hostile = [
        ("newline", "\"demo/app\\nX\"".to_owned(), "line break"),
        (
            "escape",
            "\"demo/\\u001b[31mapp\"".to_owned(),
            "control character",
        ),
        (
            "path",
            "\"../../etc/passwd\"".to_owned(),
            "nival.dev/environment",
        ),
        ("large", "x".repeat(255 << 10), "261120 bytes"),
    ];
    for (name, value, _) in &hostile {
        stage
            .cluster
            .apply(&pod(name, &format!("nival.dev/environment: {value}")))?;
    }
    for (name, _, words) in &hostile {
        let event = stage.event(name, &["FailedCreatePodSandBox", words])?;
        ensure(event.len() < 2048 && event.lines().count() == 1, || {
            format!("a long event: {event}")
        })?;
    }
    Ok(())
}

/// Publishes an environment that is for another machine alone.
pub(crate) fn publish_for_arm(stack: &Stack, name: &str) -> Result<(), Failure> {
    // A path that the manifest names is the same on every system, so it can be had for one that this machine is not.
    let lock = stack.laptop.shell("cat ~/query/.nival/manifest.lock")?;
    let lock: Value = serde_json::from_str(&lock).map_err(std::io::Error::from)?;
    let package = lock["systems"]["x86_64-linux"]["packages"][0]["outputs"]["out"]
        .as_str()
        .unwrap_or_default();
    let manifest = format!(
        "version = 1\n[install]\njq.store-path = \"{package}\"\n[options]\nsystems = [\"aarch64-linux\"]\n"
    );
    stack.publish_manifest(name, &manifest, "--public")
}

fn other_architecture(stage: &mut Stage) -> Result<(), Failure> {
    publish_for_arm(&stage.stack, "elsewhere")?;
    stage.cluster.apply(&pod(
        "elsewhere",
        &format!("nival.dev/environment: {OWNER}/elsewhere"),
    ))?;
    let event = stage.event("elsewhere", &["FailedCreatePodSandBox", "x86_64-linux"])?;
    ensure(event.lines().count() == 1, || {
        format!("more than a line: {event}")
    })
}

fn misnamed_container(stage: &mut Stage) -> Result<(), Failure> {
    stage
        .cluster
        .apply(&pod("misnamed", "environment.nival.dev/mian: demo/app"))?;
    let event = stage.event("misnamed", &["Failed", "container main", "mian"])?;
    ensure(event.lines().count() == 1, || {
        format!("more than a line: {event}")
    })?;
    // Where the other containers need no environment only the API server can know, by the policy that comes along.
    stage.cluster.apply(POLICY)?;
    let refusal = poll("the policy to be in force", || {
        let manifest = pod("misnamed-again", "environment.nival.dev/mian: demo/app");
        let refusal = stage.cluster.apply(&manifest).err();
        if refusal.is_none() {
            stage.kubectl(&["delete", "pod", "misnamed-again", "--now"])?;
        }
        Ok(refusal.map(|failure| failure.to_string()))
    });
    let right = pod("named", "environment.nival.dev/main: demo/app");
    let taken = stage.cluster.apply(&right);
    for kind in [
        "validatingadmissionpolicybinding",
        "validatingadmissionpolicy",
    ] {
        stage.kubectl(&["delete", kind, "container-names.nival.dev"])?;
    }
    taken?;
    ensure_tells(
        &refusal?,
        &["environment.nival.dev/mian names a container that the pod does not have (it has: main)"],
    )
}

const POLICY: &str = include_str!("../../../deploy/policies/container-names.yaml");
