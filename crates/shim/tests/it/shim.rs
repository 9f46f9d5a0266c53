//! A shim that runs, as containerd sees it: its task service, verb by verb.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use containerd_shim::api::{
    ConnectRequest, CreateTaskRequest, DeleteRequest, DeleteResponse, ExecProcessRequest,
    KillRequest, Options, ShutdownRequest, StartRequest, StateRequest, Status, WaitRequest,
};
use containerd_shim::protos::shim_async::Client;
use fs_err as fs;
use protobuf::well_known_types::any::Any;
use rustix::process::{Pid, Signal, kill_process};
use ttrpc::context::with_duration;

use crate::bundle::Bundle;
use crate::containerd::{DEADLINE, is_socket, message, options_any, patience, until};
use crate::task::Task;

/// A running shim.
pub(crate) struct Shim {
    pub(crate) task: Task,
    pub(crate) address: String,
    pub(crate) options: Options,
}

impl Shim {
    pub(crate) async fn connect(address: &str, service: &'static str, root: PathBuf) -> Self {
        let client = Client::connect(address).await.unwrap();
        Self {
            task: Task::new(client, service),
            address: address.to_owned(),
            options: Options {
                root: root.display().to_string(),
                ..Options::default()
            },
        }
    }

    pub(crate) fn socket(&self) -> &Path {
        Path::new(self.address.strip_prefix("unix://").unwrap())
    }

    pub(crate) async fn create(&self, bundle: &Bundle) -> Result<u32, String> {
        self.create_with(bundle, options_any(&self.options)).await
    }

    pub(crate) async fn create_with(&self, bundle: &Bundle, options: Any) -> Result<u32, String> {
        self.create_within(DEADLINE, bundle, options).await
    }

    pub(crate) async fn create_within(
        &self,
        deadline: Duration,
        bundle: &Bundle,
        options: Any,
    ) -> Result<u32, String> {
        let request = CreateTaskRequest {
            id: bundle.id.clone(),
            bundle: bundle.path.display().to_string(),
            stdin: bundle.pipe("stdin"),
            stdout: bundle.pipe("stdout"),
            stderr: bundle.pipe("stderr"),
            terminal: bundle.terminal,
            options: Some(options).into(),
            rootfs: bundle.mounts.clone(),
            ..CreateTaskRequest::default()
        };
        let created = self.task.create(with_duration(deadline), &request).await;
        created.map(|response| response.pid).map_err(message)
    }

    pub(crate) async fn start(&self, id: &str, exec_id: &str) -> Result<u32, String> {
        self.start_within(DEADLINE, id, exec_id).await
    }

    pub(crate) async fn start_within(
        &self,
        deadline: Duration,
        id: &str,
        exec_id: &str,
    ) -> Result<u32, String> {
        let request = StartRequest {
            id: id.into(),
            exec_id: exec_id.into(),
            ..StartRequest::default()
        };
        let started = self.task.start(with_duration(deadline), &request).await;
        started.map(|response| response.pid).map_err(message)
    }

    pub(crate) async fn exec(
        &self,
        bundle: &Bundle,
        exec_id: &str,
        process: &serde_json::Value,
    ) -> Result<(), String> {
        self.add(bundle, exec_id, process, false).await
    }

    pub(crate) async fn exec_on_terminal(
        &self,
        bundle: &Bundle,
        exec_id: &str,
        process: &serde_json::Value,
    ) -> Result<(), String> {
        self.add(bundle, exec_id, process, true).await
    }

    async fn add(
        &self,
        bundle: &Bundle,
        exec_id: &str,
        process: &serde_json::Value,
        terminal: bool,
    ) -> Result<(), String> {
        let request = ExecProcessRequest {
            id: bundle.id.clone(),
            exec_id: exec_id.into(),
            terminal,
            stdin: bundle.pipe(&format!("{exec_id}-stdin")),
            stdout: bundle.pipe(&format!("{exec_id}-stdout")),
            spec: Some(Any {
                type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".into(),
                value: serde_json::to_vec(process).unwrap(),
                ..Any::default()
            })
            .into(),
            ..ExecProcessRequest::default()
        };
        let added = self.task.exec(patience(), &request).await;
        added.map(drop).map_err(message)
    }

    pub(crate) async fn status(&self, id: &str, exec_id: &str) -> Result<Status, String> {
        let request = StateRequest {
            id: id.into(),
            exec_id: exec_id.into(),
            ..StateRequest::default()
        };
        let state = self.task.state(patience(), &request).await;
        state.map(|state| state.status.unwrap()).map_err(message)
    }

    /// Waits until a process is in this state.
    pub(crate) async fn until_status(&self, id: &str, exec_id: &str, wanted: Status) {
        let begun = Instant::now();
        while self.status(id, exec_id).await != Ok(wanted) {
            assert!(begun.elapsed() < DEADLINE, "waited in vain for {wanted:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns the number of the shim's process.
    pub(crate) async fn pid(&self) -> Pid {
        let request = ConnectRequest::default();
        let connected = self.task.connect(patience(), &request).await.unwrap();
        Pid::from_raw(i32::try_from(connected.shim_pid).unwrap()).unwrap()
    }

    /// Kills the shim itself as `kill -9` does, and waits until it listens no more.
    pub(crate) async fn die(&self) {
        let pid = self.pid().await;
        kill_process(pid, Signal::KILL).unwrap();
        let status = format!("/proc/{}/status", pid.as_raw_nonzero());
        until("the shim to be gone", || {
            let status = fs::read_to_string(&status).unwrap_or_default();
            status.is_empty() || status.contains("State:\tZ")
        })
        .await;
    }

    pub(crate) async fn wait(&self, id: &str, exec_id: &str) -> u32 {
        self.waited(id, exec_id).await.unwrap()
    }

    /// Waits for the end of a process that may be unknown.
    pub(crate) async fn waited(&self, id: &str, exec_id: &str) -> Result<u32, String> {
        let request = WaitRequest {
            id: id.into(),
            exec_id: exec_id.into(),
            ..WaitRequest::default()
        };
        let ended = self.task.wait(patience(), &request).await;
        ended.map(|ended| ended.exit_status).map_err(message)
    }

    pub(crate) async fn kill(&self, id: &str, exec_id: &str, signal: u32) -> Result<(), String> {
        let request = KillRequest {
            id: id.into(),
            exec_id: exec_id.into(),
            signal,
            ..KillRequest::default()
        };
        let killed = self.task.kill(patience(), &request).await;
        killed.map(drop).map_err(message)
    }

    pub(crate) async fn delete(&self, id: &str, exec_id: &str) -> Result<DeleteResponse, String> {
        let request = DeleteRequest {
            id: id.into(),
            exec_id: exec_id.into(),
            ..DeleteRequest::default()
        };
        self.task
            .delete(patience(), &request)
            .await
            .map_err(message)
    }

    /// Asks the shim to end, and waits until its socket is gone. No process that it has is dead and not waited for.
    pub(crate) async fn shut_down(&self) {
        let pid = self.pid().await;
        until("the shim to wait for its children", || !has_zombies(pid)).await;
        let request = ShutdownRequest::default();
        // The connection may close before the answer comes.
        self.task.shutdown(patience(), &request).await.ok();
        until("the shim to end", || !is_socket(self.socket())).await;
    }
}

fn has_zombies(parent: Pid) -> bool {
    let status = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("status")).ok();
    let parent = format!("\nPPid:\t{}\n", parent.as_raw_nonzero());
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(status);
    all.filter(|status| status.contains(&parent))
        .any(|status| status.contains("\nState:\tZ"))
}
