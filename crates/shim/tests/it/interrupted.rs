//! What happens to a verb when its caller no longer waits: it comes to its end, or is undone, as a whole.

use std::time::{Duration, Instant};

use api::agent::PrepareResponse;
use containerd_shim::api::Status;
use fs_err as fs;
use serde_json::json;

use crate::agent::TestAgent;
use crate::bundle::Bundle;
use crate::containerd::{Containerd, NAMESPACE, in_both_dialects, options_any, until};
use crate::environments::{hooked, options, plan, pod};
use crate::runtime::Stub;
use crate::shim::Shim;

/// Less than the gate stays shut.
const SHORT: Duration = Duration::from_millis(500);

/// How long a name may still be taken once everything else is gone.
const SOON: Duration = Duration::from_secs(5);

/// Tells whether the shim's server, or the client itself, has ended a call at its deadline.
fn ran_out(error: &str) -> bool {
    error == "timeout" || error.contains("deadline")
}

pub(crate) fn containers(containerd: &Containerd) -> usize {
    let root = containerd.path("runc").join(NAMESPACE);
    fs::read_dir(root).map_or(0, Iterator::count)
}

/// A bundle whose root filesystem has to be mounted.
pub(crate) fn mounted(mut bundle: Bundle) -> Bundle {
    let lower = bundle.path.with_extension("lower");
    fs::rename(bundle.path.join("rootfs"), &lower).unwrap();
    fs::create_dir(bundle.path.join("rootfs")).unwrap();
    let mount = containerd_shim::protos::types::mount::Mount {
        type_: "bind".into(),
        source: lower.display().to_string(),
        options: vec!["rbind".into(), "rw".into()],
        ..Default::default()
    };
    bundle.mounts = vec![mount];
    bundle
}

/// The call ends with its connection, while the runtime creates; the runtime ends soon, or never.
async fn is_undone(containerd: &Containerd, opens: bool) {
    let slow = Stub::slow(containerd, "create");
    let bundle = mounted(Bundle::new(containerd, "left", "sleep 600"));
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let options = options_any(&slow.options(&shim));
    let other = containerd.shim(&bundle).await;
    tokio::select! {
        _ = other.create_with(&bundle, options) => panic!("the runtime waits"),
        () = slow.is_reached() => {}
    }
    assert_eq!(containerd.mounts(), 1);
    drop(other);
    if opens {
        slow.open();
    }
    leaves_nothing(containerd, &shim, &bundle, &slow).await;
}

