//! `State`, `Wait` and `Connect`: what is known of a process.

use containerd_shim::api::{ConnectResponse, StateResponse, Status, WaitResponse};
use protobuf::EnumOrUnknown;

use crate::error::{Error, Result};
use crate::process::timestamp;
use crate::server::Shim;

/// Returns what a process is doing.
pub(crate) fn state(shim: &Shim, id: &str, exec_id: &str) -> Result<StateResponse> {
    let container = shim.container(id)?;
    let process = container.process(exec_id)?;
    let mut status = process.status();
    if status == Status::RUNNING && container.is_paused() {
        status = Status::PAUSED;
    }
    let exit = process.exit();
    Ok(StateResponse {
        id: if process.is_first() {
            container.id.clone()
        } else {
            process.exec_id.clone()
        },
        bundle: container.bundle.to_string_lossy().into_owned(),
        pid: process.unsigned_pid(),
        status: EnumOrUnknown::new(status),
        stdin: process.stdio.stdin.clone(),
        stdout: process.stdio.stdout.clone(),
        stderr: process.stdio.stderr.clone(),
        terminal: process.stdio.terminal,
        exit_status: exit.map_or(0, |exit| exit.status),
        exited_at: Some(timestamp(exit)).into(),
        exec_id: process.exec_id.clone(),
        ..StateResponse::default()
    })
}

/// Waits for the end of a process.
pub(crate) async fn wait(shim: &Shim, id: &str, exec_id: &str) -> Result<WaitResponse> {
    let process = shim.container(id)?.process(exec_id)?;
    let exit = process.wait().await.ok_or(Error::ShuttingDown)?;
    Ok(WaitResponse {
        exit_status: exit.status,
        exited_at: Some(timestamp(Some(exit))).into(),
        ..WaitResponse::default()
    })
}

/// Returns the numbers of the shim and of a container's first process.
pub(crate) fn connect(shim: &Shim, id: &str) -> ConnectResponse {
    ConnectResponse {
        shim_pid: std::process::id(),
        task_pid: shim
            .container(id)
            .map_or(0, |container| container.first.unsigned_pid()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..ConnectResponse::default()
    }
}
