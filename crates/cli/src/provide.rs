//! Has a locked environment in the machine's store: fetched, checked against the lock, composed, kept.

use std::collections::BTreeMap;

use env_spec::System;
use env_spec::compose::{Composed, compose};
use env_spec::lockfile::{LockedEnvironment, LockedSystem, Lockfile};
use nix_data::StorePath;

use crate::context::Context;
use crate::error::{CommandError, Doing as _, Outcome};
use crate::laptop::{self, MachineStore};
use crate::progress::Spinner;
use crate::project::Project;

/// Returns a lock's part for a system, and its environment.
///
/// # Errors
/// Fails when the lock has none, saying why.
pub(crate) fn locked<'a>(
    lock: &'a Lockfile,
    system: &System,
) -> Outcome<(&'a LockedSystem, &'a LockedEnvironment)> {
    let Some(locked) = lock.systems.get(system) else {
        let known = lock
            .systems
            .keys()
            .map(System::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        return Err(CommandError::user(format!(
            "the environment is not for {system} (it is for: {known})"
        ))
        .hint("add the system to `options.systems` in manifest.toml"));
    };
    match &locked.environment {
        Some(environment) => Ok((locked, environment)),
        None => {
            let because = locked
                .unlocked_because
                .as_deref()
                .unwrap_or("no reason is given");
            Err(CommandError::user(format!(
                "the environment is not locked for {system}: {because}"
            ))
            .hint(format!("run `nival lock` on a machine of {system}")))
        }
    }
}

/// Has the environment of this machine's system in the store, and keeps Nix from collecting it.
///
/// # Errors
/// Fails when a path cannot be had, or is not what the lock says.
pub(crate) fn provide(context: &Context, project: &Project, lock: &Lockfile) -> Outcome<StorePath> {
    let (locked, environment) = locked(lock, &context.system()?)?;
    let link = project.state()?.join("environment");
    let kept = fs_err::read_link(&link)
        .is_ok_and(|target| target.as_os_str() == environment.path.to_string().as_str());
    if kept && laptop::has(&environment.path) {
        return Ok(environment.path.clone());
    }
    have(context, locked, environment)?;
    laptop::keep(&context.nix(), &link, &environment.path)?;
    Ok(environment.path.clone())
}

/// Has all paths of an environment in the store.
///
/// # Errors
/// Fails when a path cannot be had, or is not what the lock says.
pub(crate) fn have(
    context: &Context,
    locked: &LockedSystem,
    environment: &LockedEnvironment,
) -> Outcome {
    if laptop::has(&environment.path)
        && environment.closure.iter().all(|one| laptop::has(&one.path))
    {
        return Ok(());
    }
    let nix = context.nix();
    let others = environment
        .closure
        .iter()
        .map(|one| &one.path)
        .filter(|path| **path != environment.path);
    let missing: Vec<StorePath> = others.filter(|path| !laptop::has(path)).cloned().collect();
    if !missing.is_empty() {
        let _spinner = Spinner::start(context.printer, "fetching what the lock names");
        laptop::substitute(&nix, &missing).map_err(|error| {
            CommandError::from(error)
                .doing(format!(
                    "cannot fetch {} and others that the lock names",
                    missing[0]
                ))
                .hint("name a binary cache that has them with `substituters` in config.toml")
                .hint("or resolve anew with what this machine can have: nival upgrade")
        })?;
    }
    check(context, environment)?;
    let composed = recompose(locked, environment)?;
    let nar = composed
        .tree
        .write_to(Vec::new())
        .doing(|| "cannot write the environment".to_owned())?;
    laptop::import(&nix, &composed.closure_path(), &nar)?;
    Ok(())
}

/// Compares what the store has with what the lock says.
fn check(context: &Context, environment: &LockedEnvironment) -> Outcome {
    let others: Vec<StorePath> = environment
        .closure
        .iter()
        .map(|one| one.path.clone())
        .filter(|path| *path != environment.path)
        .collect();
    let present = laptop::closure(&context.nix(), &others)?;
    let present: BTreeMap<_, _> = present.iter().map(|one| (&one.path, one)).collect();
    for wanted in environment
        .closure
        .iter()
        .filter(|one| one.path != environment.path)
    {
        if present
            .get(&wanted.path)
            .is_none_or(|found| found.nar_hash != wanted.nar_hash)
        {
            let text = format!(
                "{} has other bytes on this machine than the lock says ({})",
                wanted.path,
                wanted.nar_hash.to_sri()
            );
            return Err(CommandError::user(text)
                .hint("it was built here and elsewhere with different results; take it from the cache that the lock was made with, or run `nival upgrade`"));
        }
    }
    Ok(())
}

/// Composes the environment anew and compares it with the lock.
///
/// # Errors
/// Fails when it comes out differently.
pub(crate) fn recompose(
    locked: &LockedSystem,
    environment: &LockedEnvironment,
) -> Outcome<Composed> {
    let composed = compose(&locked.packages, &MachineStore::default())?;
    if composed.path != environment.path {
        let text = format!(
            "the environment composes to {}, but the lock says {}",
            composed.path, environment.path
        );
        return Err(CommandError::user(text)
            .hint("the lock was edited, or made by another version of nival: run `nival lock`"));
    }
    Ok(composed)
}
