//! The `nix` program: how it is called, whatever version and configuration it has.

use std::ffi::{OsStr, OsString};
use std::process::{Command, Output};

use crate::process::{self, ProcessError};

/// A way to run `nix`.
#[derive(Debug, Clone)]
pub struct Nix {
    program: OsString,
    options: Vec<(String, String)>,
}

impl Nix {
    /// Returns a runner of this program, a path or a name on `PATH`.
    #[must_use]
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            options: Vec::new(),
        }
    }

    /// Sets an option of Nix's configuration for every call.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl Into<String>) -> Self {
        self.options.push((name.to_owned(), value.into()));
        self
    }

    /// Returns the program.
    #[must_use]
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// Returns a command such as `nix path-info`, ready for its own arguments.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        // The commands used here are "experimental" in every release of Nix so far.
        command.args(["--extra-experimental-features", "nix-command"]);
        for (name, value) in &self.options {
            command.args(["--option", name, value]);
        }
        command.args(words);
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// Fails when it cannot be started or does not succeed.
    pub fn run(&self, command: &mut Command) -> Result<Output, ProcessError> {
        tracing::debug!(command = process::command_line(command), "running");
        process::run(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_words_are_passed_as_they_are() {
        let nix = Nix::new("/opt/nix").option("substituters", "file:///a b");
        let command = nix.command(&["path-info", "--json"]);
        assert_eq!(
            process::command_line(&command),
            "/opt/nix --extra-experimental-features nix-command --option substituters 'file:///a b' path-info --json"
        );
    }
}
