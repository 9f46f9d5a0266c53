//! Processes of a container: exec, terminals, streams, signals, figures and limits.

use serde_json::{Value, json};

use super::{PLACEHOLDER, Scene, figure};

pub(super) fn exec_has_the_environment_and_its_exit_code(scene: &Scene<'_>) {
    let spec = scene
        .spec("exec")
        .annotated("exec-outside.nival.dev/outside", "true");
    let pod = scene.run(&spec);
    let sleep = ["sleep", "600"];
    let main = pod.container("main", PLACEHOLDER, &sleep).unwrap();
    let text = pod
        .exec(&main, &["sh", "-c", "echo $PATH; command -v sleep"])
        .unwrap();
    assert!(text.starts_with("/nix/store/"), "{text}");
    let error = pod.exec(&main, &["sh", "-c", "echo oops >&2; exit 5"]);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("oops") && error.contains('5'), "{error}");
    let error = pod.exec(&main, &["no-such-program"]).unwrap_err();
    assert!(error.to_string().contains("no-such-program"), "{error}");

    let outside = pod.container("outside", PLACEHOLDER, &sleep).unwrap();
    let script = "echo ${NIVAL_ENV:-none}";
    let text = pod.exec(&outside, &["/bin/sh", "-c", script]).unwrap();
    assert_eq!(text, "none\n");
    pod.remove().unwrap();
}

pub(super) fn a_terminal_has_the_size_and_answers(scene: &Scene<'_>) {
    let (pod, container) = scene.sleeper("terminal");
    let shown = pod.exec_on_terminal(&container, "tty").unwrap();
    assert!(shown.contains("/dev/pts/"), "{shown:?}");
    pod.remove().unwrap();
}

pub(super) fn logs_streams_and_exit_codes_arrive(scene: &Scene<'_>) {
    let pod = scene.run(&scene.spec("streams"));
    let script = "echo out; echo err >&2; exit 7";
    let container = pod
        .container("main", PLACEHOLDER, &["sh", "-c", script])
        .unwrap();
    assert_eq!(pod.wait(&container).unwrap(), 7);
    let status = pod.status(&container).unwrap();
    let log = status["logPath"].as_str().unwrap();
    let log = scene.node.machine().shell(&format!("cat {log}")).unwrap();
    for wanted in ["stdout F out", "stderr F err"] {
        assert!(log.contains(wanted), "{wanted} in {log}");
    }

    let more = json!({"stdin": true, "stdin_once": true});
    let container = pod
        .container_with(
            "reads",
            PLACEHOLDER,
            &["sh", "-c", "read a; echo got $a"],
            &more,
        )
        .unwrap();
    let attach = format!("echo word | crictl attach --stdin {container} || true");
    scene.node.machine().shell(&attach).unwrap();
    assert_eq!(pod.wait(&container).unwrap(), 0);
    assert_eq!(
        scene.node.crictl(&["logs", &container]).unwrap(),
        "got word\n"
    );
    pod.remove().unwrap();
}

pub(super) fn stopping_is_a_signal_then_a_kill(scene: &Scene<'_>) {
    let pod = scene.run(&scene.spec("stop"));
    let stop = |name: &str, script: &str, timeout: &str| {
        let container = pod
            .container(name, PLACEHOLDER, &["bash", "-c", script])
            .unwrap();
        testkit::poll("the container to be at work", || {
            let log = scene.node.crictl(&["logs", &container])?;
            Ok(log.contains("ready").then_some(()))
        })
        .unwrap();
        scene
            .node
            .crictl(&["stop", "--timeout", timeout, &container])
            .unwrap();
        pod.wait(&container).unwrap()
    };
    let polite = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    assert_eq!(stop("polite", polite, "30"), 3);
    let stubborn = "trap '' TERM; echo ready; sleep 600; sleep 600";
    assert_eq!(stop("stubborn", stubborn, "1"), 137);
    pod.remove().unwrap();
}

