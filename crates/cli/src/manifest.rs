//! Reads a project's manifest with the environments that it includes.

use std::path::{Path, PathBuf};

use env_spec::manifest::{Include, Manifest, ManifestFile};

use crate::error::{CommandError, Doing as _, Outcome};
use crate::project::Project;

/// Deeper includes are a mistake.
const DEEPEST: usize = 16;

/// A manifest as decided, with what is in it that has no effect.
#[derive(Debug)]
pub(crate) struct Read {
    /// The manifest.
    pub(crate) manifest: Manifest,
    /// Each with its place.
    pub(crate) warnings: Vec<String>,
}

/// Reads a manifest's text and what it includes.
///
/// # Errors
/// Fails with what is wrong, each with its line, and where an included environment is not there.
pub(crate) fn read(project: &Project, text: &str) -> Outcome<Read> {
    let mut warnings = Vec::new();
    let mut open = vec![project.root().to_owned()];
    let file = merged(&project.manifest_path(), text, &mut open, &mut warnings)?;
    Ok(Read {
        manifest: file.decide(),
        warnings,
    })
}

/// Returns a manifest with its includes below it: in order, later ones win, it itself last.
fn merged(
    path: &Path,
    text: &str,
    open: &mut Vec<PathBuf>,
    warnings: &mut Vec<String>,
) -> Outcome<ManifestFile> {
    let shown = path.display().to_string();
    let file = ManifestFile::parse(text).map_err(|error| {
        let places: Vec<String> = error
            .diagnostics
            .iter()
            .map(|one| one.render(&shown))
            .collect();
        CommandError::user(format!("the manifest is not valid\n{}", places.join("\n")))
    })?;
    warnings.extend(file.warnings.iter().map(|one| one.render(&shown)));
    let mut below: Option<ManifestFile> = None;
    for include in &file.include {
        let included = match include {
            Include::Dir { dir, .. } => folder(dir, open, warnings)
                .doing(|| format!("cannot include {dir:?}, as {shown} wants"))?,
            Include::Remote { remote, .. } => {
                let text = format!(
                    "{shown} includes the published environment {remote}, which this Nival cannot do yet"
                );
                return Err(
                    CommandError::user(text).hint("include a folder: { dir = \"../other\" }")
                );
            }
        };
        below = Some(match below {
            Some(below) => included.include_before(below),
            None => included,
        });
    }
    Ok(match below {
        Some(below) => file.include_before(below),
        None => file,
    })
}

fn folder(dir: &str, open: &mut Vec<PathBuf>, warnings: &mut Vec<String>) -> Outcome<ManifestFile> {
    let base = open.last().cloned().unwrap_or_default();
    let root = fs_err::canonicalize(base.join(dir))?;
    if open.len() > DEEPEST
        || open
            .iter()
            .any(|one| fs_err::canonicalize(one).is_ok_and(|one| one == root))
    {
        return Err(CommandError::user(format!(
            "{} includes itself",
            root.display()
        )));
    }
    let project = Project::at(&root)?;
    open.push(root);
    let file = merged(
        &project.manifest_path(),
        &project.manifest_text()?,
        open,
        warnings,
    );
    open.pop();
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(folder: &Path, text: &str) -> Project {
        fs_err::create_dir_all(folder).unwrap();
        Project::create(folder, text).unwrap()
    }

    #[test]
    fn later_includes_win_and_the_manifest_itself_wins_over_all() {
        let folder = tempfile::tempdir().unwrap();
        let vars = |a: &str, more: &str| format!("version = 1\n[vars]\n{a}\n{more}\n");
        project(
            &folder.path().join("one"),
            &vars("A = \"one\"\nB = \"one\"", "C = \"one\""),
        );
        project(
            &folder.path().join("two"),
            &vars("B = \"two\"", "C = \"two\""),
        );
        let text = vars(
            "C = \"own\"",
            "[include]\nenvironments = [{ dir = \"../one\" }, { dir = \"../two\" }]",
        );
        let own = project(&folder.path().join("own"), &text);
        let read = read(&own, &text).unwrap();
        let values: Vec<&str> = read.manifest.vars.values().map(String::as_str).collect();
        assert_eq!(values, ["one", "two", "own"]);
    }

    #[test]
    fn circles_missing_folders_and_published_environments_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let including =
            |what: &str| format!("version = 1\n[include]\nenvironments = [{{ {what} }}]\n");
        let text = including("dir = \"../one\"");
        project(&folder.path().join("one"), &including("dir = \"../own\""));
        let own = project(&folder.path().join("own"), &text);
        let lines = read(&own, &text).unwrap_err().lines().join(" / ");
        assert!(lines.contains("includes itself"), "{lines}");
        let lines = read(&own, &including("dir = \"../missing\""))
            .unwrap_err()
            .lines()
            .join(" / ");
        assert!(lines.contains("missing"), "{lines}");
        let lines = read(&own, &including("remote = \"acme/base\""))
            .unwrap_err()
            .lines()
            .join(" / ");
        assert!(lines.contains("acme/base"), "{lines}");
    }
}
