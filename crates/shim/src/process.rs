//! A process of a container: its first one, or one that was added.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use containerd_shim::api::Status;
use containerd_shim::asynchronous::io::{IoTasks, Pty, Stdio};
use protobuf::well_known_types::timestamp::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::reaper::Exit;

/// The number of the signal, as requests and runtimes write it.
pub(crate) const KILL: u32 = 9;
/// The status of a process that this signal ended, as shells write it.
const KILLED: u32 = 128 + KILL;

/// A process, from its creation to its deletion.
pub(crate) struct Process {
    pub(crate) container: String,
    /// Empty for the container's first process.
    pub(crate) exec_id: String,
    pub(crate) stdio: Stdio,
    /// What an added process runs.
    pub(crate) spec: Option<Value>,
    /// Held while the process is started, so that its end is told after its start.
    pub(crate) gate: tokio::sync::Mutex<()>,
    /// Set when the kernel reports the end, before anybody is told.
    pub(crate) dead: CancellationToken,
    state: Mutex<State>,
    exit: watch::Sender<Option<Exit>>,
}

#[derive(Default)]
struct State {
    pid: i32,
    started: bool,
    deleted: bool,
    /// Whether a caller wanted it killed.
    condemned: bool,
    end: Option<Exit>,
    io: IoTasks,
    terminal: Option<Pty>,
}

impl Process {
    pub(crate) fn new(container: &str, exec_id: &str, stdio: Stdio, spec: Option<Value>) -> Self {
        Self {
            container: container.to_owned(),
            exec_id: exec_id.to_owned(),
            stdio,
            spec,
            gate: tokio::sync::Mutex::default(),
            dead: CancellationToken::new(),
            state: Mutex::default(),
            exit: watch::Sender::new(None),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_first(&self) -> bool {
        self.exec_id.is_empty()
    }

    pub(crate) fn pid(&self) -> i32 {
        self.state().pid
    }

    pub(crate) fn unsigned_pid(&self) -> u32 {
        self.pid().unsigned_abs()
    }

    pub(crate) fn set_pid(&self, pid: i32) {
        self.state().pid = pid;
    }

    pub(crate) fn set_started(&self) {
        self.state().started = true;
    }

    /// Keeps the process from being started later.
    pub(crate) fn set_deleted(&self) {
        self.state().deleted = true;
    }

    pub(crate) fn set_terminal(&self, terminal: Option<Pty>) {
        self.state().terminal = terminal;
    }

    /// The tasks that copy its streams.
    pub(crate) fn io(&self) -> IoTasks {
        self.state().io.clone()
    }

    /// Stops its streams and lets go of its terminal.
    pub(crate) async fn close_streams(&self) {
        self.state().terminal = None;
        self.io().shutdown().await;
    }

    pub(crate) fn terminal(&self) -> Option<Pty> {
        self.state().terminal.clone()
    }

    /// Takes note of a signal that a caller sends.
    pub(crate) fn expect(&self, signal: u32) {
        if signal == KILL {
            self.state().condemned = true;
        }
    }

    /// Takes note of the end that the kernel reports. Who waits is told later.
    pub(crate) fn end(&self, exit: Exit) {
        self.state().end = Some(exit);
        self.dead.cancel();
    }

    /// Whether it ended by a kill that no caller asked for.
    pub(crate) fn was_killed_unasked(&self) -> bool {
        let state = self.state();
        let killed = state.end.is_some_and(|end| end.status == KILLED);
        killed && !state.condemned
    }

    pub(crate) fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Tells everybody who waits.
    pub(crate) fn set_exit(&self, exit: Exit) {
        self.exit.send_replace(Some(exit));
    }

    /// Waits for its end.
    pub(crate) async fn wait(&self) -> Option<Exit> {
        let mut exits = self.exit.subscribe();
        let exit = exits.wait_for(Option::is_some).await;
        exit.ok().and_then(|exit| *exit)
    }

    pub(crate) fn status(&self) -> Status {
        let state = self.state();
        if self.exit().is_some() {
            Status::STOPPED
        } else if state.started {
            Status::RUNNING
        } else {
            Status::CREATED
        }
    }

    /// Fails unless the process may be started.
    pub(crate) fn check_startable(&self) -> Result<()> {
        let state = match self.status() {
            _ if self.state().deleted => "deleted",
            Status::CREATED => return Ok(()),
            Status::STOPPED => "stopped",
            _ => "running",
        };
        Err(Error::WrongState {
            verb: "start",
            state,
        })
    }

    /// Fails while the process runs.
    pub(crate) fn check_deletable(&self) -> Result<()> {
        if self.status() == Status::RUNNING {
            return Err(Error::WrongState {
                verb: "delete",
                state: "running",
            });
        }
        Ok(())
    }
}

/// Returns a time as containerd writes it; zero where there is none.
pub(crate) fn timestamp(exit: Option<Exit>) -> Timestamp {
    let since = exit.and_then(|exit| elapsed(exit.at)).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: since.subsec_nanos().cast_signed(),
        ..Timestamp::default()
    }
}

fn elapsed(at: SystemTime) -> Option<std::time::Duration> {
    at.duration_since(UNIX_EPOCH).ok()
}
