//! The `.nival` folder of a project: where it is and what lies in it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use env_spec::EnvironmentName;
use env_spec::lockfile::Lockfile;
use host::lock::FileLock;
use serde::{Deserialize, Serialize};

use crate::error::{CommandError, Doing as _, Outcome};

/// The folder that makes a folder a project.
pub(crate) const FOLDER: &str = ".nival";
/// Manifests and locks are written by people and tools of theirs, and bounded all the same.
const LARGEST_MANIFEST: u64 = 4 << 20;
const LARGEST_LOCK: u64 = 64 << 20;
/// How long a command waits for another one in the same project, such as a download in `nival install`.
const WAIT: Duration = Duration::from_secs(600);

/// A project.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    root: PathBuf,
}

/// `.nival/remote.toml`: where the environment is pushed to. It is meant for git.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remote {
    /// The environment's name on the hub.
    pub(crate) environment: EnvironmentName,
}

/// The lock file's text is not one that this Nival can read.
#[derive(Debug, thiserror::Error)]
#[error("{} is not a valid lock file", path.display())]
struct BadLock {
    path: PathBuf,
    #[source]
    source: serde_json::Error,
}

impl Project {
    /// Makes the folder of a new project here.
    ///
    /// # Errors
    /// Fails when there is one already, or the folder cannot be written.
    pub(crate) fn create(root: &Path, manifest: &str) -> Outcome<Self> {
        let project = Self {
            root: root.to_owned(),
        };
        if project.manifest_path().exists() {
            let path = project.manifest_path();
            return Err(
                CommandError::user(format!("{} is there already", path.display()))
                    .hint("change it with `nival install` or an editor, or remove it first"),
            );
        }
        fs_err::create_dir_all(project.folder())?;
        host::fs::write_atomic(&project.folder().join(".gitignore"), b"/state/\n")?;
        host::fs::write_atomic(&project.manifest_path(), manifest.as_bytes())?;
        Ok(project)
    }

    /// Returns the project of exactly this folder.
    ///
    /// # Errors
    /// Fails when it has none.
    pub(crate) fn at(root: &Path) -> Outcome<Self> {
        let project = Self {
            root: root.to_owned(),
        };
        if project.manifest_path().is_file() {
            return Ok(project);
        }
        Err(CommandError::user(format!(
            "there is no {}",
            project.manifest_path().display()
        )))
    }

    /// Finds the project of a folder: in it, or in the nearest folder above it.
    ///
    /// # Errors
    /// Fails when there is none.
    pub(crate) fn find(start: &Path) -> Outcome<Self> {
        let start = std::path::absolute(start)?;
        start
            .ancestors()
            .find(|folder| folder.join(FOLDER).join("manifest.toml").is_file())
            .map(|root| Self {
                root: root.to_owned(),
            })
            .ok_or_else(|| {
                let text = format!(
                    "no {FOLDER}/manifest.toml in {} nor above it",
                    start.display()
                );
                CommandError::user(text).hint("make one with `nival init`")
            })
    }

    /// Returns the project's folder.
    #[must_use]
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns `.nival`.
    #[must_use]
    pub(crate) fn folder(&self) -> PathBuf {
        self.root.join(FOLDER)
    }

    /// Returns the manifest's path.
    #[must_use]
    pub(crate) fn manifest_path(&self) -> PathBuf {
        self.folder().join("manifest.toml")
    }

    /// Returns the lock's path.
    #[must_use]
    pub(crate) fn lock_path(&self) -> PathBuf {
        self.folder().join("manifest.lock")
    }

    /// Returns the folder of what this machine alone knows, making it where it is missing.
    ///
    /// # Errors
    /// Fails when it cannot be made.
    pub(crate) fn state(&self) -> io::Result<PathBuf> {
        let state = self.folder().join("state");
        fs_err::create_dir_all(&state)?;
        Ok(state)
    }

    /// Keeps other commands from changing this project meanwhile.
    ///
    /// # Errors
    /// Fails when another command holds it for too long.
    pub(crate) fn hold(&self) -> Outcome<FileLock> {
        let path = self.state()?.join("lock");
        Ok(FileLock::acquire(
            &path,
            &format!("the project {}", self.root.display()),
            WAIT,
        )?)
    }

    /// Reads the manifest's text.
    ///
    /// # Errors
    /// Fails when it cannot be read, is too large or is not UTF-8.
    pub(crate) fn manifest_text(&self) -> Outcome<String> {
        read_text(&self.manifest_path(), LARGEST_MANIFEST)
    }

    /// Reads the lock's text; `None` where there is no lock yet.
    ///
    /// # Errors
    /// Fails when it cannot be read.
    pub(crate) fn lock_text(&self) -> Outcome<Option<String>> {
        let path = self.lock_path();
        if !path.exists() {
            return Ok(None);
        }
        read_text(&path, LARGEST_LOCK).map(Some)
    }

    /// Reads the lock; `None` where there is none yet.
    ///
    /// # Errors
    /// Fails when it cannot be read or is no lock.
    pub(crate) fn lock(&self) -> Outcome<Option<Lockfile>> {
        let Some(text) = self.lock_text()? else {
            return Ok(None);
        };
        let lock = serde_json::from_str(&text)
            .map_err(|source| BadLock {
                path: self.lock_path(),
                source,
            })
            .map_err(|error| {
                CommandError::from(error).hint("make it anew: remove it and run `nival lock`")
            })?;
        Ok(Some(lock))
    }

    /// Reads where the environment is pushed to.
    ///
    /// # Errors
    /// Fails when the file is there and makes no sense.
    pub(crate) fn remote(&self) -> Outcome<Option<Remote>> {
        let path = self.remote_path();
        if !path.exists() {
            return Ok(None);
        }
        let text = read_text(&path, LARGEST_MANIFEST)?;
        toml::from_str(&text)
            .doing(|| format!("{} is not valid", path.display()))
            .map(Some)
    }

    /// Remembers where the environment is pushed to.
    ///
    /// # Errors
    /// Fails when the file cannot be written.
    pub(crate) fn set_remote(&self, remote: &Remote) -> Outcome {
        let text = format!(
            "# Where `nival push` publishes this environment.\nenvironment = \"{}\"\n",
            remote.environment
        );
        Ok(host::fs::write_atomic(
            &self.remote_path(),
            text.as_bytes(),
        )?)
    }

    fn remote_path(&self) -> PathBuf {
        self.folder().join("remote.toml")
    }
}

fn read_text(path: &Path, limit: u64) -> Outcome<String> {
    let bytes = host::fs::read_bounded(path, limit)?;
    String::from_utf8(bytes).doing(|| format!("{} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_found_from_a_folder_below_it() {
        let folder = tempfile::tempdir().unwrap();
        Project::create(folder.path(), "version = 1\n").unwrap();
        let below = folder.path().join("a/b");
        fs_err::create_dir_all(&below).unwrap();
        assert_eq!(Project::find(&below).unwrap().root(), folder.path());
    }

    #[test]
    fn a_manifest_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        Project::create(folder.path(), "first").unwrap();
        Project::create(folder.path(), "second").unwrap_err();
        assert_eq!(
            Project::find(folder.path())
                .unwrap()
                .manifest_text()
                .unwrap(),
            "first"
        );
    }

    #[test]
    fn the_remote_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let project = Project::create(folder.path(), "").unwrap();
        assert_eq!(project.remote().unwrap(), None);
        let remote = Remote {
            environment: "demo/app".parse().unwrap(),
        };
        project.set_remote(&remote).unwrap();
        assert_eq!(project.remote().unwrap(), Some(remote));
    }
}
