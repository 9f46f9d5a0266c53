//! `nival lock`: resolves the manifest, or checks that the lock is still true to it.

use clap::Args;
use env_spec::staleness::staleness;

use crate::changing;
use crate::context::Context;
use crate::error::{CommandError, ErrorKind, Outcome};
use crate::locking::Choice;
use crate::manifest;
use crate::provide;

/// Resolves the manifest.
#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// Change nothing; exit with 3 when the lock is missing or out of date
    #[arg(long)]
    check: bool,
}

/// Runs the command.
///
/// # Errors
/// Fails when the manifest cannot be resolved, or the lock is not up to date.
pub(crate) fn run(context: &Context, args: &LockArgs) -> Outcome {
    let project = context.project()?;
    if args.check {
        let manifest = manifest::read(&project, &project.manifest_text()?)?.manifest;
        let stale = |text: String| {
            Err(CommandError::with_kind(ErrorKind::NotUpToDate, text).hint("run `nival lock`"))
        };
        return match project.lock()? {
            None => stale(format!("there is no {}", project.lock_path().display())),
            Some(lock) => match staleness(&lock, &manifest) {
                reasons if reasons.is_empty() => lock
                    .systems
                    .values()
                    .filter_map(|locked| Some((locked, locked.environment.as_ref()?)))
                    .try_for_each(|(locked, environment)| {
                        provide::vouch(&manifest, locked, environment)
                    }),
                reasons => stale(format!(
                    "the lock is out of date: {}",
                    changing::reasons(&reasons)
                )),
            },
        };
    }
    let _held = project.hold()?;
    let text = project.manifest_text()?;
    let before = project.lock().ok().flatten();
    let after = changing::apply(context, &project, &text, None, Choice::KeepRevisions)?;
    if before.as_ref() == Some(&after) {
        context.printer.say("The lock is up to date.");
        return Ok(());
    }
    changing::say_difference(context, before.as_ref(), &after)
}
