//! Child processes whose output is read: run, or fail with what the program said.

use std::ffi::OsString;
use std::io;
use std::process::{Command, ExitStatus, Output, Stdio};

/// How much of a failed program's talk goes into the error.
const LAST_LINES: usize = 12;

/// Why a program gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It is not there or may not be run.
    #[error("cannot run {}", program.display())]
    Start {
        /// The program.
        program: OsString,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ran and failed.
    #[error("{command} failed with {status}: {talk}")]
    Failed {
        /// The command as a person would type it.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it wrote to standard error.
        talk: String,
    },
}

/// Runs a command to its end with nothing on standard input, and returns what it wrote.
///
/// # Errors
/// Fails when it cannot be started or ends with any status but success.
pub fn run(command: &mut Command) -> Result<Output, ProcessError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ProcessError::Start {
            program: command.get_program().to_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(output);
    }
    Err(ProcessError::Failed {
        command: command_line(command),
        status: output.status,
        talk: last_lines(&output.stderr),
    })
}

/// Returns the command as a person would type it.
#[must_use]
pub fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| quoted(&word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+^".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Returns the last lines of a program's talk.
#[must_use]
pub fn last_lines(talk: &[u8]) -> String {
    let text = String::from_utf8_lossy(talk);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_command_status_and_talk() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo it is broken >&2; exit 3"]);
        let error = run(&mut command).unwrap_err().to_string();
        assert!(
            error.starts_with("sh -c 'echo it is broken >&2; exit 3' failed"),
            "{error}"
        );
        assert!(error.contains("exit status: 3: it is broken"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("/nonexistent/program")).unwrap_err();
        assert_eq!(error.to_string(), "cannot run /nonexistent/program");
    }
}
