//! Changes a project's manifest and lock together: both, or neither.

use env_spec::lockfile::{LockedPackage, Lockfile};
use env_spec::staleness::{Stale, staleness};

use crate::context::Context;
use crate::error::Outcome;
use crate::locking::{self, Choice};
use crate::manifest::{self, Read};
use crate::output::{bytes, count};
use crate::project::Project;
use crate::provide;

/// Locks a manifest's new text and, when that worked, writes both. Returns the new lock.
///
/// # Errors
/// Fails as locking does; then nothing was written.
pub(crate) fn apply(
    context: &Context,
    project: &Project,
    text: &str,
    choice: Choice,
) -> Outcome<Lockfile> {
    let Read { manifest, warnings } = manifest::read(project, text)?;
    for warning in &warnings {
        context.printer.warn(warning);
    }
    let previous = project.lock_text()?;
    // A lock that cannot be read is no reason not to make a good one.
    let known = project.lock().ok().flatten();
    let lock = locking::lock(context, &manifest, known.as_ref(), choice)?;
    if lock
        .systems
        .get(&context.system()?)
        .is_some_and(|system| system.environment.is_some())
    {
        provide::provide(context, project, &lock)?;
    }
    let lock_text = lock.to_text();
    let old_text = project.manifest_text()?;
    if old_text != text {
        host::fs::write_atomic(&project.manifest_path(), text.as_bytes())?;
    }
    if previous.as_deref() != Some(lock_text.as_str())
        && let Err(error) = host::fs::write_atomic(&project.lock_path(), lock_text.as_bytes())
    {
        host::fs::write_atomic(&project.manifest_path(), old_text.as_bytes())?;
        return Err(error.into());
    }
    Ok(lock)
}

/// Returns a lock that is true to the manifest, making it anew where it is missing or stale, and saying so.
///
/// # Errors
/// Fails as locking does.
pub(crate) fn fresh_lock(context: &Context, project: &Project) -> Outcome<Lockfile> {
    let text = project.manifest_text()?;
    let manifest = manifest::read(project, &text)?.manifest;
    match project.lock()? {
        Some(lock) => {
            let stale = staleness(&lock, &manifest);
            if stale.is_empty() {
                return Ok(lock);
            }
            context.printer.say(format!(
                "The lock is out of date ({}); locking.",
                reasons(&stale)
            ));
        }
        None => context.printer.say("There is no lock yet; locking."),
    }
    let _held = project.hold()?;
    let lock = apply(context, project, &text, Choice::KeepRevisions)?;
    say_elsewhere(context, &lock);
    Ok(lock)
}

/// Returns why a lock is stale, in one line.
#[must_use]
pub(crate) fn reasons(stale: &[Stale]) -> String {
    stale
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Says what a change brought on this machine's system.
///
/// # Errors
/// Fails on a machine that Nival does not know.
pub(crate) fn say_difference(
    context: &Context,
    before: Option<&Lockfile>,
    after: &Lockfile,
) -> Outcome {
    let system = context.system()?;
    let empty = Vec::new();
    let of = |lock: &'_ Lockfile| {
        lock.systems
            .get(&system)
            .map(|one| one.packages.clone())
            .unwrap_or_default()
    };
    let old = before.map_or(empty, of);
    let new = of(after);
    let find =
        |list: &[LockedPackage], id: &str| list.iter().find(|one| one.install_id == id).cloned();
    for package in &new {
        let name = &package.install_id;
        match find(&old, name) {
            None => context.printer.say(format!("+ {name} {}", package.version)),
            Some(old) if old.version != package.version => {
                context
                    .printer
                    .say(format!("~ {name} {} -> {}", old.version, package.version));
            }
            Some(old) if old.outputs != package.outputs => {
                context
                    .printer
                    .say(format!("~ {name} {} (another build)", package.version));
            }
            Some(_) => {}
        }
    }
    for package in old
        .iter()
        .filter(|one| find(&new, &one.install_id).is_none())
    {
        context
            .printer
            .say(format!("- {} {}", package.install_id, package.version));
    }
    if let Some(environment) = after
        .systems
        .get(&system)
        .and_then(|one| one.environment.as_ref())
    {
        let size = environment
            .closure
            .iter()
            .fold(0_u64, |sum, one| sum.saturating_add(one.nar_size));
        let paths = count(environment.closure.len(), "store path", "store paths");
        context
            .printer
            .say(format!("{paths}, {} in all.", bytes(size)));
    }
    say_elsewhere(context, after);
    Ok(())
}

/// Says which systems have no environment, and why.
fn say_elsewhere(context: &Context, lock: &Lockfile) {
    let unlocked: Vec<&str> = lock
        .systems
        .iter()
        .filter(|(_, one)| one.environment.is_none())
        .map(|(system, _)| system.as_str())
        .collect();
    if !unlocked.is_empty() {
        context.printer.say(format!(
            "Resolved without a composed environment for {} (see `unlocked-because` in manifest.lock).",
            unlocked.join(", ")
        ));
    }
}
