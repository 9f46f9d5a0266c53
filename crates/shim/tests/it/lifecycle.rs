//! Ordinary containers, from creation to deletion.

use containerd_shim::api::{
    ConnectRequest, PauseRequest, PidsRequest, ResumeRequest, StateRequest, StatsRequest, Status,
};
use serde_json::json;

use crate::bundle::Bundle;
use crate::containerd::{Containerd, in_both_dialects, patience};

const CREATE: &str = "/tasks/create";
const START: &str = "/tasks/start";
const EXIT: &str = "/tasks/exit";
const DELETE: &str = "/tasks/delete";
const EXEC_ADDED: &str = "/tasks/exec-added";
const EXEC_STARTED: &str = "/tasks/exec-started";

async fn a_container_runs_to_its_end_and_its_shim_with_it(containerd: &Containerd) {
    let bundle = Bundle::new(containerd, "ends", "echo out; echo err >&2; exit 7");
    let (mut stdout, mut stderr) = (bundle.reader("stdout"), bundle.reader("stderr"));
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let pid = shim.create(&bundle).await.unwrap();
    assert_eq!(shim.start(&bundle.id, "").await.unwrap(), pid);
    assert_eq!(shim.wait(&bundle.id, "").await, 7);
    stdout.expect("out\n").await;
    stderr.expect("err\n").await;
    let deleted = shim.delete(&bundle.id, "").await.unwrap();
    assert_eq!((deleted.pid, deleted.exit_status), (pid, 7));
    assert!(deleted.exited_at.seconds > 0);
    let gone = shim.delete(&bundle.id, "").await.unwrap_err();
    assert!(gone.contains("does not exist"), "{gone}");
    containerd
        .expect_events(&[CREATE, START, EXIT, DELETE])
        .await;
    shim.shut_down().await;
}

async fn processes_are_added_told_apart_and_end_before_the_first_one(containerd: &Containerd) {
    let bundle = Bundle::new(containerd, "exec", "sleep 600");
    for name in ["quick-stdout", "slow-stdout"] {
        bundle.make_pipe(name);
    }
    let mut stdout = bundle.reader("quick-stdout");
    let _slow = bundle.reader("slow-stdout");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let pid = shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    let process = |script: &str| json!({"args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin", "A=b"], "user": {"uid": 5, "gid": 6}});

    shim.exec(&bundle, "quick", &process("echo $A; id -u; exit 3"))
        .await
        .unwrap();
    let again = shim
        .exec(&bundle, "quick", &process("true"))
        .await
        .unwrap_err();
    assert!(again.contains("already"), "{again}");
    shim.start(&bundle.id, "quick").await.unwrap();
    assert_eq!(shim.wait(&bundle.id, "quick").await, 3);
    assert!(stdout.expect("5\n").await.starts_with("b\n"));
    shim.delete(&bundle.id, "quick").await.unwrap();

    shim.exec(&bundle, "slow", &process("sleep 600"))
        .await
        .unwrap();
    let slow = shim.start(&bundle.id, "slow").await.unwrap();
    let request = PidsRequest {
        id: bundle.id.clone(),
        ..PidsRequest::default()
    };
    let pids = shim
        .task
        .pids(patience(), &request)
        .await
        .unwrap()
        .processes;
    let pids: Vec<u32> = pids.iter().map(|process| process.pid).collect();
    assert!(pids.contains(&pid) && pids.contains(&slow), "{pids:?}");
    let early = shim.delete(&bundle.id, "").await.unwrap_err();
    assert_eq!(early, "cannot delete a running process");

    shim.kill(&bundle.id, "", 9).await.unwrap();
    assert_eq!(shim.wait(&bundle.id, "").await, 137);
    let late = shim.kill(&bundle.id, "", 9).await.unwrap_err();
    assert_eq!(late, "process already finished");
    assert_eq!(shim.wait(&bundle.id, "slow").await, 137);
    shim.delete(&bundle.id, "slow").await.unwrap();
    shim.delete(&bundle.id, "").await.unwrap();
    containerd
        .expect_events(&[
            CREATE,
            START,
            EXEC_ADDED,
            EXEC_STARTED,
            EXIT,
            EXEC_ADDED,
            EXEC_STARTED,
            EXIT,
            EXIT,
            DELETE,
        ])
        .await;
    shim.shut_down().await;
}

