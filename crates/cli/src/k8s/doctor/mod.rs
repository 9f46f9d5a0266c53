//! `doctor`: looks at everything that has to be right before a pod starts in an environment, and says what to do next.

mod admission;
mod cluster;
mod nodes;

use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::error::{CommandError, Outcome};
use crate::k8s::cluster::{Cluster, ClusterError};
use crate::k8s::flags::{ClusterFlags, OutputFlag};
use crate::k8s::show::{only_structured, structured};
use crate::output::count;

/// Looks.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// How it is printed.
    #[command(flatten)]
    output: OutputFlag,
}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// It is right.
    Ok,
    /// It works, but somebody should look at it.
    Warn,
    /// Pods do not start, or start without what was promised.
    Fail,
    /// The user may not see it.
    Unknown,
}

/// One look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    check: String,
    state: State,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct Report<'a> {
    checks: &'a [Check],
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
            Self::Unknown => "unknown",
        }
    }
}

impl Check {
    fn new(check: &str, state: State, message: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            state,
            message: message.into(),
            next: None,
        }
    }

    fn ok(check: &str, message: impl Into<String>) -> Self {
        Self::new(check, State::Ok, message)
    }

    fn fail(check: &str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            next: Some(next.into()),
            ..Self::new(check, State::Fail, message)
        }
    }

    fn warn(check: &str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            next: Some(next.into()),
            ..Self::new(check, State::Warn, message)
        }
    }

    /// Returns what a refusal means: that the user may not look, or that something is wrong.
    fn of_error(check: &str, error: &ClusterError) -> Self {
        let message = error.to_string();
        if error.is_forbidden() {
            return Self {
                next: Some("ask who runs the cluster, or look with --as".to_owned()),
                ..Self::new(check, State::Unknown, message)
            };
        }
        let next = error.advice().unwrap_or("look at the API server's log");
        Self::fail(check, message, next)
    }
}

/// Runs the command.
///
/// # Errors
/// Fails when something is wrong.
pub(crate) async fn run(
    context: &Context,
    cluster: &Cluster,
    flags: &ClusterFlags,
    args: &DoctorArgs,
) -> Outcome {
    only_structured(args.output.output)?;
    let namespace = crate::k8s::flags::checked_namespace(&flags.nival_namespace)?;
    let mut checks = cluster::api_server(cluster).await;
    // Without an API server every other look would say the same.
    if checks.iter().all(|one| one.state != State::Fail) {
        checks.extend(cluster::definitions(cluster).await);
        checks.push(cluster::controller(cluster, namespace).await);
        checks.push(admission::configured(cluster).await);
        checks.push(admission::answers(cluster, namespace).await);
        checks.push(cluster::runtime_class(cluster).await);
        checks.extend(nodes::all(cluster, namespace).await);
        checks.extend(cluster::environments(cluster).await);
        checks.push(cluster::configuration(cluster, namespace).await);
    }
    checks.push(hub(context).await);
    print(context, args, &checks)?;
    let failed = checks.iter().filter(|one| one.state == State::Fail).count();
    if failed == 0 {
        return Ok(());
    }
    let what = count(failed, "check failed", "checks failed");
    let next = checks
        .iter()
        .filter(|one| one.state == State::Fail)
        .find_map(|one| Some(format!("{}: {}", one.check, one.next.as_ref()?)));
    let error = CommandError::user(what);
    Err(match next {
        Some(next) => error.hint(next),
        None => error,
    })
}

fn print(context: &Context, args: &DoctorArgs, checks: &[Check]) -> Outcome {
    if args.output.output.is_some() {
        return structured(context.printer, args.output.output, &Report { checks });
    }
    let row = |one: &Check| {
        let message = match &one.next {
            Some(next) => format!("{}; next: {next}", one.message),
            None => one.message.clone(),
        };
        vec![one.check.clone(), one.state.word().to_owned(), message]
    };
    let rows: Vec<Vec<String>> = checks.iter().map(row).collect();
    Ok(context
        .printer
        .table(&["CHECK", "STATE", "MESSAGE"], &rows)?)
}

/// Asks the hub of the developer, which need not be at the address that the cluster knows it by.
async fn hub(context: &Context) -> Check {
    const CHECK: &str = "hub (from here)";
    let next = "set --hub, NIVAL_HUB or `hub` in config.toml to the hub's address";
    let client = match context.hub() {
        Ok(client) => client,
        Err(error) => return Check::warn(CHECK, error.lines().join(": "), next),
    };
    match client.info().await {
        Ok(info) => Check::ok(
            CHECK,
            format!("version {} at {}", info.version, client.base()),
        ),
        // Clusters start what they hold without it, and may reach it where this machine does not.
        Err(error) => {
            let text = CommandError::from(error).lines().join(": ");
            Check::warn(CHECK, text, next)
        }
    }
}
