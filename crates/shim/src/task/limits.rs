//! What a running container may use and does use: pause, resume, update, stats, pids.

use std::sync::atomic::Ordering;

use containerd_shim::api::{StatsResponse, UpdateTaskRequest};
use containerd_shim::protos::events::task::{TaskPaused, TaskResumed};
use containerd_shim::protos::shim::oci::ProcessDetails;
use containerd_shim::protos::types::task::ProcessInfo;
use serde_json::Value;

use crate::any;
use crate::error::{Error, Result};
use crate::server::Shim;
use crate::stdio::Nothing;

/// Freezes a container's processes.
pub(crate) async fn pause(shim: &Shim, id: &str) -> Result<()> {
    let container = shim.container(id)?;
    container.runtime.run("pause", &[id]).await?;
    container.paused.store(true, Ordering::Release);
    container.publish(&TaskPaused {
        container_id: id.to_owned(),
        ..TaskPaused::default()
    });
    Ok(())
}

/// Lets a container's processes go on.
pub(crate) async fn resume(shim: &Shim, id: &str) -> Result<()> {
    let container = shim.container(id)?;
    container.runtime.run("resume", &[id]).await?;
    container.paused.store(false, Ordering::Release);
    container.publish(&TaskResumed {
        container_id: id.to_owned(),
        ..TaskResumed::default()
    });
    Ok(())
}

/// Changes a container's limits.
pub(crate) async fn update(shim: &Shim, request: &UpdateTaskRequest) -> Result<()> {
    let container = shim.container(&request.id)?;
    let bytes = request.resources.as_ref().map_or(&[][..], |any| &any.value);
    let resources: Value = serde_json::from_slice(bytes).map_err(|error| Error::Request {
        field: "resources",
        reason: error.to_string(),
    })?;
    let runtime = &container.runtime;
    let arguments = [(&request.id).into()];
    runtime
        .run_with_json("update", &resources, "--resources", &arguments, &Nothing)
        .await
}

/// Returns what a container has used.
pub(crate) fn stats(shim: &Shim, id: &str) -> Result<StatsResponse> {
    let container = shim.container(id)?;
    Ok(StatsResponse {
        stats: container.cgroup.stats().into(),
        ..StatsResponse::default()
    })
}

/// Returns a container's processes, with the names of the added ones.
pub(crate) async fn pids(shim: &Shim, id: &str) -> Result<Vec<ProcessInfo>> {
    let container = shim.container(id)?;
    let printed = container
        .runtime
        .run("ps", &["--format", "json", id])
        .await?;
    // runc prints `null` for an empty list.
    let pids: Option<Vec<u32>> =
        serde_json::from_str(printed.trim()).map_err(|error| Error::Runtime {
            verb: "ps",
            message: format!("it printed no list of processes: {error}"),
        })?;
    let added = container.added();
    let info = |pid: u32| {
        let process = added.values().find(|process| process.unsigned_pid() == pid);
        let details = process.and_then(|process| {
            let details = ProcessDetails {
                exec_id: process.exec_id.clone(),
                ..ProcessDetails::default()
            };
            any::pack("containerd.runc.v1", &details).ok()
        });
        ProcessInfo {
            pid,
            info: details.into(),
            ..ProcessInfo::default()
        }
    };
    Ok(pids.unwrap_or_default().into_iter().map(info).collect())
}
