//! `nival uninstall`: takes packages out of the manifest and locks; when that fails, nothing changes.

use clap::Args;
use env_spec::edit::remove_packages;

use crate::changing;
use crate::context::Context;
use crate::error::Outcome;
use crate::locking::Choice;
use crate::manifest;

/// Removes packages.
#[derive(Debug, Args)]
pub(crate) struct UninstallArgs {
    /// Packages by their id in the manifest's `[install]`
    #[arg(required = true, value_name = "PACKAGE")]
    packages: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// Fails when a package is not installed.
pub(crate) fn run(context: &Context, args: &UninstallArgs) -> Outcome {
    let project = context.project()?;
    let _held = project.hold()?;
    let text = project.manifest_text()?;
    manifest::read(&project, &text)?;
    let changed = remove_packages(&text, &args.packages)?;
    let before = project.lock().ok().flatten();
    let after = changing::apply(
        context,
        &project,
        &text,
        Some(&changed),
        Choice::KeepRevisions,
    )?;
    changing::say_difference(context, before.as_ref(), &after)
}
