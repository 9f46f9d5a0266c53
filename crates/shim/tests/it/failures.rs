//! What containerd is told when something is wrong, and that nothing is left behind.

use containerd_shim::api::{CheckpointTaskRequest, Options};
use fs_err as fs;

use crate::bundle::Bundle;
use crate::containerd::{Containerd, in_both_dialects, message, options_any, patience, until};

async fn a_command_that_is_missing_is_told_in_the_runtimes_words(containerd: &Containerd) {
    let bundle = Bundle::empty(containerd, "missing", &["/bin/nowhere"]);
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let error = shim.create(&bundle).await.unwrap_err();
    assert!(error.starts_with("OCI runtime create failed: "), "{error}");
    assert!(
        error.contains("/bin/nowhere") && !error.contains('\n'),
        "{error}"
    );
    let state = containerd.path("runc").join(crate::containerd::NAMESPACE);
    assert_eq!(fs::read_dir(state).map_or(0, Iterator::count), 0);
    shim.shut_down().await;
}

async fn a_missing_runtime_is_named(containerd: &Containerd) {
    let bundle = Bundle::new(containerd, "no-runtime", "true");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let options = Options {
        binary_name: "no-such-runc".into(),
        ..Options::default()
    };
    let error = shim
        .create_with(&bundle, options_any(&options))
        .await
        .unwrap_err();
    assert_eq!(
        error,
        "OCI runtime \"no-such-runc\" is not on containerd's PATH; install it, or name another with BinaryName"
    );
    shim.shut_down().await;
}

async fn a_bundle_without_a_specification_is_refused_and_its_name_is_free_again(
    containerd: &Containerd,
) {
    let mut bundle = Bundle::new(containerd, "no-spec", "exit 0");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    fs::write(bundle.path.join("config.json"), "{").unwrap();
    let error = shim.create(&bundle).await.unwrap_err();
    assert!(
        error.contains("config.json is no OCI specification"),
        "{error}"
    );
    fs::remove_file(bundle.path.join("config.json")).unwrap();
    let error = shim.create(&bundle).await.unwrap_err();
    assert!(error.contains("config.json"), "{error}");
    bundle.save();
    shim.create(&bundle).await.unwrap();
    let twice = shim.create(&bundle).await.unwrap_err();
    assert!(twice.contains("exists already"), "{twice}");
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

async fn a_container_that_was_never_started_can_be_deleted(containerd: &Containerd) {
    let bundle = Bundle::new(containerd, "unstarted", "sleep 600");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let pid = shim.create(&bundle).await.unwrap();
    let deleted = shim.delete(&bundle.id, "").await.unwrap();
    assert_eq!((deleted.pid, deleted.exit_status), (pid, 137));
    until("the process to be reaped", || {
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
    })
    .await;
    shim.shut_down().await;
}

async fn checkpoints_are_refused_in_plain_words(containerd: &Containerd) {
    let bundle = Bundle::new(containerd, "checkpoint", "true");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let request = CheckpointTaskRequest {
        id: bundle.id.clone(),
        ..CheckpointTaskRequest::default()
    };
    let error = shim
        .task
        .checkpoint(patience(), &request)
        .await
        .map_err(message)
        .unwrap_err();
    assert!(error.starts_with("checkpoint is not supported"), "{error}");
    shim.shut_down().await;
}

in_both_dialects! {
    a_command_that_is_missing_is_told_in_the_runtimes_words
    a_missing_runtime_is_named
    a_bundle_without_a_specification_is_refused_and_its_name_is_free_again
    a_container_that_was_never_started_can_be_deleted
    checkpoints_are_refused_in_plain_words
}
