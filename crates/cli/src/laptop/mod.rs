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

/// Has Nix fetch those of these paths that are not here. Returns the first that no binary cache has.
///
/// # Errors
/// Fails when that is not to be told, such as when a cache does not answer.
pub(crate) fn fetch(nix: &Nix, paths: &[StorePath]) -> Result<Option<StorePath>, ProcessError> {
    if paths.iter().all(has) || substitute(nix, paths).is_ok() {
        return Ok(None);
    }
    // Of many paths Nix says more than an error keeps: asked for one, it says why.
    for path in paths.iter().filter(|path| !has(path)) {
        match substitute(nix, std::slice::from_ref(path)) {
            Ok(()) => {}
            Err(error) if is_in_no_cache(&error) => return Ok(Some(path.clone())),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Tells whether fetching failed because the caches were asked and none has a path: all else may pass.
///
/// Nix says the same of a cache that did not answer, but then it has warned of that before.
fn is_in_no_cache(error: &ProcessError) -> bool {
    let ProcessError::Failed { talk, .. } = error else {
        return false;
    };
    let absent = [
        "there is no substituter that can build it",
        "don't know how to build these paths",
    ];
    let trouble = ["unable to ", "cannot ", "ignored", "denied"];
    absent.iter().any(|words| talk.contains(words))
        && !trouble.iter().any(|words| talk.contains(words))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that fails with these words of Nix.
    fn failing(words: &str) -> ProcessError {
        let script = format!("printf '%s' \"{words}\" >&2; exit 1");
        host::process::run(std::process::Command::new("sh").args(["-c", &script])).unwrap_err()
    }

    #[test]
    fn only_an_answered_no_means_that_no_cache_has_a_path() {
        let absent = "don't know how to build these paths:
  /nix/store/00000000000000000000000000000000-a
error: path '/nix/store/00000000000000000000000000000000-a' is required, but there is no substituter that can build it";
        assert!(is_in_no_cache(&failing(absent)));
        let offline = format!(
            "warning: you don't have Internet access; disabling some network-dependent features\n{absent}"
        );
        assert!(is_in_no_cache(&failing(&offline)));
        let warned = format!("warning: unable to download 'http://c/nix-cache-info'\n{absent}");
        assert!(!is_in_no_cache(&failing(&warned)));
        assert!(!is_in_no_cache(&failing("error: no space left on device")));
    }
}
