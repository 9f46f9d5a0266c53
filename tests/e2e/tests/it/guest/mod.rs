//! `SystemdCgroup` and control groups of version 2 alone: in a virtual machine, where there are such things.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fs_err as fs;
use serde_json::{Value, json};
use testkit::{HUB_ADDRESS, OWNER, PLACEHOLDER, Stack, guest, programs, require, run, setup};

use crate::contract::figure;

const SCRIPT: &str = include_str!("run.sh");
/// Emulated, all takes some twenty times as long.
const DEADLINE: Duration = Duration::from_secs(300);
const PARENT: &str = "kubepods-burstable.slice";

const CONTAINERD: &str = r#"version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "nival.local/pause:1"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nival]
runtime_type = "io.containerd.runc.v2"
runtime_path = "/opt/nival/containerd-shim-nival-v2"
pod_annotations = ["nival.dev/*", "*.nival.dev/*"]
container_annotations = ["nival.dev/*", "*.nival.dev/*"]
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nival.options]
SystemdCgroup = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nival-own]
runtime_type = "io.containerd.nival.v2"
pod_annotations = ["nival.dev/*", "*.nival.dev/*"]
container_annotations = ["nival.dev/*", "*.nival.dev/*"]
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nival-own.options]
SystemdCgroup = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nival-crun]
runtime_type = "io.containerd.runc.v2"
runtime_path = "/opt/nival/containerd-shim-nival-v2"
pod_annotations = ["nival.dev/*", "*.nival.dev/*"]
container_annotations = ["nival.dev/*", "*.nival.dev/*"]
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nival-crun.options]
SystemdCgroup = true
BinaryName = "/opt/crun/bin/crun"
"#;

/// No network of its own: the guest has no CNI plugins.
fn pod() -> Value {
    json!({
        "metadata": {"name": "app", "namespace": "default", "uid": "uid-1", "attempt": 0},
        "annotations": {"nival.dev/environment": "demo/app"},
        "log_directory": "/var/log/pods/app",
        "linux": {
            "cgroup_parent": PARENT,
            "security_context": {"namespace_options": {"network": 2}},
        },
    })
}

fn container(name: &str, command: &[&str]) -> Value {
    json!({
        "metadata": {"name": name, "attempt": 0},
        "image": {"image": PLACEHOLDER},
        "command": command,
        "log_path": format!("{name}.log"),
        "annotations": {"nival.dev/environment": "demo/app"},
        "linux": {
            "resources": {"memory_limit_in_bytes": 33_554_432},
            "security_context": {"namespace_options": {"network": 2}},
        },
    })
}

/// Fills the guest's second disk.
fn fill(folder: &Path, stack: &Stack) {
    let copy = |from: &Path, to: &str| {
        run(Command::new("cp").arg("-aL").arg(from).arg(folder.join(to))).unwrap();
    };
    fs::create_dir(folder.join("bin")).unwrap();
    for program in ["nival-hub", "nival-agent", "containerd-shim-nival-v2"] {
        copy(&programs::dir().join(program), "bin");
    }
    for program in ["containerd", "crictl", "ctr", "runc"] {
        copy(&setup::node_bin().join(program), "bin");
    }
    fs::create_dir(folder.join("images")).unwrap();
    for image in ["pause.tar", "placeholder.tar"] {
        copy(&setup::images().join(image), "images");
    }
    copy(&setup::crun(), "crun");
    copy(&stack.hub.data(), "hub");
    let key = stack.public_key().unwrap();
    let agent = format!("hub = \"http://{HUB_ADDRESS}\"\n[trust]\n{OWNER} = [\"{key}\"]\n");
    let main = container("main", &["sh", "-c", "while :; do sleep 0.2; done"]);
    let greedy = container("greedy", &["tail", "/dev/zero"]);
    for (name, text) in [
        ("run.sh", SCRIPT.to_owned()),
        ("agent.toml", agent),
        ("containerd.toml", CONTAINERD.to_owned()),
        (
            "crictl.yaml",
            "runtime-endpoint: unix:///run/containerd/containerd.sock\ntimeout: 300\n".to_owned(),
        ),
        ("pod.json", pod().to_string()),
        ("main.json", main.to_string()),
        ("greedy.json", greedy.to_string()),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
}

#[test]
fn with_systemd_and_cgroup_v2_a_container_is_a_scope_that_is_counted_limited_and_removed() {
    require!(root, setup, programs);
    let mut stack = Stack::start().unwrap();
    stack.make_key().unwrap();
    stack.publish("app", "bash coreutils", "--public").unwrap();
    stack.hub.kill().unwrap();
    let folder = stack.world.folder().join("guest");
    fs::create_dir(&folder).unwrap();
    fill(&folder, &stack);
    let console = guest::boot(&folder, DEADLINE).unwrap();
    let facts: BTreeMap<&str, &str> = console
        .lines()
        .filter_map(|line| line.strip_prefix("FACT ")?.split_once('='))
        .collect();
    let fact = |name: &str| {
        let found = facts.get(name).copied();
        found.unwrap_or_else(|| panic!("the guest did not tell {name}; its console:\n{console}"))
    };
    assert!(fact("cgroups").contains("memory"), "{console}");
    for handler in ["nival", "nival-own", "nival-crun"] {
        let fact = |name: &str| fact(&format!("{handler}.{name}"));
        // crun makes a group of its own below the scope that systemd makes for it.
        let own = if handler == "nival-crun" {
            "/container"
        } else {
            ""
        };
        let group = fact("group");
        let prefix = format!("0::/kubepods.slice/{PARENT}/cri-containerd-");
        assert!(
            group.starts_with(&prefix) && group.ends_with(&format!(".scope{own}")),
            "{group}"
        );
        assert_eq!(fact("scope"), "active");
        assert!(fact("exec").starts_with("demo/app:1@sha256:"), "{console}");
        assert_eq!(fact("inside"), "0::/", "exec is in the container's group");
        assert_eq!(fact("limit.before"), "33554432");
        assert_eq!(fact("limit.after"), "67108864");
        assert_eq!(fact("limit.kernel"), "67108864");
        let stats: Value = serde_json::from_str(fact("stats")).unwrap();
        let stats = &stats["stats"][0];
        assert!(figure(stats, "/cpu/usageCoreNanoSeconds/value") > 0);
        assert!(figure(stats, "/memory/workingSetBytes/value") > 0);
        assert_eq!(fact("oom"), "OOMKilled 137");
        assert_eq!(fact("scopes.left"), "0");
        assert_eq!(fact("groups.left"), "0");
    }
    assert_eq!(fact("done"), "yes");
}
