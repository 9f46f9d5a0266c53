//! What a pod from an environment can do, as a user of the container runtime interface sees it.

use std::collections::BTreeSet;

use testkit::{BUSYBOX, PLACEHOLDER, PodSpec, Stack, require};

const NUMPY: &str = "import numpy; print(numpy.__version__)";

fn stack_with_app(packages: &str) -> Stack {
    let stack = Stack::start().unwrap();
    stack.make_key().unwrap();
    stack.publish("app", packages, "--public").unwrap();
    stack
}

#[test]
fn a_pod_has_exactly_the_closure_and_cannot_write_to_it() {
    require!(root, setup, programs);
    let stack = stack_with_app("bash coreutils python3 numpy");
    let node = stack.node("node", "").unwrap();
    let pod = node
        .run_pod(&PodSpec::with_environment("app", "demo/app"))
        .unwrap();

    let (code, numpy) = pod
        .run_to_end("main", PLACEHOLDER, &["python3", "-c", NUMPY])
        .unwrap();
    let script = format!("cd ~/app && nival activate -- python3 -c '{NUMPY}'");
    assert_eq!((code, numpy), (0, stack.laptop.shell(&script).unwrap()));

    let container = pod
        .container("shell", PLACEHOLDER, &["sleep", "600"])
        .unwrap();
    let listing = pod.exec(&container, &["ls", "/nix/store"]).unwrap();
    let record = stack.record("demo/app:1").unwrap();
    let closure = record["systems"]["x86_64-linux"]["closure"]
        .as_array()
        .unwrap();
    let wanted: BTreeSet<&str> = closure
        .iter()
        .map(|path| {
            path["path"]
                .as_str()
                .unwrap()
                .strip_prefix("/nix/store/")
                .unwrap()
        })
        .collect();
    assert_eq!(listing.lines().collect::<BTreeSet<_>>(), wanted);

    // A file deep inside one store path, not only the folder of all: the read-only flag must reach every mount.
    let write = "id -u; f=$(readlink -f $(command -v python3)); (echo x >> $f) 2>&1; (touch $(dirname $f)/new) 2>&1; true";
    let text = pod.exec(&container, &["sh", "-c", write]).unwrap();
    assert!(text.starts_with("0\n"), "{text}");
    assert_eq!(text.matches("Read-only file system").count(), 2, "{text}");
    pod.remove().unwrap();
}

#[test]
fn containers_of_one_pod_have_environments_of_their_own() {
    require!(root, setup, programs);
    let stack = stack_with_app("bash coreutils");
    stack.publish("web", "jq", "--public").unwrap();
    let node = stack.node("node", "").unwrap();
    let spec = PodSpec::with_environment("pair", "demo/app")
        .annotated("environment.nival.dev/query", "demo/web")
        .annotated("environment.nival.dev/plain", "none")
        .annotated("environment.nival.dev/layered", "demo/web");
    let pod = node.run_pod(&spec).unwrap();
    let (code, text) = pod
        .run_to_end(
            "main",
            PLACEHOLDER,
            &["sh", "-c", "command -v jq || echo none"],
        )
        .unwrap();
    assert_eq!((code, text.trim()), (0, "none"));
    let (code, text) = pod
        .run_to_end("query", PLACEHOLDER, &["jq", "-n", "40 + 2"])
        .unwrap();
    assert_eq!((code, text.trim()), (0, "42"));
    // A real image without an annotation of its own is left alone, also in a pod with environments.
    let (code, text) = pod
        .run_to_end(
            "sidecar",
            BUSYBOX,
            &[
                "/bin/sh",
                "-c",
                "ls -A /nix/store 2>/dev/null | wc -l; echo $PATH",
            ],
        )
        .unwrap();
    assert!(
        code == 0 && text.starts_with("0\n") && !text.contains("/nix/store"),
        "{text}"
    );
    let (code, text) = pod
        .run_to_end(
            "layered",
            BUSYBOX,
            &["sh", "-c", "jq -n 6*7; ls /bin/busybox"],
        )
        .unwrap();
    assert_eq!((code, text.as_str()), (0, "42\n/bin/busybox\n"));
    let (code, _) = pod.run_to_end("plain", BUSYBOX, &["/bin/true"]).unwrap();
    assert_eq!(code, 0);
    pod.remove().unwrap();
}

