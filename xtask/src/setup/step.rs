//! Steps of the set-up: each makes one folder, and is run again only when what it is made from has changed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use fs_err as fs;
use sha2::{Digest as _, Sha256};

use crate::oci::hex;
use crate::say;

/// Everything that a step's result depends on.
pub(super) struct Inputs(Sha256);

impl Inputs {
    /// Starts with the step's own recipe number, to be raised whenever its code changes what it makes.
    pub(super) fn of_recipe(number: u32) -> Self {
        Self(Sha256::new()).with(number.to_le_bytes())
    }

    /// Adds one input. Its length goes in front, so that no two lists of inputs look alike.
    pub(super) fn with(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.update((bytes.as_ref().len() as u64).to_le_bytes());
        self.0.update(bytes.as_ref());
        self
    }

    fn digest(self) -> String {
        hex(&self.0.finalize())
    }
}

/// The set-up folder with its scratch space and the stamps of steps that are done.
#[derive(Debug, Clone)]
pub(super) struct Steps {
    setup: PathBuf,
}

impl Steps {
    /// Opens the set-up folder and removes what a broken run left. The caller holds the folder's lock.
    pub(super) fn open(setup: &Path) -> Result<Self> {
        let steps = Self::of(setup);
        remove(&steps.scratch())?;
        for folder in [steps.scratch(), setup.join(".stamps")] {
            fs::create_dir_all(folder)?;
        }
        Ok(steps)
    }

    /// Returns the steps of a folder for those who only look at it.
    pub(super) fn of(setup: &Path) -> Self {
        Self {
            setup: setup.to_owned(),
        }
    }

    /// Returns the set-up folder.
    pub(super) fn setup(&self) -> &Path {
        &self.setup
    }

    /// Returns a folder whose content lives no longer than this run.
    pub(super) fn scratch(&self) -> PathBuf {
        self.setup.join(".scratch")
    }

    /// Makes `folder` (relative to the set-up folder) by `work`, unless it was made from the same inputs before.
    /// `work` fills a scratch folder, which takes the place of the old one only when it is complete.
    pub(super) fn run(
        &self,
        folder: &str,
        inputs: Inputs,
        work: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let digest = inputs.digest();
        let name = folder.replace('/', "-");
        let stamp = self.setup.join(".stamps").join(&name);
        let target = self.setup.join(folder);
        if target.exists() && fs::read_to_string(&stamp).ok().as_deref() == Some(&digest) {
            return Ok(());
        }
        say(&format!("{folder} …"));
        let begun = Instant::now();
        let fresh = self.scratch().join(&name);
        remove(&fresh)?;
        fs::create_dir_all(&fresh)?;
        work(&fresh).with_context(|| format!("making {}", target.display()))?;
        replace(&fresh, &target, &self.scratch().join(format!("{name}.old")))?;
        host::fs::write_atomic(&stamp, digest.as_bytes())?;
        say(&format!("{folder}: made in {:.1?}", begun.elapsed()));
        Ok(())
    }
}

/// Puts a folder in another's place. The old one is out of the way before it is removed, file by file.
fn replace(fresh: &Path, target: &Path, old: &Path) -> Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    remove(old)?;
    if target.exists() {
        fs::rename(target, old)?;
    }
    fs::rename(fresh, target)?;
    remove(old)
}

/// Moves everything in a folder into another one of the same file system.
pub(super) fn move_into(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::rename(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Removes a folder with everything in it, if it is there.
pub(super) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(steps: &Steps, input: &str, runs: &mut u32) -> Result<()> {
        steps.run("a/b", Inputs::of_recipe(1).with(input), |folder| {
            *runs += 1;
            Ok(fs::write(folder.join("file"), input)?)
        })
    }

    #[test]
    fn a_step_runs_again_only_when_its_inputs_change() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let steps = Steps::open(folder.path())?;
        let mut runs = 0;
        for (input, expected) in [("one", 1), ("one", 1), ("two", 2), ("two", 2)] {
            make(&steps, input, &mut runs)?;
            assert_eq!(runs, expected);
            assert_eq!(fs::read_to_string(folder.path().join("a/b/file"))?, input);
        }
        Ok(())
    }

    #[test]
    fn a_step_that_fails_leaves_what_was_there_and_is_run_again() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let steps = Steps::open(folder.path())?;
        let mut runs = 0;
        make(&steps, "one", &mut runs)?;
        let failed = steps.run("a/b", Inputs::of_recipe(2), |_| anyhow::bail!("no network"));
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(folder.path().join("a/b/file"))?, "one");
        make(&steps, "one", &mut runs)?;
        assert_eq!(runs, 1, "the old inputs are still the ones on the stamp");
        Ok(())
    }

    #[test]
    fn inputs_are_told_apart_by_their_borders() {
        let one = Inputs::of_recipe(1).with("ab").with("c").digest();
        assert_ne!(one, Inputs::of_recipe(1).with("a").with("bc").digest());
    }
}
