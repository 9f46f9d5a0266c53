//! How containerd, old and new, finds a shim, asks about it, and cleans up behind it.

use containerd_shim::api::DeleteResponse;
use containerd_shim::protos::types::introspection::RuntimeInfo;
use protobuf::Message as _;
use testkit::require;

use crate::bundle::Bundle;
use crate::containerd::{Containerd, Dialect, in_both_dialects, until};
use crate::interrupted::mounted;

#[tokio::test(flavor = "multi_thread")]
async fn an_older_containerd_gets_a_plain_address_one_shim_per_pod_and_the_older_service() {
    require!(root, setup);
    let containerd = Containerd::speaking(Dialect::Plain).await;
    let sandbox = format!("sandbox-{}", std::process::id());
    let pod = [("io.kubernetes.cri.sandbox-id", sandbox.as_str())];
    let first = Bundle::new(&containerd, "first", "true").annotated(&pod);
    let second = Bundle::new(&containerd, "second", "true").annotated(&pod);
    let _logs = (first.log(), second.log());
    let shim = containerd.shim(&first).await;
    let address = &shim.address;
    assert!(
        address.starts_with("unix:///run/containerd/s/"),
        "{address}"
    );
    assert_eq!(&containerd.shim(&second).await.address, address);
    let written = fs_err::read_to_string(second.path.join("address")).unwrap();
    assert_eq!(&written, address);

    assert!(shim.pid().await.as_raw_nonzero().get() > 0);
    shim.shut_down().await;
}

#[test]
fn the_runtimes_features_are_told() {
    require!(root, setup);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_containerd-shim-nival-v2"));
    command
        .arg("-info")
        .env("PATH", testkit::setup::node_bin())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let info = RuntimeInfo::parse_from_bytes(&output.stdout).unwrap();
    assert_eq!(info.name, "io.containerd.runc.v2");
    let features: serde_json::Value = serde_json::from_slice(&info.features.value).unwrap();
    let options = features["mountOptions"].as_array().unwrap();
    assert!(options.iter().any(|option| option == "rro"), "{options:?}");
}

async fn what_a_killed_shim_leaves_is_cleaned_up(containerd: &Containerd) {
    let bundle = mounted(Bundle::new(containerd, "orphan", "sleep 600"));
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let pid = shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    shim.die().await;
    // The options that `Create` had are found in the bundle.
    let output = Containerd::run(&mut containerd.command(&bundle, "delete"), &[]);
    assert!(output.status.success(), "{output:?}");
    let deleted = DeleteResponse::parse_from_bytes(&output.stdout).unwrap();
    assert_eq!((deleted.pid, deleted.exit_status), (pid, 137));
    until("the process to end", || {
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
    })
    .await;
    assert!(!shim.socket().exists());
    // A second time, as containerd does it when it is itself interrupted.
    let output = Containerd::run(&mut containerd.command(&bundle, "delete"), &[]);
    assert!(output.status.success(), "{output:?}");
}

in_both_dialects! {
    what_a_killed_shim_leaves_is_cleaned_up
}