#[test]
fn exec_logs_exit_codes_kill_and_stats_are_as_with_any_runtime() {
    require!(root, setup, programs);
    let stack = stack_with_app("bash coreutils");
    let node = stack.node("node", "").unwrap();
    let pod = node
        .run_pod(&PodSpec::with_environment("app", "demo/app"))
        .unwrap();

    let (code, text) = pod
        .run_to_end(
            "exits",
            PLACEHOLDER,
            &["sh", "-c", "echo out; echo err >&2; exit 7"],
        )
        .unwrap();
    assert_eq!(code, 7);
    assert!(text.contains("out"), "{text}");

    let container = pod
        .container("sleeps", PLACEHOLDER, &["sleep", "600"])
        .unwrap();
    let path = pod
        .exec(&container, &["sh", "-c", "echo $PATH; command -v sleep"])
        .unwrap();
    assert!(
        path.starts_with("/nix/store/"),
        "exec has the environment: {path}"
    );
    let stats = node.crictl(&["stats", "-o", "json", &container]).unwrap();
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    let memory = &stats["stats"][0]["memory"]["workingSetBytes"]["value"];
    assert!(
        memory
            .as_str()
            .is_some_and(|bytes| bytes.parse::<u64>().unwrap() > 0),
        "{stats}"
    );

    // The budget of a shim, which every pod pays: its share of the memory in use.
    let shim = node.machine().processes("containerd-shim-nival-v2")[0];
    let kib = node.memory_share(shim).unwrap();
    assert!(kib <= 6 << 10, "the shim takes {kib} KiB");

    node.crictl(&["stop", "--timeout", "0", &container])
        .unwrap();
    assert_eq!(pod.wait(&container).unwrap(), 137);
    pod.remove().unwrap();
    let shims = testkit::poll("the shim to end", || {
        Ok(node
            .machine()
            .processes("containerd-shim-nival-v2")
            .is_empty()
            .then_some(()))
    });
    shims.unwrap();
}

#[test]
fn a_push_and_a_restart_change_the_pod_and_a_rollback_returns_it_exactly() {
    require!(root, setup, programs);
    let mut stack = stack_with_app("bash coreutils");
    let node = stack.node("node", "").unwrap();
    let spec = PodSpec::with_environment("app", "demo/app");
    let look = |spec: &PodSpec| {
        let pod = node.run_pod(spec).unwrap();
        let script = "echo $NIVAL_ENVIRONMENT; command -v jq >/dev/null && echo jq || echo none";
        let (code, text) = pod
            .run_to_end("main", PLACEHOLDER, &["sh", "-c", script])
            .unwrap();
        pod.remove().unwrap();
        assert_eq!(code, 0, "{text}");
        text
    };
    let first = look(&spec);
    assert!(
        first.starts_with("demo/app:1@sha256:") && first.ends_with("none\n"),
        "{first}"
    );

    stack
        .laptop
        .shell("cd ~/app && nival install jq && nival push")
        .unwrap();
    let second = look(&spec);
    assert!(
        second.starts_with("demo/app:2@sha256:") && second.ends_with("jq\n"),
        "{second}"
    );

    stack.laptop.shell("nival rollback demo/app").unwrap();
    assert_eq!(look(&spec), first);

    // A pin needs no hub once its closure is there.
    let pin = second.lines().next().unwrap().to_owned();
    stack.hub.kill().unwrap();
    assert_eq!(look(&spec.annotated("nival.dev/generation", &pin)), second);
    assert_eq!(stack.registry.asked(), 0, "no image was asked for");
}
