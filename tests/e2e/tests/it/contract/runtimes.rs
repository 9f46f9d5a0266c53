//! Options of a runtime handler, each shown to have reached the OCI runtime.

use testkit::{
    Containerd, Handler, Line, Node, PLACEHOLDER, Pod, PodSpec, Registration, Stack, require, setup,
};

/// The real runc behind a program that notes how it was called.
const NOTING: &str = "#!/bin/sh\necho \"$@\" >> /run/calls\nexec runc \"$@\"\n";

/// One handler for each option and each way of registering: the option travels in another message.
fn handlers() -> Vec<Handler> {
    let of = |crun, root, no_pivot, registration| {
        [
            Handler::new(crun, registration).option("BinaryName = \"/opt/crun/bin/crun\""),
            Handler::new(root, registration).option("Root = \"/run/elsewhere\""),
            Handler::new(no_pivot, registration)
                .option("BinaryName = \"/opt/noting-runc\"")
                .option("NoPivotRoot = true"),
        ]
    };
    let runc_type = of("crun", "root", "no-pivot", Registration::RuncType);
    let own_type = of(
        "crun-own",
        "root-own",
        "no-pivot-own",
        Registration::OwnType,
    );
    runc_type.into_iter().chain(own_type).collect()
}

fn sleeper<'node>(node: &'node Node, handler: &'static str) -> (Pod<'node>, String) {
    let spec = PodSpec::with_environment("app", "demo/app").handled_by(handler);
    let pod = node.run_pod(&spec).unwrap();
    let container = pod
        .container("main", PLACEHOLDER, &["sleep", "600"])
        .unwrap();
    let text = pod.exec(&container, &["sh", "-c", "echo $NIVAL_ENVIRONMENT"]);
    assert!(text.unwrap().starts_with("demo/app:1@sha256:"));
    (pod, container)
}

/// Ends the container, and with it whatever the option changed about how it is ended.
fn end(node: &Node, pod: Pod<'_>, container: &str) {
    node.crictl(&["stop", "--timeout", "0", container]).unwrap();
    assert_eq!(pod.wait(container).unwrap(), 137);
    pod.remove().unwrap();
}

fn options_reach_the_runtime(line: Line) {
    let stack = Stack::start().unwrap();
    stack.make_key().unwrap();
    stack.publish("app", "bash coreutils", "--public").unwrap();
    let containerd = Containerd {
        line,
        handlers: handlers(),
        ..Containerd::default()
    };
    let node = stack.node_with("node", "", containerd).unwrap();
    node.bring(&setup::crun(), "crun").unwrap();
    node.write("/opt/noting-runc", NOTING).unwrap();
    node.machine().shell("chmod +x /opt/noting-runc").unwrap();
    // crun refuses a machine where the older control groups and the newer share the controllers.
    let one_kind = "! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified";
    node.machine().shell(one_kind).unwrap();
    let state = |root: &str, container: &str| {
        let look = format!("ls {root}/k8s.io/{container}");
        node.machine().shell(&look).unwrap()
    };

    for handler in ["crun", "crun-own"] {
        let (pod, container) = sleeper(&node, handler);
        // Where runc writes `state.json`, crun writes `status`.
        let files = state("/run/containerd/runc", &container);
        assert!(
            files.lines().any(|file| file == "status") && !files.contains("state.json"),
            "{handler}: {files}"
        );
        let failed = pod.container("fails", PLACEHOLDER, &["no-such-program"]);
        let error = failed.unwrap_err().to_string();
        assert!(error.contains("no-such-program"), "{handler}: {error}");
        end(&node, pod, &container);
    }
    for handler in ["root", "root-own"] {
        let (pod, container) = sleeper(&node, handler);
        let files = state("/run/elsewhere", &container);
        assert!(files.contains("state.json"), "{handler}: {files}");
        end(&node, pod, &container);
    }
    for handler in ["no-pivot", "no-pivot-own"] {
        let (pod, container) = sleeper(&node, handler);
        let calls = node.machine().shell("cat /run/calls; rm /run/calls");
        let calls = calls.unwrap();
        let create = calls
            .lines()
            .find(|call| call.contains(" create ") && call.contains(&container));
        assert!(
            create.is_some_and(|call| call.contains("--no-pivot")),
            "{handler}: {calls}"
        );
        end(&node, pod, &container);
    }
}

#[test]
fn runtime_options_reach_the_runtime_from_containerd_1_7() {
    require!(root, setup, programs);
    options_reach_the_runtime(Line::V1_7);
}

#[test]
fn runtime_options_reach_the_runtime_from_containerd_2_4() {
    require!(root, setup, programs);
    options_reach_the_runtime(Line::V2_4);
}