pub(super) fn stats_count_processor_and_memory(scene: &Scene<'_>) {
    let pod = scene.run(&scene.spec("stats"));
    let busy = pod
        .container("busy", PLACEHOLDER, &["bash", "-c", "while :; do :; done"])
        .unwrap();
    let stats = testkit::poll("time and memory to be counted", || {
        let text = scene.node.crictl(&["stats", "--output", "json", &busy])?;
        let stats: Value = serde_json::from_str(&text).unwrap();
        let stats = stats["stats"][0].clone();
        // The first answer of a containerd has no rate yet, and may have no figure.
        let counted = stats.pointer("/cpu/usageCoreNanoSeconds/value");
        let counted = counted.and_then(Value::as_str);
        Ok(counted.is_some_and(|time| time != "0").then_some(stats))
    })
    .unwrap();
    assert!(figure(&stats, "/memory/workingSetBytes/value") > 0);
    assert!(figure(&stats, "/cpu/usageCoreNanoSeconds/value") > 1_000_000);
    pod.remove().unwrap();
}

pub(super) fn limits_are_changed_and_their_breach_is_told(scene: &Scene<'_>) {
    const LIMIT: &str = "67108864";
    let pod = scene.run(&scene.spec("limits"));
    let more = json!({"linux": {"resources": {"memory_limit_in_bytes": 33_554_432}}});
    let container = pod
        .container_with("main", PLACEHOLDER, &["sleep", "600"], &more)
        .unwrap();
    scene
        .node
        .crictl(&["update", "--memory", LIMIT, &container])
        .unwrap();
    let files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max";
    let look = format!("cat {files} 2>/dev/null || true");
    let limit = pod.exec(&container, &["sh", "-c", &look]).unwrap();
    assert_eq!(limit.trim(), LIMIT);

    let greedy = pod
        .container_with("greedy", PLACEHOLDER, &["tail", "/dev/zero"], &more)
        .unwrap();
    assert_eq!(pod.wait(&greedy).unwrap(), 137);
    let reason = testkit::poll("the reason to arrive", || {
        let status = pod.status(&greedy)?;
        let reason = status["reason"].as_str().unwrap_or_default().to_owned();
        Ok((reason == "OOMKilled").then_some(reason))
    });
    reason.unwrap();
    pod.remove().unwrap();
}

pub(super) fn an_ordinary_user_on_a_read_only_root(scene: &Scene<'_>) {
    let pod = scene.run(&scene.spec("user"));
    let more = json!({"linux": {"security_context": {
        "run_as_user": {"value": 1000}, "run_as_group": {"value": 1000}, "readonly_rootfs": true,
        "no_new_privs": true, "capabilities": {"drop_capabilities": ["ALL"]},
    }}});
    let script = "id -u; id -g; touch /new 2>&1 || true";
    let container = pod
        .container_with("main", PLACEHOLDER, &["sh", "-c", script], &more)
        .unwrap();
    assert_eq!(pod.wait(&container).unwrap(), 0);
    let text = scene.node.crictl(&["logs", &container]).unwrap();
    assert!(text.starts_with("1000\n1000\n"), "{text}");
    assert!(text.contains("Read-only file system"), "{text}");
    pod.remove().unwrap();
}

/// What the CRI has no verbs for, through containerd's own command line.
pub(super) fn a_container_is_paused_and_resumed_and_no_checkpoint_is_promised(scene: &Scene<'_>) {
    let (pod, container) = scene.sleeper("pause");
    let task = |verb: &str| {
        let line = format!("{} tasks {verb} {container}", scene.node.ctr());
        scene.node.machine().shell(&line)
    };
    let state = |wanted: &str| {
        let line = format!("{} tasks ls | grep {container}", scene.node.ctr());
        let listed = scene.node.machine().shell(&line).unwrap();
        assert!(listed.contains(wanted), "{listed}");
    };
    state("RUNNING");
    task("pause").unwrap();
    state("PAUSED");
    task("resume").unwrap();
    state("RUNNING");
    pod.exec(&container, &["true"]).unwrap();
    let error = task("checkpoint").unwrap_err().to_string();
    assert!(error.contains("the shim does not drive CRIU"), "{error}");
    state("RUNNING");
    pod.remove().unwrap();
}
