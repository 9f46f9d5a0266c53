//! A generation that its owner revokes, from the laptop through the hub to the node.

use testkit::{PLACEHOLDER, PodSpec, Stack, poll, require};

use crate::refusals::{assert_tells, refusal};

#[test]
fn what_is_revoked_starts_no_more_with_the_hub_up_or_down_and_what_runs_is_left_alone() {
    require!(root, setup, programs);
    let mut stack = Stack::start().unwrap();
    stack.make_key().unwrap();
    stack.publish("app", "bash coreutils", "--public").unwrap();
    let eager = "[revocations]\nevery_seconds = 1\n";
    let node = stack.node("node", eager).unwrap();
    let spec = PodSpec::with_environment("running", "demo/app");
    let running = node.run_pod(&spec).unwrap();
    let container = running
        .container("main", PLACEHOLDER, &["sleep", "600"])
        .unwrap();
    let look = &["sh", "-c", "echo $NIVAL_ENVIRONMENT"];
    let first = running.exec(&container, look).unwrap();
    assert!(first.starts_with("demo/app:1@sha256:"), "{first}");

    stack
        .laptop
        .shell("cd ~/app && nival install jq && nival push")
        .unwrap();
    let reason = "CVE-2026-1234 in bash";
    stack
        .laptop
        .shell(&format!("nival revoke demo/app:1 --reason '{reason}'"))
        .unwrap();
    let status = || node.machine().shell("nival-agent status");
    poll("the node to know the list", || {
        Ok(status()?
            .contains("revoked  demo: 1 generations")
            .then_some(()))
    })
    .unwrap();

    let words = ["demo/app:1 is revoked by demo", reason];
    let old = PodSpec::with_environment("old", "demo/app:1");
    assert_tells(&refusal(&node, &old), &words);
    assert_eq!(running.exec(&container, look).unwrap(), first);
    let new = PodSpec::with_environment("new", "demo/app:2");
    node.run_pod(&new).unwrap().remove().unwrap();

    stack.hub.kill().unwrap();
    let pinned = PodSpec::with_environment("pinned", "demo/app:1")
        .annotated("nival.dev/generation", first.trim());
    assert_tells(&refusal(&node, &pinned), &words);
    stack.hub.resume().unwrap();
    stack
        .laptop
        .shell("nival revoke --undo demo/app:1")
        .unwrap();
    let starts = || match node.run_pod(&pinned) {
        Ok(pod) => pod.remove().map(Some),
        Err(_) => Ok(None),
    };
    poll("the node to know that it is undone", starts).unwrap();
    running.remove().unwrap();
}
