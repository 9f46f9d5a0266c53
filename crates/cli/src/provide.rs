//! Has a locked environment in the machine's store: fetched, checked against the lock, composed, kept.

use std::collections::BTreeMap;

use env_spec::System;
use env_spec::activation::ActivationPlan;
use env_spec::compose::{Composed, compose};
use env_spec::lockfile::{LockedEnvironment, LockedSystem, Lockfile};
use env_spec::manifest::Manifest;
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
pub(crate) fn provide(
    context: &Context,
    project: &Project,
    manifest: &Manifest,
    lock: &Lockfile,
) -> Outcome<StorePath> {
    let (locked, environment) = locked(lock, &context.system()?)?;
    let link = project.state()?.join("environment");
    let kept = fs_err::read_link(&link)
        .is_ok_and(|target| target.as_os_str() == environment.path.to_string().as_str());
    if kept && laptop::has(&environment.path) {
        vouch(manifest, locked, environment)?;
        return Ok(environment.path.clone());
    }
    have(context, manifest, locked, environment)?;
    laptop::keep(&context.nix(), &link, &environment.path)?;
    Ok(environment.path.clone())
}

/// Has all paths of an environment in the store.
///
/// # Errors
/// Fails when a path cannot be had, or is not what the lock says.
pub(crate) fn have(
    context: &Context,
    manifest: &Manifest,
    locked: &LockedSystem,
    environment: &LockedEnvironment,
) -> Outcome {
    if laptop::has(&environment.path)
        && environment.closure.iter().all(|one| laptop::has(&one.path))
    {
        return recompose(manifest, locked, environment).map(drop);
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
    let composed = recompose(manifest, locked, environment)?;
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

/// Compares a system's part of the lock with the manifest, as far as this machine can: wholly where it has the packages.
///
/// # Errors
/// Fails when the lock is not what the manifest makes of these packages.
pub(crate) fn vouch(
    manifest: &Manifest,
    locked: &LockedSystem,
    environment: &LockedEnvironment,
) -> Outcome {
    let mut others = environment
        .closure
        .iter()
        .filter(|one| one.path != environment.path);
    if others.all(|one| laptop::has(&one.path)) {
        return recompose(manifest, locked, environment).map(drop);
    }
    if environment
        .activation
        .can_be_of(manifest, &environment.path)?
    {
        return Ok(());
    }
    Err(other_plan(environment))
}

fn other_plan(environment: &LockedEnvironment) -> CommandError {
    CommandError::user(format!(
        "the lock activates {} otherwise than the manifest says: its variables, search paths or hook were edited",
        environment.path
    ))
    .hint("see who changed manifest.lock; `nival lock` makes it anew from the manifest")
}

/// Composes the environment anew and compares it, and how it is activated, with the lock.
///
/// # Errors
/// Fails when it comes out differently.
pub(crate) fn recompose(
    manifest: &Manifest,
    locked: &LockedSystem,
    environment: &LockedEnvironment,
) -> Outcome<Composed> {
    let contents = MachineStore::of(environment.closure.iter().map(|one| one.path.clone()));
    let composed = compose(&locked.packages, &contents)?;
    if composed.path != environment.path {
        let text = format!(
            "the environment composes to {}, but the lock says {}",
            composed.path, environment.path
        );
        return Err(CommandError::user(text)
            .hint("the lock was edited, or made by another version of nival: run `nival lock`"));
    }
    let known = environment
        .closure
        .iter()
        .map(|one| (one.path.clone(), one.clone()))
        .collect();
    if composed.closure(&known)? != environment.closure {
        let text = format!(
            "the lock names other store paths than {} needs",
            environment.path
        );
        return Err(CommandError::user(text)
            .hint("the lock was edited, or made by another version of nival: run `nival lock`"));
    }
    if ActivationPlan::new(manifest, &composed, &contents)? != environment.activation {
        return Err(other_plan(environment));
    }
    Ok(composed)
}
