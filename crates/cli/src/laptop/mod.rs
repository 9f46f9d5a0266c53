//! The machine's own Nix store: having paths in it, knowing them, and putting composed environments there.

mod contents;
mod import;
mod path_info;

use std::path::Path;

use host::nix::Nix;
use host::process::ProcessError;
use nix_data::StorePath;

pub(crate) use contents::MachineStore;
pub(crate) use import::{content_address, import};
pub(crate) use path_info::closure;

/// Outputs of a derivation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outputs<'a> {
    /// The derivation.
    pub(crate) derivation: &'a StorePath,
    /// Names of outputs.
    pub(crate) names: &'a [String],
}

/// Has Nix fetch or build outputs of derivations.
///
/// # Errors
/// Fails with what Nix said.
pub(crate) fn realise(nix: &Nix, wanted: &[Outputs<'_>]) -> Result<(), ProcessError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let mut command = nix.command(&["build", "--no-link"]);
    command.args(
        wanted
            .iter()
            .map(|one| format!("{}^{}", one.derivation, one.names.join(","))),
    );
    nix.run(&mut command).map(drop)
}

/// Has Nix fetch these paths, building nothing: the way to have paths of another system.
///
/// # Errors
/// Fails when no binary cache has one of them.
pub(crate) fn substitute(nix: &Nix, paths: &[StorePath]) -> Result<(), ProcessError> {
    if paths.is_empty() {
        return Ok(());
    }
    let mut command = nix.command(&["build", "--no-link", "--max-jobs", "0"]);
    nix.run(command.args(paths.iter().map(ToString::to_string)))
        .map(drop)
}

/// Keeps Nix's garbage collector from a path, by a link that lives as long as the project.
///
/// # Errors
/// Fails with what Nix said.
pub(crate) fn keep(nix: &Nix, link: &Path, path: &StorePath) -> Result<(), ProcessError> {
    let mut command = nix.command(&["build", "--max-jobs", "0", "--out-link"]);
    nix.run(command.arg(link).arg(path.to_string())).map(drop)
}

/// Tells whether a path lies in the machine's store. Nix makes paths appear at once and whole.
#[must_use]
pub(crate) fn has(path: &StorePath) -> bool {
    Path::new(&path.to_string()).symlink_metadata().is_ok()
}