/// Waits until a creation is undone, and makes its container anew.
async fn leaves_nothing(containerd: &Containerd, shim: &Shim, bundle: &Bundle, slow: &Stub) {
    until("the creation to be undone", || {
        containerd.mounts() + containers(containerd) == 0
    })
    .await;
    // Its name is free again, and nothing of the first attempt stands in the way.
    slow.open();
    let begun = Instant::now();
    while let Err(error) = shim.create(bundle).await {
        let busy = error.contains("exists already") && begun.elapsed() < SOON;
        assert!(busy, "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    shim.start(&bundle.id, "").await.unwrap();
    shim.kill(&bundle.id, "", 9).await.unwrap();
    assert_eq!(shim.wait(&bundle.id, "").await, 137);
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

async fn a_creation_whose_containerd_is_gone_is_undone_when_the_runtime_has_ended(
    containerd: &Containerd,
) {
    is_undone(containerd, true).await;
}

async fn a_creation_whose_containerd_is_gone_is_undone_when_the_runtime_hangs(
    containerd: &Containerd,
) {
    is_undone(containerd, false).await;
}

async fn a_creation_that_takes_longer_than_its_caller_waits_is_undone(containerd: &Containerd) {
    let slow = Stub::slow(containerd, "create");
    let bundle = mounted(Bundle::new(containerd, "late", "sleep 600"));
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let options = options_any(&slow.options(&shim));
    let error = shim
        .create_within(SHORT, &bundle, options)
        .await
        .unwrap_err();
    assert!(ran_out(&error), "{error}");
    leaves_nothing(containerd, &shim, &bundle, &slow).await;
}

async fn deleting_a_container_ends_its_creation_and_waits_for_that(containerd: &Containerd) {
    let slow = Stub::slow(containerd, "create");
    let bundle = mounted(Bundle::new(containerd, "deleted", "sleep 600"));
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let options = options_any(&slow.options(&shim));
    let (created, deleted) = tokio::join!(shim.create_with(&bundle, options), async {
        slow.is_reached().await;
        let deleted = shim.delete(&bundle.id, "").await;
        // Everything is gone once the answer is there.
        assert_eq!(containerd.mounts(), 0);
        assert_eq!(containers(containerd), 0);
        deleted
    });
    let created = created.unwrap_err();
    assert!(created.contains("stopped waiting"), "{created}");
    let deleted = deleted.unwrap_err();
    assert!(deleted.contains("does not exist"), "{deleted}");
    shim.shut_down().await;
}

async fn a_fetch_that_nobody_waits_for_gives_its_lease_back(containerd: &Containerd) {
    let agent = TestAgent::silent(containerd.folder.path()).await;
    let bundle = Bundle::new(containerd, "fetching", "true").annotated(&pod("container"));
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let options = options(&shim, &agent.socket);
    let (created, deleted) = tokio::join!(shim.create_with(&bundle, options), async {
        until("the agent to be asked", || {
            !agent.asked().prepared.is_empty()
        })
        .await;
        shim.delete(&bundle.id, "").await
    });
    assert!(created.unwrap_err().contains("stopped waiting"));
    assert!(deleted.unwrap_err().contains("does not exist"));
    agent.is_asked_to_release(&bundle).await;
    assert_eq!(agent.asked().released.len(), 1);
    // The agent is silent about that too. Who wants the name waits for it, and is not refused.
    let bundle = bundle.changed(|spec| spec["annotations"] = json!({}));
    shim.create(&bundle).await.unwrap();
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

async fn a_start_that_nobody_waits_for_comes_to_its_end(containerd: &Containerd) {
    let slow = Stub::slow(containerd, "start");
    let bundle = Bundle::new(containerd, "slow-start", "sleep 600");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let options = options_any(&slow.options(&shim));
    shim.create_with(&bundle, options).await.unwrap();
    let error = shim.start_within(SHORT, &bundle.id, "").await.unwrap_err();
    assert!(ran_out(&error), "{error}");
    assert_eq!(shim.status(&bundle.id, "").await, Ok(Status::CREATED));
    slow.open();
    shim.until_status(&bundle.id, "", Status::RUNNING).await;
    shim.kill(&bundle.id, "", 9).await.unwrap();
    assert_eq!(shim.wait(&bundle.id, "").await, 137);
    shim.delete(&bundle.id, "").await.unwrap();
    let events = ["create", "start", "exit", "delete"].map(|name| format!("/tasks/{name}"));
    containerd
        .expect_events(&events.each_ref().map(String::as_str))
        .await;
    shim.shut_down().await;
}

async fn an_added_process_whose_start_nobody_waits_for_is_still_known(containerd: &Containerd) {
    let slow = Stub::slow(containerd, "exec");
    let bundle = Bundle::new(containerd, "slow-exec", "sleep 600");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let options = options_any(&slow.options(&shim));
    shim.create_with(&bundle, options).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    let process = json!({"args": ["sleep", "600"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}});
    shim.exec(&bundle, "slow", &process).await.unwrap();
    let error = shim
        .start_within(SHORT, &bundle.id, "slow")
        .await
        .unwrap_err();
    assert!(ran_out(&error), "{error}");
    // What containerd does next: it kills and deletes the process, of which nothing must stay behind.
    let (killed, ()) = tokio::join!(shim.kill(&bundle.id, "slow", 9), async {
        slow.is_reached().await;
        slow.open();
    });
    killed.unwrap();
    assert_eq!(shim.wait(&bundle.id, "slow").await, 137);
    shim.delete(&bundle.id, "slow").await.unwrap();
    shim.kill(&bundle.id, "", 9).await.unwrap();
    shim.wait(&bundle.id, "").await;
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

async fn a_hook_has_no_longer_than_containerd_waits_and_says_so_in_time(containerd: &Containerd) {
    let plan = PrepareResponse {
        hook: "sleep 600".into(),
        shell: "/usr/bin/bash".into(),
        ..plan(containerd)
    };
    let agent = TestAgent::start(containerd.folder.path(), Ok(plan)).await;
    let bundle = hooked(containerd, "slow-hook", &["true"]);
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create_with(&bundle, options(&shim, &agent.socket))
        .await
        .unwrap();
    let deadline = Duration::from_secs(14);
    let error = shim
        .start_within(deadline, &bundle.id, "")
        .await
        .unwrap_err();
    assert!(
        error.starts_with("the on-activate hook of acme/tools:1@sha256:0 did not end in "),
        "{error}"
    );
    assert_eq!(shim.wait(&bundle.id, "").await, 137);
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

in_both_dialects! {
    a_creation_whose_containerd_is_gone_is_undone_when_the_runtime_has_ended
    a_creation_whose_containerd_is_gone_is_undone_when_the_runtime_hangs
    a_creation_that_takes_longer_than_its_caller_waits_is_undone
    deleting_a_container_ends_its_creation_and_waits_for_that
    a_fetch_that_nobody_waits_for_gives_its_lease_back
    a_start_that_nobody_waits_for_comes_to_its_end
    an_added_process_whose_start_nobody_waits_for_is_still_known
    a_hook_has_no_longer_than_containerd_waits_and_says_so_in_time
}
