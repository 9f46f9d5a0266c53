//! A container of the pod and its processes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use containerd_shim::event::Event;
use containerd_shim::protos::events::task::TaskExit;
use log::debug;
use protobuf::Message;
use rustix::mount::{UnmountFlags, unmount};
use tokio::sync::oneshot;

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::hook::Listener;
use crate::nival::ExecEnvironment;
use crate::options::RuntimeOptions;
use crate::process::{KILL, Process, timestamp};
use crate::publisher::Publisher;
use crate::reaper::Exit;
use crate::runtime::Runtime;
use crate::server::Busy;

/// How long added processes may outlive the first one before its end is told without theirs.
const STRAGGLERS: Duration = Duration::from_secs(10);

/// A container, from its creation to its deletion.
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    pub(crate) options: RuntimeOptions,
    pub(crate) runtime: Runtime,
    pub(crate) first: Arc<Process>,
    pub(crate) cgroup: Cgroup,
    pub(crate) shares_processes: bool,
    /// Whether the agent holds a lease for the bundle.
    pub(crate) leased: bool,
    pub(crate) paused: AtomicBool,
    pub(crate) environment: Mutex<Option<ExecEnvironment>>,
    /// The environment's pin and the pipe for its init's report, until the container is started.
    pub(crate) hook: Mutex<Option<(String, Listener)>>,
    pub(crate) added: Mutex<HashMap<String, Arc<Process>>>,
    pub(crate) publisher: Publisher,
    /// Held while the container is deleted.
    pub(crate) deletion: tokio::sync::Mutex<()>,
    /// Keeps the shim from ending, until the container is deleted.
    pub(crate) busy: Mutex<Option<Busy>>,
}

impl Container {
    pub(crate) fn added(&self) -> MutexGuard<'_, HashMap<String, Arc<Process>>> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the first process for an empty name, else the added one with this name.
    pub(crate) fn process(&self, exec_id: &str) -> Result<Arc<Process>> {
        if exec_id.is_empty() {
            return Ok(self.first.clone());
        }
        let added = self.added().get(exec_id).cloned();
        added.ok_or_else(|| Error::NoProcess {
            container: self.id.clone(),
            exec: exec_id.to_owned(),
        })
    }

    pub(crate) fn publish<E: Event + Message>(&self, event: &E) {
        self.publisher.publish(event);
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Waits for the end of a process in the background, and tells it in its turn.
    pub(crate) fn watch(self: &Arc<Self>, process: Arc<Process>, exit: oneshot::Receiver<Exit>) {
        let container = self.clone();
        tokio::spawn(async move {
            // The sender goes away only with the shim itself.
            let Ok(exit) = exit.await else { return };
            process.end(exit);
            if process.is_first() {
                container.end_others().await;
            }
            let _gate = process.gate.lock().await;
            process.set_exit(exit);
            container.publish(&TaskExit {
                container_id: container.id.clone(),
                id: if process.is_first() {
                    container.id.clone()
                } else {
                    process.exec_id.clone()
                },
                pid: process.unsigned_pid(),
                exit_status: exit.status,
                exited_at: Some(timestamp(Some(exit))).into(),
                ..TaskExit::default()
            });
        });
    }

    /// Sees to it that the added processes end, and are told to have ended, before the first one is.
    async fn end_others(&self) {
        if self.shares_processes {
            // Fails when the first process was the last one.
            let killed = self.runtime.kill(&self.id, KILL, true).await;
            debug!("killing what is left of {}: {killed:?}", self.id);
        }
        let added: Vec<Arc<Process>> = self.added().values().cloned().collect();
        let running = added.iter().filter(|process| process.pid() != 0);
        let ends = futures::future::join_all(running.map(|process| process.wait()));
        tokio::time::timeout(STRAGGLERS, ends).await.ok();
    }

    /// Detaches the root filesystem.
    pub(crate) fn unmount(&self) {
        unmount_all(&self.rootfs);
    }
}

/// Detaches whatever is mounted at a path, however often.
pub(crate) fn unmount_all(path: &std::path::Path) {
    while unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
}
