//! Changes a project's manifest and lock together: both, or neither.

use env_spec::lockfile::{LockedPackage, Lockfile};
use env_spec::staleness::{Stale, staleness};

use crate::context::Context;
use crate::error::{CommandError, Outcome};
use crate::locking::{self, Choice};
use crate::manifest::{self, Read};
use crate::output::{bytes, count};
use crate::project::Project;
use crate::provide;

/// Locks a manifest's text, as it was read or else `changed`, and writes what is new. Returns the new lock.
///
/// # Errors
/// Fails as locking does, and when somebody else changed the manifest meanwhile; then nothing was written.
pub(crate) fn apply(
    context: &Context,
    project: &Project,
    before: &str,
    changed: Option<&str>,
    choice: Choice,
) -> Outcome<Lockfile> {
    let text = changed.unwrap_or(before);
    let Read { manifest, warnings } = manifest::read(project, text)?;
    for warning in &warnings {
        context.printer.warn(warning);
    }
    // A lock that cannot be read is no reason not to make a good one.
    let known = project.lock().ok().flatten();
    let lock = locking::lock(context, &manifest, known.as_ref(), choice)?;
    if lock
        .systems
        .get(&context.system()?)
        .is_some_and(|system| system.environment.is_some())
    {
        provide::provide(context, project, &manifest, &lock)?;
    }
    write(project, before, changed, &lock.to_text())?;
    Ok(lock)
}

/// Writes the manifest, where that changes, and the lock: both or neither.
fn write(project: &Project, before: &str, changed: Option<&str>, lock_text: &str) -> Outcome {
    let previous = project.lock_text()?;
    // An editor asks for no lock.
    if project.manifest_text()? != before {
        let path = project.manifest_path();
        return Err(CommandError::user(format!(
            "{} was changed while this was locking",
            path.display()
        ))
        .hint("nothing was written: run the command again"));
    }
    let changed = changed.filter(|changed| *changed != before);
    if let Some(text) = changed {
        host::fs::write_atomic(&project.manifest_path(), text.as_bytes())?;
    }
    if previous.as_deref() != Some(lock_text)
        && let Err(error) = host::fs::write_atomic(&project.lock_path(), lock_text.as_bytes())
    {
        if changed.is_some() {
            host::fs::write_atomic(&project.manifest_path(), before.as_bytes())?;
        }
        return Err(error.into());
    }
    Ok(())
}

/// Returns a lock that is true to the manifest, making it anew where it is missing or stale, and saying so.
///
/// # Errors
/// Fails as locking does.
pub(crate) fn fresh_lock(context: &Context, project: &Project) -> Outcome<Lockfile> {
    let text = project.manifest_text()?;
    match fresh(project, &text)? {
        Fresh::Yes(lock) => return Ok(lock),
        Fresh::No(why) => context.printer.say(format!("{why}; locking.")),
    }
    let _held = project.hold()?;
    // Whoever held the project may have changed both.
    let text = project.manifest_text()?;
    if let Fresh::Yes(lock) = fresh(project, &text)? {
        return Ok(lock);
    }
    let lock = apply(context, project, &text, None, Choice::KeepRevisions)?;
    say_elsewhere(context, &lock);
    Ok(lock)
}

/// Whether the lock is true to the manifest.
enum Fresh {
    Yes(Lockfile),
    /// Why not.
    No(String),
}

fn fresh(project: &Project, text: &str) -> Outcome<Fresh> {
    let manifest = manifest::read(project, text)?.manifest;
    let Some(lock) = project.lock()? else {
        return Ok(Fresh::No("There is no lock yet".to_owned()));
    };
    let stale = staleness(&lock, &manifest);
    if stale.is_empty() {
        return Ok(Fresh::Yes(lock));
    }
    let why = format!("The lock is out of date ({})", reasons(&stale));
    Ok(Fresh::No(why))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_that_somebody_else_changed_meanwhile_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let project = Project::create(folder.path(), "theirs").unwrap();
        for changed in [None, Some("ours")] {
            let error = write(&project, "as it was read", changed, "lock").unwrap_err();
            assert!(
                error.lines()[0].contains("manifest.toml was changed"),
                "{:?}",
                error.lines()
            );
            assert_eq!(project.manifest_text().unwrap(), "theirs");
            assert_eq!(project.lock_text().unwrap(), None);
        }
        write(&project, "theirs", Some("ours"), "lock").unwrap();
        assert_eq!(project.manifest_text().unwrap(), "ours");
        assert_eq!(project.lock_text().unwrap().as_deref(), Some("lock"));
    }
}
