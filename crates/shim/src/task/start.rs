//! `Start`: lets a created container run, or runs an added process.

use std::ffi::OsString;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use containerd_shim::protos::events::task::{TaskExecStarted, TaskOOM, TaskStart};
use log::debug;

use super::create::read_pid;
use super::left;
use crate::cgroup::watch_out_of_memory;
use crate::container::Container;
use crate::error::{Error, Result};
use crate::hook::HookError;
use crate::process::{KILL, Process};
use crate::reaper::Exit;
use crate::server::Shim;
use crate::stdio::Wiring;

/// How long a container may take to end after its hook has failed.
const HOOK_END: Duration = Duration::from_secs(2);

/// Starts a process and returns its number.
pub(crate) async fn start(
    shim: &Shim,
    id: &str,
    exec_id: &str,
    until: Option<Instant>,
) -> Result<u32> {
    let container = shim.container(id)?;
    let process = container.process(exec_id)?;
    let _gate = process.gate.lock().await;
    process.check_startable()?;
    if process.is_first() {
        start_container(&container, until).await?;
    } else if let Err(error) = start_added(shim, &container, &process).await {
        if process.pid() == 0 {
            // There will be no end to wait for, and nothing to start again.
            process.set_exit(Exit::never_ran());
        }
        return Err(error);
    }
    Ok(process.unsigned_pid())
}

async fn start_container(container: &Arc<Container>, until: Option<Instant>) -> Result<()> {
    let runtime = &container.runtime;
    // Before the start, since a short container takes the files with it.
    let (notified, first) = (container.clone(), container.first.clone());
    tokio::spawn(watch_out_of_memory(
        container.cgroup.clone(),
        container.first.dead.clone(),
        move || first.was_killed_unasked(),
        move || {
            notified.publish(&TaskOOM {
                container_id: notified.id.clone(),
                ..TaskOOM::default()
            });
        },
    ));
    runtime.run("start", &[&container.id]).await?;
    container.first.set_started();
    container.publish(&TaskStart {
        container_id: container.id.clone(),
        pid: container.first.unsigned_pid(),
        ..TaskStart::default()
    });
    let hook = container
        .hook
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let Some((pin, listener)) = hook else {
        return Ok(());
    };
    let ended = container.first.dead.cancelled();
    match listener.wait(&pin, left(until), ended).await {
        Ok(changes) => {
            let mut environment = container
                .environment
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *environment = environment
                .take()
                .map(|environment| environment.with_changes(changes));
            Ok(())
        }
        Err(error) => {
            // It ends on its own when its hook failed, and not at all when the hook hangs.
            let hangs = matches!(error, HookError::Slow { .. });
            let ended = container.first.dead.cancelled();
            if hangs || tokio::time::timeout(HOOK_END, ended).await.is_err() {
                container.first.expect(KILL);
                let killed = runtime.kill(&container.id, KILL, false).await;
                debug!("killing {} after its hook: {killed:?}", container.id);
            }
            Err(error.into())
        }
    }
}

async fn start_added(
    shim: &Shim,
    container: &Arc<Container>,
    process: &Arc<Process>,
) -> Result<()> {
    if container.first.dead.is_cancelled() {
        return Err(Error::NotRunning {
            container: container.id.clone(),
        });
    }
    let runtime = &container.runtime;
    let spec = process.spec.as_ref().ok_or_else(|| Error::Request {
        field: "spec",
        reason: "it is missing".to_owned(),
    })?;
    let wiring = Wiring::new(&process.stdio, &container.options)?;
    let pid_file = container.bundle.join(format!("{}.pid", process.exec_id));
    let mut arguments: Vec<OsString> = vec![
        "--pid-file".into(),
        pid_file.as_os_str().to_owned(),
        "--detach".into(),
    ];
    if let Some(socket) = wiring.console() {
        arguments.extend(["--console-socket".into(), socket.as_os_str().to_owned()]);
    }
    arguments.push((&container.id).into());
    let expectation = shim.reaper().expect();
    let driver = wiring.driver();
    runtime
        .run_with_json("exec", spec, "--process", &arguments, driver.as_ref())
        .await?;
    drop(driver);
    let pid = read_pid(&pid_file)?;
    process.set_pid(pid);
    process.set_started();
    let exit = expectation.claim(pid);
    let attached = wiring.attach(&process.stdio, &process.io()).await;
    container.publish(&TaskExecStarted {
        container_id: container.id.clone(),
        exec_id: process.exec_id.clone(),
        pid: pid.unsigned_abs(),
        ..TaskExecStarted::default()
    });
    container.watch(process.clone(), exit);
    match attached {
        Ok(terminal) => {
            process.set_terminal(terminal);
            Ok(())
        }
        Err(error) => {
            super::kill::signal(shim.reaper(), pid, KILL).ok();
            Err(error)
        }
    }
}
