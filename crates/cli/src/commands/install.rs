//! `nival install`: adds packages to the manifest and locks; when that fails, nothing changes.

use clap::Args;
use env_spec::edit::{Added, PackageEdit, add_packages};

use crate::changing;
use crate::context::Context;
use crate::error::Outcome;
use crate::locking::Choice;
use crate::manifest;

/// Adds packages.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// Packages by their path in the package set, with a version or range if it matters: python3, nodejs@^20, python3Packages.numpy
    #[arg(required = true, value_name = "PACKAGE")]
    packages: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// Fails when a package cannot be had on one of the manifest's systems, or conflicts with another.
pub(crate) fn run(context: &Context, args: &InstallArgs) -> Outcome {
    let edits = args
        .packages
        .iter()
        .map(|text| PackageEdit::parse(text))
        .collect::<Result<Vec<_>, _>>()?;
    let project = context.project()?;
    let _held = project.hold()?;
    let text = project.manifest_text()?;
    // A manifest that is wrong already is told with its lines, before anything is put into it.
    manifest::read(&project, &text)?;
    let (changed, added) = add_packages(&text, &edits)?;
    for (edit, _) in edits
        .iter()
        .zip(&added)
        .filter(|(_, added)| matches!(added, Added::Already))
    {
        context
            .printer
            .say(format!("{} is installed already.", edit.install_id));
    }
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
