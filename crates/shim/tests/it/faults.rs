//! Runtimes, agents, disks and connections that fail: what is told, and that nothing is left.

use std::time::Duration;

use containerd_shim::api::Status;
use fs_err as fs;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::json;

use crate::agent::TestAgent;
use crate::bundle::Bundle;
use crate::containerd::{Containerd, in_both_dialects, options_any, until};
use crate::environments::{options, pod};
use crate::interrupted::{containers, mounted};
use crate::runtime::Stub;

const STUBS_WORDS: &str = "the stub fails";

/// A bundle on a small filesystem of its own.
fn small(mut bundle: Bundle) -> Bundle {
    mount(
        "tmpfs",
        &bundle.path,
        "tmpfs",
        MountFlags::empty(),
        Some(c"size=64k"),
    )
    .unwrap();
    fs::create_dir(bundle.path.join("rootfs")).unwrap();
    bundle.make_log();
    bundle.save();
    bundle
}

/// Leaves no room in a bundle.
fn fill(bundle: &Bundle) {
    let error = fs::write(bundle.path.join("filler"), vec![0; 1 << 20]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

fn empty(bundle: &Bundle) {
    unmount(&bundle.path, UnmountFlags::DETACH).unwrap();
}

fn process(command: &[&str]) -> serde_json::Value {
    json!({"args": command, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}})
}

async fn a_bundle_without_a_root_filesystem_is_refused(containerd: &Containerd) {
    let bundle = Bundle::new(containerd, "rootless", "true");
    fs::remove_dir_all(bundle.path.join("rootfs")).unwrap();
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let error = shim.create(&bundle).await.unwrap_err();
    let wanted = format!(
        "the container has no root filesystem at {}/rootfs: ",
        bundle.path.display()
    );
    assert!(error.starts_with(&wanted), "{error}");
    shim.shut_down().await;
}

async fn a_specification_beyond_all_measure_is_not_read(containerd: &Containerd) {
    let text = "x".repeat(17 << 20);
    let bundle = Bundle::new(containerd, "huge", "true")
        .annotated(&pod("sandbox"))
        .annotated(&[("nival.dev/environment", &text)]);
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let error = shim.create(&bundle).await.unwrap_err();
    assert!(
        error.starts_with("the container's specification has 178") && error.len() < 300,
        "{error}"
    );
    shim.shut_down().await;
}

async fn a_root_filesystem_that_cannot_be_mounted_is_told(containerd: &Containerd) {
    let mut bundle = mounted(Bundle::new(containerd, "unmountable", "true"));
    bundle.mounts[0].source = "/no/such/layer".into();
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let error = shim.create(&bundle).await.unwrap_err();
    assert!(
        error.contains("/no/such/layer")
            && error.starts_with("cannot mount the root filesystem of container"),
        "{error}"
    );
    shim.shut_down().await;
}

async fn a_runtime_that_fails_to_create_leaves_nothing(containerd: &Containerd) {
    let stub = Stub::failing(containerd, "create");
    let bundle = mounted(Bundle::new(containerd, "create-fails", "true"));
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let options = options_any(&stub.options(&shim));
    let error = shim
        .create_with(&bundle, options.clone())
        .await
        .unwrap_err();
    assert_eq!(error, format!("OCI runtime create failed: {STUBS_WORDS}"));
    assert_eq!(containerd.mounts() + containers(containerd), 0);
    stub.open();
    shim.create_with(&bundle, options).await.unwrap();
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

async fn a_runtime_that_is_killed_while_it_creates_is_told(containerd: &Containerd) {
    let stub = Stub::before(containerd, "create", "kill -9 $$");
    let bundle = mounted(Bundle::new(containerd, "create-dies", "true"));
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let error = shim
        .create_with(&bundle, options_any(&stub.options(&shim)))
        .await
        .unwrap_err();
    assert_eq!(
        error,
        "OCI runtime create failed: it ended with signal: 9 (SIGKILL) and said nothing"
    );
    shim.shut_down().await;
}

async fn a_runtime_that_makes_no_process_is_told(containerd: &Containerd) {
    let stub = Stub::before(containerd, "create", "exit 0");
    let bundle = mounted(Bundle::new(containerd, "create-lies", "true"));
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let error = shim
        .create_with(&bundle, options_any(&stub.options(&shim)))
        .await
        .unwrap_err();
    assert!(
        error.contains("init.pid") && error.contains("No such file"),
        "{error}"
    );
    shim.shut_down().await;
}

async fn a_runtime_that_fails_to_start_leaves_a_container_that_can_be_deleted(
    containerd: &Containerd,
) {
    let stub = Stub::failing(containerd, "start");
    let bundle = mounted(Bundle::new(containerd, "start-fails", "true"));
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create_with(&bundle, options_any(&stub.options(&shim)))
        .await
        .unwrap();
    let error = shim.start(&bundle.id, "").await.unwrap_err();
    assert_eq!(error, format!("OCI runtime start failed: {STUBS_WORDS}"));
    assert_eq!(shim.status(&bundle.id, "").await, Ok(Status::CREATED));
    shim.delete(&bundle.id, "").await.unwrap();
    containerd
        .expect_events(&["/tasks/create", "/tasks/exit", "/tasks/delete"])
        .await;
    shim.shut_down().await;
}

async fn a_runtime_that_fails_to_add_a_process_ends_who_waits_for_it(containerd: &Containerd) {
    let stub = Stub::failing(containerd, "exec");
    let bundle = mounted(Bundle::new(containerd, "exec-fails", "sleep 600"));
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create_with(&bundle, options_any(&stub.options(&shim)))
        .await
        .unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    shim.exec(&bundle, "added", &process(&["true"]))
        .await
        .unwrap();
    let (ended, started) = tokio::join!(
        shim.wait(&bundle.id, "added"),
        shim.start(&bundle.id, "added")
    );
    assert_eq!(
        started.unwrap_err(),
        format!("OCI runtime exec failed: {STUBS_WORDS}")
    );
    assert_eq!(ended, 255);
    shim.delete(&bundle.id, "added").await.unwrap();
    // The name is free again.
    stub.open();
    shim.exec(&bundle, "added", &process(&["true"]))
        .await
        .unwrap();
    shim.start(&bundle.id, "added").await.unwrap();
    assert_eq!(shim.wait(&bundle.id, "added").await, 0);
    shim.delete(&bundle.id, "added").await.unwrap();
    shim.kill(&bundle.id, "", 9).await.unwrap();
    shim.wait(&bundle.id, "").await;
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

async fn a_runtime_that_fails_to_delete_can_be_asked_again(containerd: &Containerd) {
    let stub = Stub::failing(containerd, "delete");
    let bundle = mounted(Bundle::new(containerd, "delete-fails", "true"));
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create_with(&bundle, options_any(&stub.options(&shim)))
        .await
        .unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    shim.wait(&bundle.id, "").await;
    let error = shim.delete(&bundle.id, "").await.unwrap_err();
    assert_eq!(error, format!("OCI runtime delete failed: {STUBS_WORDS}"));
    stub.open();
    shim.delete(&bundle.id, "").await.unwrap();
    containerd
        .expect_events(&[
            "/tasks/create",
            "/tasks/start",
            "/tasks/exit",
            "/tasks/delete",
        ])
        .await;
    shim.shut_down().await;
}

async fn an_agent_that_dies_in_the_middle_is_told(containerd: &Containerd) {
    for kind in ["sandbox", "container"] {
        let mut agent = TestAgent::silent(containerd.folder.path()).await;
        let bundle = mounted(Bundle::new(containerd, kind, "true")).annotated(&pod(kind));
        let _log = bundle.log();
        let shim = containerd.shim(&bundle).await;
        let options = options(&shim, &agent.socket);
        let asked = agent.asked_for();
        let (created, ()) = tokio::join!(shim.create_with(&bundle, options), async {
            until("the agent to be asked", || {
                !asked.lock().unwrap().prepared.is_empty()
            })
            .await;
            agent.die().await;
        });
        let error = created.unwrap_err();
        assert!(
            error.starts_with("nival-agent went away while it prepared acme/tools ("),
            "{error}"
        );
        assert!(error.ends_with("; the pod is tried again"), "{error}");
        shim.shut_down().await;
    }
}

async fn an_agent_that_is_silent_is_told_before_containerd_gives_up(containerd: &Containerd) {
    let agent = TestAgent::silent(containerd.folder.path()).await;
    let told = async |kind, seconds| {
        let bundle = mounted(Bundle::new(containerd, kind, "true")).annotated(&pod(kind));
        let _log = bundle.log();
        // One for both, since they are of one pod.
        let shim = containerd.shim(&bundle).await;
        let options = options(&shim, &agent.socket);
        let deadline = Duration::from_secs(seconds);
        let error = shim
            .create_within(deadline, &bundle, options)
            .await
            .unwrap_err();
        let told = error
            .strip_prefix("nival-agent did not answer for acme/tools in ")
            .and_then(|rest| rest.strip_suffix(" s; look at its log, the pod is tried again"))
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("{error}"));
        assert!((1..seconds).contains(&told), "{error}");
        agent.is_asked_to_release(&bundle).await;
        shim
    };
    let (shim, _same) = tokio::join!(told("sandbox", 12), told("container", 15));
    shim.shut_down().await;
}

async fn a_full_disk_is_told_and_hinders_no_deletion(containerd: &Containerd) {
    let bundle = small(mounted(Bundle::new(containerd, "full", "sleep 600")));
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    fill(&bundle);
    let error = shim.create(&bundle).await.unwrap_err();
    assert!(
        error.contains("No space left on device")
            && error.ends_with("; free space there, then it is tried again"),
        "{error}"
    );
    fs::remove_file(bundle.path.join("filler")).unwrap();
    shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    fill(&bundle);
    shim.exec(&bundle, "added", &process(&["true"]))
        .await
        .unwrap();
    let error = shim.start(&bundle.id, "added").await.unwrap_err();
    assert!(error.contains("No space left on device"), "{error}");
    shim.delete(&bundle.id, "added").await.unwrap();
    shim.kill(&bundle.id, "", 9).await.unwrap();
    assert_eq!(shim.wait(&bundle.id, "").await, 137);
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
    empty(&bundle);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_anybody_to_take_events_containers_run_all_the_same() {
    testkit::require!(root, setup);
    let mut containerd = Containerd::start().await;
    containerd.stop_taking_events().await;
    let bundle = Bundle::new(&containerd, "unheard", "exit 3");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    assert_eq!(shim.wait(&bundle.id, "").await, 3);
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
    containerd.expect_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_containerd_that_was_away_hears_of_everything_in_its_order() {
    testkit::require!(root, setup);
    let mut containerd = Containerd::start().await;
    let bundle = Bundle::new(&containerd, "heard-late", "exit 3");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    containerd.stop_taking_events().await;
    shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    assert_eq!(shim.wait(&bundle.id, "").await, 3);
    containerd.take_events_after(8).await;
    containerd
        .expect_events(&["/tasks/create", "/tasks/start", "/tasks/exit"])
        .await;
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
    containerd.expect_nothing_left().await;
}

in_both_dialects! {
    a_specification_beyond_all_measure_is_not_read
    a_bundle_without_a_root_filesystem_is_refused
    a_root_filesystem_that_cannot_be_mounted_is_told
    a_runtime_that_fails_to_create_leaves_nothing
    a_runtime_that_is_killed_while_it_creates_is_told
    a_runtime_that_makes_no_process_is_told
    a_runtime_that_fails_to_start_leaves_a_container_that_can_be_deleted
    a_runtime_that_fails_to_add_a_process_ends_who_waits_for_it
    a_runtime_that_fails_to_delete_can_be_asked_again
    an_agent_that_dies_in_the_middle_is_told
    an_agent_that_is_silent_is_told_before_containerd_gives_up
    a_full_disk_is_told_and_hinders_no_deletion
}
