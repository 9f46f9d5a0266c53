//! `nival verify`: checks signatures, and every byte against the hash that the record or lock names.

use std::path::Path;

use clap::Args;
use env_spec::generation::{ClosurePath, SystemGeneration};
use env_spec::staleness::staleness;
use env_spec::{Reference, System};
use futures::{StreamExt as _, TryStreamExt as _};
use nix_data::StorePath;
use serde::Serialize;
use store::pack::nar_hash_and_size;

use crate::changing;
use crate::context::Context;
use crate::download;
use crate::error::{CommandError, ErrorKind, Outcome};
use crate::hub::TrustedHub;
use crate::laptop;
use crate::manifest;
use crate::output::{bytes, count};
use crate::progress::Progress;
use crate::provide;

/// How many paths are read or downloaded at a time.
const AT_A_TIME: usize = 4;

/// Checks an environment.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A published generation (owner/name, owner/name:12, …), or `.` for this project's lock and store paths
    #[arg(default_value = ".")]
    what: String,
    /// The system (default: this machine's)
    #[arg(long)]
    system: Option<System>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verified {
    what: String,
    system: System,
    environment: StorePath,
    paths: usize,
    bytes: u64,
}

/// Runs the command.
///
/// # Errors
/// Fails with the first thing that is not as it should be.
pub(crate) async fn run(context: &Context, args: &VerifyArgs) -> Outcome {
    let system = match &args.system {
        Some(system) => system.clone(),
        None => context.system()?,
    };
    let verified = if args.what == "." {
        project(context, system).await?
    } else {
        let reference: Reference = args.what.parse()?;
        published(context, &reference, system).await?
    };
    if args.json {
        return context.printer.json(&verified);
    }
    let paths = count(verified.paths, "store path", "store paths");
    context.printer.say(format!(
        "{paths}, {}: every byte is as named.",
        bytes(verified.bytes)
    ));
    Ok(context
        .printer
        .data(format!("{} {}", verified.what, verified.environment))?)
}

async fn project(context: &Context, system: System) -> Outcome<Verified> {
    let project = context.project()?;
    let manifest = manifest::read(&project, &project.manifest_text()?)?.manifest;
    let Some(lock) = project.lock()? else {
        return Err(CommandError::with_kind(
            ErrorKind::NotUpToDate,
            "the environment is not locked yet",
        )
        .hint("run `nival lock`"));
    };
    let stale = staleness(&lock, &manifest);
    if !stale.is_empty() {
        let text = format!("the lock is out of date: {}", changing::reasons(&stale));
        return Err(CommandError::with_kind(ErrorKind::NotUpToDate, text).hint("run `nival lock`"));
    }
    let (locked, environment) = provide::locked(&lock, &system)?;
    let part = SystemGeneration {
        environment: environment.path.clone(),
        closure: environment.closure.clone(),
        activation: environment.activation.clone(),
        sboms: std::collections::BTreeMap::new(),
    };
    part.check("manifest.lock")?;
    follows(&part)?;
    // The same packages must compose to the same path, here as on the machine that made the lock.
    provide::vouch(&manifest, locked, environment)?;
    if let Some(missing) = environment
        .closure
        .iter()
        .find(|one| !laptop::has(&one.path))
    {
        return Err(
            CommandError::user(format!("{} is not on this machine", missing.path))
                .hint("the lock itself holds together; `nival activate` fetches what it names"),
        );
    }
    let progress = Progress::bytes(context.printer, "reading store paths", part.nar_bytes());
    check_all(&part.closure, &progress, |one| async move {
        tokio::task::spawn_blocking(move || {
            let (hash, size) = nar_hash_and_size(Path::new(&one.path.to_string()))?;
            compare(&one, &hash, size, "on this machine")
        })
        .await
        .expect("reading a store path does not panic")
    })
    .await?;
    Ok(Verified {
        what: project.lock_path().display().to_string(),
        system,
        environment: part.environment.clone(),
        paths: part.closure.len(),
        bytes: part.nar_bytes(),
    })
}

async fn published(context: &Context, reference: &Reference, system: System) -> Outcome<Verified> {
    let hub = TrustedHub::of(context, reference)?;
    let published = hub.resolve(reference).await?;
    context
        .printer
        .say(format!("{} is signed by a trusted key.", published.pin));
    let owner = reference.environment.owner();
    let list = hub.revocations_for_show(owner, context.printer).await;
    if let Some(reason) = list.reason(published.pin.digest) {
        // Its bytes may be in order all the same, which is what is asked here.
        context
            .printer
            .warn(format!("{} is revoked: {reason}", published.pin));
    }
    let part = published.generation.system(&system)?;
    follows(part)?;
    let cache = download::Cache::of(&hub.client, owner)?;
    let progress = Progress::bytes(context.printer, "downloading and hashing", part.nar_bytes());
    let cache = &cache;
    check_all(&part.closure, &progress, |one| async move {
        let (hash, size) = cache.nar_hash(&one).await?;
        compare(&one, &hash, size, "in the hub's cache")
    })
    .await?;
    Ok(Verified {
        what: published.pin.to_string(),
        system,
        environment: part.environment.clone(),
        paths: part.closure.len(),
        bytes: part.nar_bytes(),
    })
}

async fn check_all<F: Future<Output = Outcome>>(
    closure: &[ClosurePath],
    progress: &Progress,
    check: impl Fn(ClosurePath) -> F,
) -> Outcome {
    futures::stream::iter(closure.iter().cloned())
        .map(|one| {
            let size = one.nar_size;
            let checked = check(one);
            async move { checked.await.map(|()| size) }
        })
        .buffer_unordered(AT_A_TIME)
        .try_for_each(|size| {
            progress.add(size);
            async { Ok(()) }
        })
        .await
}

/// The environment's path must follow from its bytes and references.
fn follows(part: &SystemGeneration) -> Outcome {
    let environment = part.closure.iter().find(|one| one.path == part.environment);
    let holds = environment
        .is_some_and(|one| laptop::content_address(one).names(&one.path, &one.references));
    if holds {
        return Ok(());
    }
    Err(CommandError::user(format!(
        "{} does not follow from its NAR hash and references",
        part.environment
    )))
}

fn compare(wanted: &ClosurePath, hash: &nix_data::Hash, size: u64, place: &str) -> Outcome {
    if *hash == wanted.nar_hash && size == wanted.nar_size {
        return Ok(());
    }
    Err(CommandError::user(format!(
        "{} has other bytes {place}: its NAR hash is {}, not {}",
        wanted.path,
        hash.to_sri(),
        wanted.nar_hash.to_sri()
    )))
}
