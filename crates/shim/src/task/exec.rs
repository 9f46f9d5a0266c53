//! `Exec`: adds a process to a container; `Start` runs it.

use std::sync::{Arc, PoisonError};

use containerd_shim::api::ExecProcessRequest;
use containerd_shim::asynchronous::io::Stdio;
use containerd_shim::protos::events::task::TaskExecAdded;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::process::Process;
use crate::server::Shim;
use crate::spec;

/// Adds a process.
pub(crate) fn exec(shim: &Shim, request: &ExecProcessRequest) -> Result<()> {
    let container = shim.container(&request.id)?;
    let exec_id = &request.exec_id;
    if exec_id.is_empty() || exec_id.contains('/') || exec_id == "init" {
        return Err(Error::Request {
            field: "exec_id",
            reason: format!("{exec_id:?}"),
        });
    }
    let invalid = |reason: String| Error::Request {
        field: "spec",
        reason,
    };
    let bytes = request.spec.as_ref().map_or(&[][..], |any| &any.value);
    let mut spec: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
    {
        let environment = container
            .environment
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(environment) = environment.as_ref() {
            let mut variables = spec::strings(spec.get("env"));
            environment.apply(&mut variables)?;
            spec.insert("env".into(), json!(variables));
        }
    }
    spec.insert("terminal".into(), json!(request.terminal));
    let stdio = Stdio::new(
        &request.stdin,
        &request.stdout,
        &request.stderr,
        request.terminal,
    );
    let process = Process::new(&container.id, exec_id, stdio, Some(Value::Object(spec)));
    {
        let mut added = container.added();
        if added.contains_key(exec_id) {
            return Err(Error::ProcessExists {
                container: container.id.clone(),
                exec: exec_id.clone(),
            });
        }
        added.insert(exec_id.clone(), Arc::new(process));
    }
    container.publish(&TaskExecAdded {
        container_id: container.id.clone(),
        exec_id: exec_id.clone(),
        ..TaskExecAdded::default()
    });
    Ok(())
}
