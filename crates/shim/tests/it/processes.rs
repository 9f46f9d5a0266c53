//! The verbs on running processes: streams, signals, limits, and what is told of them.

use std::io::Write as _;
use std::time::{Duration, Instant};

use containerd_shim::api::{
    CloseIORequest, KillRequest, PidsRequest, ResizePtyRequest, Status, UpdateTaskRequest,
};
use containerd_shim::protos::shim::oci::ProcessDetails;
use fs_err as fs;
use protobuf::Message as _;
use protobuf::well_known_types::any::Any;
use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::containerd::{Containerd, DEADLINE, in_both_dialects, message, patience, until};

fn shell(script: &str) -> Value {
    json!({"args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}})
}

/// Finds a file of the container's in a hierarchy of the first kind.
fn limit(bundle: &Bundle, controller: &str, file: &str) -> Option<String> {
    let folder = format!("/sys/fs/cgroup/{controller}/nival-test/{}", bundle.id);
    let text = fs::read_to_string(std::path::Path::new(&folder).join(file)).ok()?;
    Some(text.trim().to_owned())
}

async fn standard_input_arrives_and_ends_when_it_is_closed(containerd: &Containerd) {
    let bundle = Bundle::new(containerd, "stdin", "cat; echo after");
    bundle.make_pipe("stdin");
    let mut stdout = bundle.reader("stdout");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    {
        let mut stdin = bundle.writer("stdin");
        stdin.write_all(b"one\n").unwrap();
        stdout.expect("one\n").await;
    }
    // One writer's end is not the end: another may attach later.
    let mut stdin = bundle.writer("stdin");
    stdin.write_all(b"two\n").unwrap();
    stdout.expect("two\n").await;
    let close = CloseIORequest {
        id: bundle.id.clone(),
        stdin: true,
        ..CloseIORequest::default()
    };
    shim.task.close_io(patience(), &close).await.unwrap();
    drop(stdin);
    assert_eq!(stdout.expect("after\n").await, "one\ntwo\nafter\n");
    assert_eq!(shim.wait(&bundle.id, "").await, 0);
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

async fn an_added_process_may_have_a_terminal_and_standard_input(containerd: &Containerd) {
    let bundle = Bundle::new(containerd, "exec-tty", "sleep 600");
    for name in ["added-stdin", "added-stdout"] {
        bundle.make_pipe(name);
    }
    let mut stdout = bundle.reader("added-stdout");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    shim.exec_on_terminal(
        &bundle,
        "added",
        &shell("tty; read -r line; stty size; exit 4"),
    )
    .await
    .unwrap();
    let size = ResizePtyRequest {
        id: bundle.id.clone(),
        exec_id: "added".into(),
        width: 77,
        height: 22,
        ..Default::default()
    };
    // Before the start there is no terminal yet, which is no error.
    shim.task.resize_pty(patience(), &size).await.unwrap();
    shim.start(&bundle.id, "added").await.unwrap();
    stdout.expect("/dev/pts/").await;
    shim.task.resize_pty(patience(), &size).await.unwrap();
    bundle.writer("added-stdin").write_all(b"go\n").unwrap();
    stdout.expect("22 77").await;
    assert_eq!(shim.wait(&bundle.id, "added").await, 4);
    assert_eq!(shim.status(&bundle.id, "added").await, Ok(Status::STOPPED));
    shim.delete(&bundle.id, "added").await.unwrap();
    shim.kill(&bundle.id, "", 9).await.unwrap();
    shim.wait(&bundle.id, "").await;
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

async fn signals_reach_the_process_that_they_are_for(containerd: &Containerd) {
    let bundle = Bundle::new(
        containerd,
        "signals",
        "trap 'echo first' USR1; echo ready; while :; do sleep 0.1; done",
    );
    bundle.make_pipe("added-stdout");
    let (mut stdout, mut added) = (bundle.reader("stdout"), bundle.reader("added-stdout"));
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    stdout.expect("ready\n").await;
    shim.exec(
        &bundle,
        "added",
        &shell("trap 'echo added; exit 6' USR1; echo ready; while :; do sleep 0.1; done"),
    )
    .await
    .unwrap();
    let early = shim.kill(&bundle.id, "added", 10).await.unwrap_err();
    assert_eq!(early, "cannot kill a created process");
    shim.start(&bundle.id, "added").await.unwrap();
    added.expect("ready\n").await;
    shim.kill(&bundle.id, "", 10).await.unwrap();
    stdout.expect("first\n").await;
    shim.kill(&bundle.id, "added", 10).await.unwrap();
    added.expect("added\n").await;
    assert_eq!(shim.wait(&bundle.id, "added").await, 6);
    let late = shim.kill(&bundle.id, "added", 10).await.unwrap_err();
    assert_eq!(late, "process already finished");
    let nobody = shim.kill(&bundle.id, "other", 9).await.unwrap_err();
    assert!(nobody.contains("has no process other"), "{nobody}");
    shim.delete(&bundle.id, "added").await.unwrap();
    shim.kill(&bundle.id, "", 9).await.unwrap();
    shim.wait(&bundle.id, "").await;
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

async fn all_processes_of_a_shared_namespace_can_be_killed_and_end_before_the_first(
    containerd: &Containerd,
) {
    // Without a process namespace of its own, as with `hostPID`.
    let bundle = Bundle::new(containerd, "shared", "sleep 600 & exec sleep 600").changed(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
    });
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let pid = shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    shim.exec(&bundle, "added", &shell("sleep 600"))
        .await
        .unwrap();
    let added = shim.start(&bundle.id, "added").await.unwrap();
    let request = PidsRequest {
        id: bundle.id.clone(),
        ..PidsRequest::default()
    };
    let begun = Instant::now();
    // Until the shell has made its child.
    let processes = loop {
        let answer = shim.task.pids(patience(), &request).await.unwrap();
        if answer.processes.len() >= 3 {
            break answer.processes;
        }
        assert!(begun.elapsed() < DEADLINE, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let details = |process: &containerd_shim::protos::types::task::ProcessInfo| {
        let any: &Any = process.info.as_ref()?;
        assert_eq!(any.type_url, "containerd.runc.v1.ProcessDetails");
        Some((
            process.pid,
            ProcessDetails::parse_from_bytes(&any.value)
                .unwrap()
                .exec_id,
        ))
    };
    let named: Vec<_> = processes.iter().filter_map(details).collect();
    assert_eq!(named, [(added, "added".to_owned())]);
    assert!(processes.iter().any(|process| process.pid == pid));
    let kill = KillRequest {
        id: bundle.id.clone(),
        signal: 9,
        all: true,
        ..KillRequest::default()
    };
    shim.task.kill(patience(), &kill).await.unwrap();
    assert_eq!(shim.wait(&bundle.id, "").await, 137);
    // Its end is told before the first one's.
    assert_eq!(shim.status(&bundle.id, "added").await, Ok(Status::STOPPED));
    assert_eq!(shim.wait(&bundle.id, "added").await, 137);
    until("every process to end", || {
        processes
            .iter()
            .all(|process| !std::path::Path::new(&format!("/proc/{}", process.pid)).exists())
    })
    .await;
    shim.delete(&bundle.id, "added").await.unwrap();
    shim.delete(&bundle.id, "").await.unwrap();
    let events = [
        "create",
        "start",
        "exec-added",
        "exec-started",
        "exit",
        "exit",
        "delete",
    ]
    .map(|name| format!("/tasks/{name}"));
    containerd
        .expect_events(&events.each_ref().map(String::as_str))
        .await;
    shim.shut_down().await;
}

async fn what_the_first_process_leaves_behind_ends_with_it(containerd: &Containerd) {
    let bundle =
        Bundle::new(containerd, "left-behind", "sleep 600 & echo $!; exit 2").changed(|spec| {
            let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "pid");
        });
    let mut stdout = bundle.reader("stdout");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    let left = stdout.expect("\n").await;
    assert_eq!(shim.wait(&bundle.id, "").await, 2);
    let left = format!("/proc/{}", left.trim());
    until("it to end", || !std::path::Path::new(&left).exists()).await;
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

async fn limits_change_while_a_container_runs(containerd: &Containerd) {
    let bundle = Bundle::new(containerd, "limits", "sleep 600");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    let update = |resources: &str| UpdateTaskRequest {
        id: bundle.id.clone(),
        resources: Some(Any {
            value: resources.into(),
            ..Any::default()
        })
        .into(),
        ..UpdateTaskRequest::default()
    };
    let resources =
        r#"{"cpu": {"shares": 512}, "memory": {"limit": 67108864}, "unknown": {"kept": 1}}"#;
    shim.task
        .update(patience(), &update(resources))
        .await
        .unwrap();
    if let Some(shares) = limit(&bundle, "cpu", "cpu.shares") {
        assert_eq!(shares, "512");
        assert_eq!(
            limit(&bundle, "memory", "memory.limit_in_bytes").unwrap(),
            "67108864"
        );
    }
    let refused = shim
        .task
        .update(patience(), &update("{"))
        .await
        .map_err(message)
        .unwrap_err();
    assert!(
        refused.starts_with("the request's resources is not valid"),
        "{refused}"
    );
    shim.kill(&bundle.id, "", 9).await.unwrap();
    shim.wait(&bundle.id, "").await;
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

async fn a_kill_for_want_of_memory_is_told(containerd: &Containerd) {
    // A text that doubles for ever.
    let bundle = Bundle::new(
        containerd,
        "memory",
        "x=0123456789abcdef; while :; do x=$x$x; done",
    )
    .changed(|spec| {
        spec["linux"]["resources"] = json!({"memory": {"limit": 16 << 20}});
    });
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    assert_eq!(shim.wait(&bundle.id, "").await, 137);
    shim.delete(&bundle.id, "").await.unwrap();
    until("the event", || {
        containerd
            .events()
            .iter()
            .any(|topic| topic == "/tasks/oom")
    })
    .await;
    shim.shut_down().await;
}

async fn what_was_never_started_can_be_deleted_and_nothing_is_added_to_what_has_ended(
    containerd: &Containerd,
) {
    let bundle = Bundle::new(containerd, "unstarted-exec", "read -r line");
    bundle.make_pipe("stdin");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    let again = shim.start(&bundle.id, "").await.unwrap_err();
    assert_eq!(again, "cannot start a running process");
    shim.exec(&bundle, "never", &shell("true")).await.unwrap();
    assert_eq!(shim.status(&bundle.id, "never").await, Ok(Status::CREATED));
    let mut ended = std::pin::pin!(shim.waited(&bundle.id, "never"));
    tokio::select! {
        biased;
        ended = &mut ended => panic!("it has not run: {ended:?}"),
        // Asked later on the same connection, so the wait is under way when this is answered.
        status = shim.status(&bundle.id, "never") => assert_eq!(status, Ok(Status::CREATED)),
    }
    let (ended, deleted) = tokio::join!(ended, shim.delete(&bundle.id, "never"));
    deleted.unwrap();
    assert_eq!(ended, Ok(255));
    shim.exec(&bundle, "late", &shell("true")).await.unwrap();
    bundle.writer("stdin").write_all(b"\n").unwrap();
    assert_eq!(shim.wait(&bundle.id, "").await, 0);
    let late = shim.start(&bundle.id, "late").await.unwrap_err();
    assert!(late.starts_with("the first process of container"), "{late}");
    shim.delete(&bundle.id, "late").await.unwrap();
    let (one, two) = tokio::join!(shim.delete(&bundle.id, ""), shim.delete(&bundle.id, ""));
    assert_eq!(
        [one.is_ok(), two.is_ok()].iter().filter(|ok| **ok).count(),
        1
    );
    shim.shut_down().await;
    // The shim tells everything before its process ends.
    containerd.expect_nothing_left().await;
    let events = containerd.events();
    let deletions = events.iter().filter(|topic| *topic == "/tasks/delete");
    assert_eq!(deletions.count(), 1, "it is deleted once: {events:?}");
}

in_both_dialects! {
    standard_input_arrives_and_ends_when_it_is_closed
    an_added_process_may_have_a_terminal_and_standard_input
    signals_reach_the_process_that_they_are_for
    all_processes_of_a_shared_namespace_can_be_killed_and_end_before_the_first
    what_the_first_process_leaves_behind_ends_with_it
    limits_change_while_a_container_runs
    a_kill_for_want_of_memory_is_told
    what_was_never_started_can_be_deleted_and_nothing_is_added_to_what_has_ended
}
