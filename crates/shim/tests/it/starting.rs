//! How containerd, old and new, finds a shim, asks about it, and cleans up behind it.

use containerd_shim::api::{ConnectRequest, ConnectResponse, DeleteResponse, Options};
use containerd_shim::protos::shim_async::Client;
use containerd_shim::protos::types::introspection::RuntimeInfo;
use protobuf::Message as _;
use testkit::require;

use crate::bundle::Bundle;
use crate::containerd::{Containerd, NAMESPACE, Shim, options_any};

#[tokio::test(flavor = "multi_thread")]
async fn an_older_containerd_gets_a_plain_address_one_shim_per_pod_and_the_older_service() {
    require!(root, setup);
    let containerd = Containerd::start().await;
    let sandbox = format!("sandbox-{}", std::process::id());
    let pod = [("io.kubernetes.cri.sandbox-id", sandbox.as_str())];
    let first = Bundle::new(&containerd, "first", "true").annotated(&pod);
    let second = Bundle::new(&containerd, "second", "true").annotated(&pod);
    let _logs = (first.log(), second.log());
    let start = |bundle: &Bundle| {
        let mut command = containerd.command(bundle, "start");
        command.env("TTRPC_ADDRESS", containerd.path("events.sock"));
        let input = options_any(&Options::default()).write_to_bytes().unwrap();
        let output = Containerd::run(&mut command, &input);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let address = start(&first);
    assert!(
        address.starts_with("unix:///run/containerd/s/"),
        "{address}"
    );
    assert_eq!(start(&second), address);
    let written = fs_err::read_to_string(second.path.join("address")).unwrap();
    assert_eq!(written, address);

    let client = Client::connect(&address).await.unwrap();
    let request = ttrpc::Request {
        service: "containerd.task.v2.Task".into(),
        method: "Connect".into(),
        payload: ConnectRequest::default().write_to_bytes().unwrap(),
        ..ttrpc::Request::default()
    };
    let answer = client.request(request).await.unwrap();
    let connected = ConnectResponse::parse_from_bytes(&answer.payload).unwrap();
    assert!(connected.shim_pid > 0);
    Shim::connect(&address, containerd.path("runc"))
        .await
        .shut_down()
        .await;
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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_shim_leaves_is_cleaned_up() {
    require!(root, setup);
    let containerd = Containerd::start().await;
    let bundle = Bundle::new(&containerd, "orphan", "sleep 600");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let pid = shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    rustix::process::kill_process(shim.pid().await, rustix::process::Signal::KILL).unwrap();
    let output = Containerd::run(&mut containerd.command(&bundle, "delete"), &[]);
    assert!(output.status.success(), "{output:?}");
    let deleted = DeleteResponse::parse_from_bytes(&output.stdout).unwrap();
    assert_eq!((deleted.pid, deleted.exit_status), (pid, 137));
    let state = containerd.path("runc").join(NAMESPACE).join(&bundle.id);
    assert!(!state.exists());
}
