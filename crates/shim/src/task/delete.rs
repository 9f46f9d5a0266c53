//! `Delete`: forgets a process that has ended, and a container with its first one.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use containerd_shim::api::DeleteResponse;
use containerd_shim::protos::events::task::TaskDelete;
use fs_err as fs;
use log::warn;

use super::release::release;
use crate::container::Container;
use crate::error::{Error, Result};
use crate::process::{Process, timestamp};
use crate::reaper::Exit;
use crate::server::Shim;

/// How long a container that never ran may take to end.
const END: Duration = Duration::from_secs(5);
/// How long the answer waits for the lease's end, which an agent that hangs does not tell.
const MOMENT: Duration = Duration::from_millis(500);

/// Deletes a process that does not run.
pub(crate) async fn delete(shim: &Shim, id: &str, exec_id: &str) -> Result<DeleteResponse> {
    if exec_id.is_empty() {
        shim.end_creation(id).await;
        let container = shim.container(id)?;
        delete_container(shim, &container).await?;
        return Ok(response(&container.first));
    }
    let container = shim.container(id)?;
    let process = container.process(exec_id)?;
    // A start under way is waited for: what it makes must not be forgotten.
    let _gate = process.gate.lock().await;
    if !Arc::ptr_eq(&container.process(exec_id)?, &process) {
        // Another deletion was quicker, and the name is another process's by now.
        return Err(Error::NoProcess {
            container: container.id.clone(),
            exec: exec_id.to_owned(),
        });
    }
    process.check_deletable()?;
    process.close_streams().await;
    if process.exit().is_none() {
        // It was never started, and somebody may wait for its end.
        process.set_exit(Exit::never_ran());
    }
    container.added().remove(exec_id);
    let pid_file = container.bundle.join(format!("{exec_id}.pid"));
    // Absent where the process was never started.
    fs::remove_file(pid_file).ok();
    Ok(response(&process))
}

/// Deletes a container whose first process does not run.
pub(super) async fn delete_container(shim: &Shim, container: &Container) -> Result<()> {
    let process = &container.first;
    process.check_deletable()?;
    let _alone = container.deletion.lock().await;
    // Another deletion may have been quicker.
    shim.container(&container.id)?;
    {
        // Nor is it started behind this one's back.
        let _gate = process.gate.lock().await;
        process.check_deletable()?;
        process.set_deleted();
    }
    let deleted = container.runtime.run("delete", &[&container.id]).await;
    match deleted {
        // Somebody else has deleted it, or this is the second attempt.
        Err(Error::Runtime { message, .. }) if message.contains("does not exist") => {}
        other => drop(other?),
    }
    // The runtime has ended a first process that only waited for its start.
    if tokio::time::timeout(END, process.wait()).await.is_err() {
        warn!("the first process of {} has not ended", container.id);
    }
    process.close_streams().await;
    container.unmount();
    let response = response(process);
    container.publish(&TaskDelete {
        container_id: container.id.clone(),
        pid: response.pid,
        exit_status: response.exit_status,
        exited_at: response.exited_at.clone(),
        ..TaskDelete::default()
    });
    // After the event, so that a new container of this name is told after it.
    let busy = container
        .busy
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(busy) = busy {
        busy.leave();
        if container.leased {
            let released = release(busy, &container.options, &container.bundle);
            tokio::time::timeout(MOMENT, released).await.ok();
        }
    }
    Ok(())
}

fn response(process: &Process) -> DeleteResponse {
    let exit = process.exit();
    DeleteResponse {
        pid: process.unsigned_pid(),
        exit_status: exit.map_or(0, |exit| exit.status),
        exited_at: Some(timestamp(exit)).into(),
        ..DeleteResponse::default()
    }
}
