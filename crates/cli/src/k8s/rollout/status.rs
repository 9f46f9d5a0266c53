//! `rollout status`: waits until a workload's pods run what its template says, or until that is known to fail.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;
use workload::deadline::{self, DeadlineError};
use workload::rollout::Phase;

use super::progress::{self, Progress};
use crate::context::Context;
use crate::error::{CommandError, Outcome};
use crate::k8s::change::get;
use crate::k8s::cluster::Cluster;
use crate::k8s::kinds::ObjectName;
use crate::k8s::status::memory;

/// How often the workload is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Waits.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The workload, such as deployment/web
    workload: ObjectName,
    /// Say how it stands now, and wait for nothing
    #[arg(long)]
    no_watch: bool,
    /// How long to wait at most, such as 90s or 10m (default: as long as it takes)
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    timeout: Option<Duration>,
}

fn timeout(text: &str) -> Result<Duration, DeadlineError> {
    deadline::parse(text)
}

/// Runs the command.
///
/// # Errors
/// Fails when the rollout failed, was rolled back, or takes longer than it may.
pub(super) async fn run(context: &Context, cluster: &Cluster, args: &StatusArgs) -> Outcome {
    let name = &args.workload;
    let begun = Instant::now();
    let mut said = String::new();
    loop {
        let object = get(cluster, name).await?;
        let waited_for = match standing(name, &object)? {
            Ok(done) => return Ok(context.printer.data(done)?),
            Err(waited_for) => waited_for,
        };
        if args.no_watch {
            return Ok(context
                .printer
                .data(format!("{name} waits: {waited_for}"))?);
        }
        if waited_for != said {
            context
                .printer
                .say(format!("Waiting for {name}: {waited_for}."));
            said = waited_for;
        }
        if args.timeout.is_some_and(|most| begun.elapsed() >= most) {
            return Err(
                CommandError::user(format!("{name} was not rolled out in time: {said}")).hint(
                    "`kubectl nival logs POD` tells what a pod that does not start waits for",
                ),
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns the last word, or what is waited for.
fn standing(name: &ObjectName, object: &Value) -> Outcome<Result<String, String>> {
    let memory = memory(object);
    let known = memory.known();
    let reason = known.map_or("", |memory| memory.reason.as_str());
    match known.map(|memory| memory.phase) {
        Some(Phase::RolledBack) => {
            return Err(
                CommandError::user(format!("{name} was rolled back: {reason}")).hint(
                    "push a generation that mends it: it is rolled out as soon as it is live",
                ),
            );
        }
        Some(Phase::Prefetching) => {
            return Ok(Err("nodes fetch the new generation".to_owned()));
        }
        Some(Phase::Progressing | Phase::Complete | Phase::Held) | None => {}
    }
    match progress::of(name.kind, object) {
        Progress::Done => {
            let held = known.is_some_and(|memory| memory.phase == Phase::Held);
            let more = if held { " (tracking is held)" } else { "" };
            Ok(Ok(format!("{name} successfully rolled out{more}")))
        }
        Progress::Waiting(text) => Ok(Err(text)),
        Progress::Failed(message) => Err(CommandError::user(format!("{name}: {message}"))
            .hint("`kubectl nival logs POD` tells what a pod that does not start waits for")),
        Progress::Still(why) => Err(CommandError::user(format!(
            "{name} cannot be waited for: {why}"
        ))),
    }
}
