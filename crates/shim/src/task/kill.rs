//! `Kill`: sends a signal to a process, or to all of a container.

use containerd_shim::api::KillRequest;
use rustix::process::Signal;

use crate::error::{Error, Result};
use crate::reaper::Reaper;
use crate::server::Shim;

/// How runtimes say that there is nobody to kill.
const GONE: [&str; 4] = [
    "process already finished",
    "no such process",
    "not running",
    "does not exist",
];

/// Sends a signal.
pub(crate) async fn kill(shim: &Shim, request: &KillRequest) -> Result<()> {
    let container = shim.container(&request.id)?;
    let process = container.process(&request.exec_id)?;
    if process.exit().is_some() || process.dead.is_cancelled() {
        return Err(Error::Finished);
    }
    if !process.is_first() {
        // Its number is known once a start under way is over.
        let _gate = process.gate.lock().await;
        return match process.pid() {
            0 => Err(Error::WrongState {
                verb: "kill",
                state: "created",
            }),
            pid => signal(shim.reaper(), pid, request.signal),
        };
    }
    process.expect(request.signal);
    let killed = container
        .runtime
        .kill(&container.id, request.signal, request.all)
        .await;
    match killed {
        Err(Error::Runtime { message, .. }) if GONE.iter().any(|gone| message.contains(gone)) => {
            Err(Error::Finished)
        }
        other => other,
    }
}

/// Sends a signal to one process.
pub(super) fn signal(reaper: &Reaper, pid: i32, signal: u32) -> Result<()> {
    let number = i32::try_from(signal).ok();
    let Some(named) = number.and_then(Signal::from_named_raw) else {
        return Err(Error::Request {
            field: "signal",
            reason: format!("{signal} is no signal that an added process can be sent"),
        });
    };
    match reaper.signal(pid, named) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::SRCH) => Err(Error::Finished),
        Err(error) => Err(Error::path("signal", format!("/proc/{pid}"))(error.into())),
    }
}
