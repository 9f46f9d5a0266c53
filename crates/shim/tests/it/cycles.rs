//! Many pods and many processes, with failures at each step: nothing grows, and nothing is left.

use fs_err as fs;
use rustix::process::Pid;
use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::containerd::{Containerd, in_both_dialects, options_any, until};
use crate::interrupted::mounted;
use crate::runtime::Stub;

/// How many pods come and go; `NIVAL_CYCLES` says otherwise, for a long run by hand.
const PODS: usize = 14;
/// How many processes are added to one container.
const PROCESSES: usize = 40;

fn process() -> Value {
    json!({"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}})
}

/// What goes wrong with a pod.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Nothing,
    /// The runtime fails in this verb.
    Runtime(&'static str),
    /// The shim is killed while its container runs.
    Killed,
    /// containerd gives up on the container before its start.
    Unstarted,
}

const FAULTS: [Fault; 7] = [
    Fault::Nothing,
    Fault::Runtime("create"),
    Fault::Runtime("start"),
    Fault::Runtime("exec"),
    Fault::Runtime("delete"),
    Fault::Killed,
    Fault::Unstarted,
];

async fn pod(containerd: &Containerd, number: usize, fault: Fault) {
    let mut bundle = mounted(Bundle::new(
        containerd,
        &format!("cycle{number}"),
        "sleep 600",
    ));
    bundle.save();
    let log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let verb = match fault {
        Fault::Runtime(verb) => verb,
        _ => "none",
    };
    let stub = Stub::failing(containerd, verb);
    let created = shim
        .create_with(&bundle, options_any(&stub.options(&shim)))
        .await;
    assert_eq!(created.is_err(), verb == "create", "{created:?}");
    if matches!(fault, Fault::Runtime("create")) {
        shim.shut_down().await;
        return;
    }
    if !matches!(fault, Fault::Unstarted) {
        let started = shim.start(&bundle.id, "").await;
        assert_eq!(started.is_err(), verb == "start", "{started:?}");
    }
    match fault {
        Fault::Killed => {
            shim.die().await;
            let output = Containerd::run(&mut containerd.command(&bundle, "delete"), &[]);
            assert!(output.status.success(), "{output:?}");
            return;
        }
        Fault::Nothing | Fault::Runtime("exec" | "delete") => {
            shim.exec(&bundle, "added", &process()).await.unwrap();
            let added = shim.start(&bundle.id, "added").await;
            assert_eq!(added.is_err(), verb == "exec", "{added:?}");
            shim.wait(&bundle.id, "added").await;
            shim.delete(&bundle.id, "added").await.unwrap();
            shim.kill(&bundle.id, "", 9).await.unwrap();
            assert_eq!(shim.wait(&bundle.id, "").await, 137);
        }
        _ => {}
    }
    if verb == "delete" {
        shim.delete(&bundle.id, "").await.unwrap_err();
        stub.open();
    }
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
    stub.shut();
    drop(log);
}

async fn pods_come_and_go_whatever_fails(containerd: &Containerd) {
    let cycles = std::env::var("NIVAL_CYCLES").ok();
    let cycles = cycles.map_or(PODS, |cycles| cycles.parse().unwrap());
    for number in 0..cycles {
        let fault = FAULTS[number % FAULTS.len()];
        Box::pin(pod(containerd, number, fault)).await;
        containerd.expect_nothing_left().await;
    }
}

fn descriptors(process: Pid) -> usize {
    let folder = format!("/proc/{}/fd", process.as_raw_nonzero());
    fs::read_dir(folder).unwrap().count()
}

async fn a_shim_holds_nothing_of_processes_that_are_gone(containerd: &Containerd) {
    let bundle = Bundle::new(containerd, "many", "sleep 600");
    bundle.make_pipe("added-stdout");
    let _stdout = bundle.reader("added-stdout");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    let pid = shim.pid().await;
    let mut before = 0;
    for number in 0..PROCESSES {
        shim.exec(&bundle, "added", &process()).await.unwrap();
        shim.start(&bundle.id, "added").await.unwrap();
        assert_eq!(shim.wait(&bundle.id, "added").await, 0);
        shim.delete(&bundle.id, "added").await.unwrap();
        if number == 0 {
            before = descriptors(pid);
        }
    }
    // One more or less may be open for a moment.
    let after = descriptors(pid);
    assert!(after <= before + 1, "{before} descriptors became {after}");
    let files = fs::read_dir(&bundle.path).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    let left = files
        .iter()
        .any(|name| name.to_string_lossy().contains("added"));
    assert!(!left, "{files:?}");
    shim.kill(&bundle.id, "", 9).await.unwrap();
    shim.wait(&bundle.id, "").await;
    shim.delete(&bundle.id, "").await.unwrap();
    until("each end to be told", || {
        let events = containerd.events();
        let exits = events.iter().filter(|topic| *topic == "/tasks/exit");
        exits.count() >= PROCESSES
    })
    .await;
    shim.shut_down().await;
}

in_both_dialects! {
    pods_come_and_go_whatever_fails
    a_shim_holds_nothing_of_processes_that_are_gone
}