async fn a_terminal_is_one_and_has_a_size(containerd: &Containerd) {
    let mut bundle = Bundle::new(containerd, "tty", "tty; read -r line; stty size; sleep 600");
    bundle.terminal = true;
    bundle.make_pipe("stdin");
    let bundle = bundle.changed(|spec| spec["process"]["terminal"] = json!(true));
    let mut stdout = bundle.reader("stdout");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create(&bundle).await.unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    stdout.expect("/dev/pts/").await;
    let size = containerd_shim::api::ResizePtyRequest {
        id: bundle.id.clone(),
        width: 91,
        height: 17,
        ..Default::default()
    };
    shim.task.resize_pty(patience(), &size).await.unwrap();
    let mut stdin = fs_err::OpenOptions::new()
        .write(true)
        .open(bundle.pipe("stdin"))
        .unwrap();
    std::io::Write::write_all(&mut stdin, b"go\n").unwrap();
    stdout.expect("17 91").await;
    shim.kill(&bundle.id, "", 9).await.unwrap();
    shim.wait(&bundle.id, "").await;
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

async fn state_pause_and_usage_are_told(containerd: &Containerd) {
    let bundle = Bundle::new(containerd, "state", "sleep 600");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let pid = shim.create(&bundle).await.unwrap();
    let status = async || {
        let request = StateRequest {
            id: bundle.id.clone(),
            ..StateRequest::default()
        };
        shim.task
            .state(patience(), &request)
            .await
            .unwrap()
            .status
            .unwrap()
    };
    assert_eq!(status().await, Status::CREATED);
    shim.start(&bundle.id, "").await.unwrap();
    assert_eq!(status().await, Status::RUNNING);
    let pause = PauseRequest {
        id: bundle.id.clone(),
        ..PauseRequest::default()
    };
    shim.task.pause(patience(), &pause).await.unwrap();
    assert_eq!(status().await, Status::PAUSED);
    let resume = ResumeRequest {
        id: bundle.id.clone(),
        ..ResumeRequest::default()
    };
    shim.task.resume(patience(), &resume).await.unwrap();
    assert_eq!(status().await, Status::RUNNING);
    let request = StatsRequest {
        id: bundle.id.clone(),
        ..StatsRequest::default()
    };
    let stats = shim
        .task
        .stats(patience(), &request)
        .await
        .unwrap()
        .stats
        .unwrap();
    assert!(
        stats.type_url.starts_with("io.containerd.cgroups."),
        "{}",
        stats.type_url
    );
    if stats.type_url.contains(".v1.") {
        use containerd_shim::protos::cgroups::metrics::Metrics;
        let metrics = <Metrics as protobuf::Message>::parse_from_bytes(&stats.value).unwrap();
        assert!(
            metrics.cpu.usage.total > 0 && metrics.memory.usage.usage > 0,
            "{metrics}"
        );
    }
    let request = ConnectRequest {
        id: bundle.id.clone(),
        ..ConnectRequest::default()
    };
    let connected = shim.task.connect(patience(), &request).await.unwrap();
    assert_eq!(connected.task_pid, pid);
    shim.kill(&bundle.id, "", 15).await.ok();
    shim.kill(&bundle.id, "", 9).await.ok();
    shim.wait(&bundle.id, "").await;
    shim.delete(&bundle.id, "").await.unwrap();
    assert!(
        !std::path::Path::new(&format!("/proc/{pid}")).exists(),
        "a zombie is left"
    );
    shim.shut_down().await;
}

in_both_dialects! {
    a_container_runs_to_its_end_and_its_shim_with_it
    processes_are_added_told_apart_and_end_before_the_first_one
    a_terminal_is_one_and_has_a_size
    state_pause_and_usage_are_told
}
