//! `nival upgrade`: resolves anew, to the newest revision that satisfies the manifest.

use clap::Args;

use crate::changing;
use crate::context::Context;
use crate::error::Outcome;
use crate::locking::Choice;

/// Resolves anew.
#[derive(Debug, Args)]
pub(crate) struct UpgradeArgs {}

/// Runs the command.
///
/// # Errors
/// Fails as locking does; the old lock stays then.
pub(crate) fn run(context: &Context, _args: &UpgradeArgs) -> Outcome {
    let project = context.project()?;
    let _held = project.hold()?;
    let text = project.manifest_text()?;
    let before = project.lock().ok().flatten();
    let after = changing::apply(context, &project, &text, None, Choice::Newest)?;
    if before.as_ref() == Some(&after) {
        context.printer.say("Everything is at its newest already.");
        return Ok(());
    }
    changing::say_difference(context, before.as_ref(), &after)
}
