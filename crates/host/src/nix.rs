//! The `nix` program: how it is called, whatever version and configuration it has.

use std::ffi::{OsStr, OsString};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::process::{self, ProcessError};

/// What Nix says when another Nix is at work on the store's database at a moment when it cannot wait for it by itself:
/// both make it for the first time, or one reads the number of its schema while the other writes it.
const BUSY: &[(&str, &str)] = &[
    ("SQLite database", "is busy"),
    ("/db/schema\"", "is corrupt"),
];
/// How long a busy database is asked again. One that is really corrupt stays so.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the first wait is; each next one doubles, up to a second.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

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

    /// Runs a command to its end. Where another Nix keeps the store's database busy, it is run again for a while:
    /// every command used here may be repeated.
    ///
    /// # Errors
    /// Fails when it cannot be started or does not succeed.
    pub fn run(&self, command: &mut Command) -> Result<Output, ProcessError> {
        tracing::debug!(command = process::command_line(command), "running");
        let begun = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            match process::run(command) {
                Err(error) if is_busy(&error) && begun.elapsed() < PATIENCE => {
                    tracing::debug!("the store's database is busy, trying again");
                    std::thread::sleep(wait);
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
                result => return result,
            }
        }
    }
}

fn is_busy(error: &ProcessError) -> bool {
    let ProcessError::Failed { talk, .. } = error else {
        return false;
    };
    talk.lines()
        .filter(|line| line.contains("error:"))
        .any(|line| {
            BUSY.iter()
                .any(|(what, state)| line.contains(what) && line.contains(state))
        })
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

    /// A program in Nix's place whose database is busy twice, in both of Nix's ways.
    const BUSY_TWICE: &str = r#"
        tries=$(cat "$0" | wc -c); printf x >>"$0"
        if [ "$tries" -lt 2 ]; then
          echo "warning: something else" >&2
          case $tries in
            0) echo "error: SQLite database '/nix/var/nix/db/db.sqlite' is busy" >&2 ;;
            1) echo 'error: "/nix/var/nix/db/schema" is corrupt' >&2 ;;
          esac
          exit 1
        fi
        echo "$tries""#;

    #[test]
    fn a_busy_database_is_asked_again() {
        let counter = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", BUSY_TWICE]).arg(counter.path());
        let output = Nix::new("nix").run(&mut command).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "2");
    }

    #[test]
    fn any_other_failure_is_final() {
        let counter = tempfile::NamedTempFile::new().unwrap();
        let script = r#"printf x >>"$0"; echo "error: attribute 'busy' missing" >&2; exit 1"#;
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(counter.path());
        let error = Nix::new("nix").run(&mut command).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
        assert_eq!(fs_err::read(counter.path()).unwrap(), b"x");
    }
}
