//! `nival push`: publishes the locked environment as a new signed generation and makes it live.

use clap::Args;
use env_spec::EnvironmentName;
use env_spec::manifest::Manifest;
use env_spec::staleness::staleness;
use serde::Serialize;

use crate::changing;
use crate::context::Context;
use crate::error::{CommandError, Doing as _, ErrorKind, Outcome};
use crate::manifest;
use crate::output::bytes;
use crate::project::{Project, Remote};
use crate::provide;
use crate::push::{Order, SystemContent, push};

/// Publishes the environment.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The environment's name on the hub, owner/name (default: the one of the first push)
    environment: Option<EnvironmentName>,
    /// What is new, for the history
    #[arg(long, short, default_value = "")]
    message: String,
    /// Let everybody read the environment
    #[arg(long)]
    public: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done<'a> {
    environment: &'a EnvironmentName,
    number: u64,
    digest: String,
    pin: String,
    changed: bool,
    paths_uploaded: usize,
    bytes_uploaded: u64,
}

/// Runs the command.
///
/// # Errors
/// Fails when the lock is stale, there is no key, or the hub refuses.
pub(crate) async fn run(context: &Context, args: &PushArgs) -> Outcome {
    let project = context.project()?;
    let remote = project.remote()?;
    let name = match (&args.environment, &remote) {
        (Some(name), _) => name.clone(),
        (None, Some(remote)) => remote.environment.clone(),
        (None, None) => {
            return Err(CommandError::with_kind(
                ErrorKind::Usage,
                "this environment has no name on the hub yet",
            )
            .hint("name it this once: nival push OWNER/NAME"));
        }
    };
    let (text, manifest, lock_text) = fresh(&project)?;
    let lock = project
        .lock()?
        .ok_or_else(|| CommandError::user("the lock went away"))?;
    let mut systems = Vec::new();
    for (system, locked) in &lock.systems {
        let Some(environment) = &locked.environment else {
            continue;
        };
        // Whoever signs vouches for all of it, and reviewed the manifest at best.
        provide::vouch(&manifest, locked, environment)
            .doing(|| format!("the lock of {system} is not to be published"))?;
        systems.push(SystemContent {
            system,
            locked,
            environment,
        });
    }
    if systems.is_empty() {
        // Tells why this machine's system, at least, has none.
        provide::locked(&lock, &context.system()?)?;
    }
    let order = Order {
        environment: &name,
        manifest: text,
        decided: &manifest,
        lock: &lock_text,
        systems,
        message: args.message.clone(),
        public: args.public,
    };
    let pushed = Box::pin(push(context, &order)).await?;
    if remote.is_none() {
        project.set_remote(&Remote {
            environment: name.clone(),
        })?;
    }
    let id = pushed.generation;
    let pin = format!("{name}:{}@{}", id.number, id.digest);
    let printer = context.printer;
    match (pushed.is_new, pushed.moved) {
        (true, _) => printer.say(format!(
            "Published {name}:{}, {} uploaded ({}).",
            id.number,
            crate::output::count(pushed.paths, "store path", "store paths"),
            bytes(pushed.bytes)
        )),
        (false, true) => printer.say(format!(
            "{name}:{} has this content already; made it live.",
            id.number
        )),
        (false, false) => printer.say(format!(
            "Nothing changed: {name}:{} has this content and is live.",
            id.number
        )),
    }
    if args.json {
        return printer.json(&Done {
            environment: &name,
            number: id.number,
            digest: id.digest.to_string(),
            pin,
            changed: pushed.is_new,
            paths_uploaded: pushed.paths,
            bytes_uploaded: pushed.bytes,
        });
    }
    Ok(printer.data(pin)?)
}

/// Returns the manifest, its text and the lock's when these agree: what is published was locked and could be tried.
fn fresh(project: &Project) -> Outcome<(String, Manifest, String)> {
    let text = project.manifest_text()?;
    let manifest = manifest::read(project, &text)?.manifest;
    let stale = |why: String| {
        Err(CommandError::with_kind(ErrorKind::NotUpToDate, why)
            .hint("run `nival lock`, try it, then push"))
    };
    let (Some(lock), Some(lock_text)) = (project.lock()?, project.lock_text()?) else {
        return stale("the environment is not locked yet".to_owned());
    };
    let reasons = staleness(&lock, &manifest);
    if reasons.is_empty() {
        return Ok((text, manifest, lock_text));
    }
    stale(format!(
        "the lock is out of date: {}",
        changing::reasons(&reasons)
    ))
}
