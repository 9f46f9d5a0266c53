//! The commands that ask a running agent.

use std::io::Write as _;
use std::time::Duration;

use api::agent as wire;
use serde_json::json;
use ttrpc::r#async::Client;
use ttrpc::context::{self, Context};

use super::CommandError;
use crate::args::Global;
use crate::revocations::age;
use crate::settings;

/// Fetches may take long; everything else answers at once.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Connects to the agent.
pub(super) async fn connect(global: &Global) -> Result<wire::AgentClient, CommandError> {
    let socket = settings::socket(global);
    let client = Client::connect(&format!("unix://{}", socket.display())).await;
    client
        .map(wire::AgentClient::new)
        .map_err(|source| CommandError::NoAgent {
            socket: socket.display().to_string(),
            source,
        })
}

fn patience() -> Context {
    context::with_duration(PATIENCE)
}

fn refused(error: ttrpc::Error) -> CommandError {
    match error {
        ttrpc::Error::RpcStatus(status) => CommandError::Refused(status.message),
        other => CommandError::Refused(other.to_string()),
    }
}

/// `nival-agent status`.
pub(super) async fn status(global: &Global, as_json: bool) -> Result<(), CommandError> {
    let client = connect(global).await?;
    let status = client
        .status(patience(), &wire::StatusRequest::default())
        .await
        .map_err(refused)?;
    let mut out = std::io::stdout().lock();
    if as_json {
        writeln!(out, "{:#}", to_json(&status))?;
        return Ok(());
    }
    writeln!(out, "nival-agent {}", status.version)?;
    writeln!(
        out,
        "store: {} paths, {} bytes; fetched since start: {} bytes; peak memory: {} KiB",
        status.store_paths, status.store_bytes, status.bytes_fetched, status.peak_memory_kib
    )?;
    for closure in &status.closures {
        let mounted = if closure.mounted {
            "mounted"
        } else {
            "present"
        };
        writeln!(
            out,
            "{mounted:<8} {} ({} paths, {} bytes)",
            closure.pin, closure.paths, closure.nar_bytes
        )?;
    }
    for lease in &status.leases {
        let container = if lease.container.is_empty() {
            "(sandbox)"
        } else {
            &lease.container
        };
        writeln!(
            out,
            "lease    {}/{} {container}: {}",
            lease.namespace, lease.pod, lease.pin
        )?;
    }
    for list in &status.revocations {
        let confirmed = match age(Some(list.checked_at)) {
            Some(age) if list.checked_at > 0 => format!("confirmed {} s ago", age.as_secs()),
            _ => "never confirmed".to_owned(),
        };
        writeln!(
            out,
            "revoked  {}: {} generations (sequence {}, {confirmed})",
            list.owner, list.revoked, list.sequence
        )?;
    }
    for fetch in &status.fetches {
        writeln!(
            out,
            "fetching {}: {} of {} bytes",
            fetch.pin, fetch.bytes_done, fetch.bytes_total
        )?;
    }
    Ok(())
}

fn to_json(status: &wire::StatusResponse) -> serde_json::Value {
    let closures = status.closures.iter().map(|one| {
        json!({"pin": one.pin, "environment": one.environment, "paths": one.paths, "narBytes": one.nar_bytes, "mounted": one.mounted})
    });
    let leases = status.leases.iter().map(|one| {
        json!({
            "bundle": one.bundle, "namespace": one.namespace, "pod": one.pod,
            "container": one.container, "pin": one.pin, "sandboxId": one.sandbox_id,
        })
    });
    let fetches = status.fetches.iter().map(
        |one| json!({"pin": one.pin, "bytesDone": one.bytes_done, "bytesTotal": one.bytes_total}),
    );
    let revocations = status.revocations.iter().map(|one| {
        json!({"owner": one.owner, "sequence": one.sequence, "revoked": one.revoked, "checkedAt": one.checked_at})
    });
    json!({
        "version": status.version,
        "instance": status.instance,
        "revocations": revocations.collect::<Vec<_>>(),
        "storePaths": status.store_paths,
        "storeBytes": status.store_bytes,
        "bytesFetched": status.bytes_fetched,
        "peakMemoryKib": status.peak_memory_kib,
        "closures": closures.collect::<Vec<_>>(),
        "leases": leases.collect::<Vec<_>>(),
        "fetches": fetches.collect::<Vec<_>>(),
    })
}

/// `nival-agent collect`.
pub(super) async fn collect(global: &Global, dry_run: bool) -> Result<(), CommandError> {
    let client = connect(global).await?;
    let request = wire::CollectRequest {
        dry_run,
        ..Default::default()
    };
    let answer = client
        .collect(patience(), &request)
        .await
        .map_err(refused)?;
    let verb = if dry_run { "would remove" } else { "removed" };
    writeln!(
        std::io::stdout(),
        "{verb} {} store paths, {} bytes",
        answer.paths_removed,
        answer.bytes_freed
    )?;
    Ok(())
}

/// `nival-agent prefetch`.
pub(super) async fn prefetch(
    global: &Global,
    reference: String,
    system: Option<String>,
) -> Result<(), CommandError> {
    let client = connect(global).await?;
    let system = system.unwrap_or_default();
    let request = wire::PrefetchRequest {
        reference,
        system,
        ..Default::default()
    };
    let answer = client
        .prefetch(patience(), &request)
        .await
        .map_err(refused)?;
    let (pin, paths, bytes) = (answer.pin, answer.paths_fetched, answer.bytes_fetched);
    writeln!(
        std::io::stdout(),
        "{pin}: fetched {paths} store paths, {bytes} bytes"
    )?;
    Ok(())
}
