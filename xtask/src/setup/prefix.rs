//! Programs of newer Debian suites in folders of their own, with all their libraries, made to run on this machine.

use std::path::Path;

use anyhow::{Context as _, Result};
use fs_err as fs;

use super::apt::Apt;
use super::step::{self, Inputs, Steps};
use super::tools::Tools;

/// What goes into one folder.
pub(super) struct Prefix {
    /// Relative to the set-up folder.
    pub(super) folder: &'static str,
    /// Debian's suite.
    pub(super) suite: &'static str,
    /// The packages whose programs are wanted.
    pub(super) packages: &'static [&'static str],
    /// The programs, relative to the folder.
    pub(super) programs: &'static [&'static str],
}

impl Prefix {
    /// Brings the folder.
    pub(super) fn bring(&self, steps: &Steps, tools: &Tools) -> Result<()> {
        let inputs = self
            .programs
            .iter()
            .fold(Inputs::of_recipe(1), |inputs, name| inputs.with(name))
            .with(self.suite)
            .with(self.packages.join(" "))
            .with(steps.setup().as_os_str().as_encoded_bytes());
        self.bring_from(steps, tools, inputs)
    }

    /// Brings the folder, made anew when these inputs change.
    pub(super) fn bring_from(&self, steps: &Steps, tools: &Tools, inputs: Inputs) -> Result<()> {
        let target = steps.setup().join(self.folder);
        steps.run(self.folder, inputs, |fresh| {
            self.fill(steps, tools, fresh, &target)
        })
    }

    fn fill(&self, steps: &Steps, tools: &Tools, fresh: &Path, target: &Path) -> Result<()> {
        let apt = Apt::open(&steps.scratch(), self.suite, &tools.keyring())?;
        let closure = apt.closure(self.packages)?;
        let wanted = closure
            .values()
            .filter(|package| self.is_needed(&package.name));
        let unpacked = apt.unpack(&steps.scratch(), wanted)?;
        step::move_into(unpacked.path(), fresh)?;
        let share = fresh.join("usr/share");
        for part in ["doc", "man", "locale", "lintian", "bug"] {
            step::remove(&share.join(part))?;
        }
        // The path of the libraries is the final one, so a program is tried where it will be found: after the move.
        for program in self.programs {
            tools.patch(
                &fresh.join(program),
                &target.join("usr/lib/x86_64-linux-gnu"),
            )?;
        }
        fs::metadata(fresh.join("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")).with_context(
            || format!("Debian {} keeps its loader somewhere else now", self.suite),
        )?;
        Ok(())
    }

    /// Tells whether the programs at work need the package; dependencies name Perl and user management too.
    fn is_needed(&self, name: &str) -> bool {
        let perl = name.ends_with("-perl") || name.starts_with("libperl");
        self.packages.contains(&name)
            || (name.starts_with("lib") && !perl && !name.starts_with("libpam"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_libraries_and_what_was_asked_for_are_taken() {
        let prefix = Prefix {
            folder: "nix/sid",
            suite: "sid",
            packages: &["nix-bin"],
            programs: &["usr/bin/nix"],
        };
        for name in ["nix-bin", "libc6", "libssl3t64"] {
            assert!(prefix.is_needed(name), "{name}");
        }
        for name in ["perl-base", "libperl5.40", "libdbi-perl", "passwd"] {
            assert!(!prefix.is_needed(name), "{name}");
        }
    }
}
