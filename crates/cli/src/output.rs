//! Where words go: data to standard output, talk to standard error.

use std::io::{self, IsTerminal as _, Write as _};

use owo_colors::OwoColorize as _;
use serde::Serialize;

use crate::error::{CommandError, Outcome};

/// How much a command talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Talk {
    /// Errors alone.
    Quiet,
    /// Progress and results.
    Normal,
}

/// The one door to the terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    talk: Talk,
}

/// Standard output took no more.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(crate) struct OutputError(#[source] io::Error);

impl OutputError {
    /// Tells whether the reader went away.
    #[must_use]
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// The data could not be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the answer as JSON")]
struct JsonError(#[source] serde_json::Error);

impl Printer {
    /// Returns a printer that talks this much.
    #[must_use]
    pub(crate) fn new(talk: Talk) -> Self {
        Self { talk }
    }

    /// Tells whether a progress bar would be seen.
    #[must_use]
    pub(crate) fn shows_bars(self) -> bool {
        self.talk >= Talk::Normal && io::stderr().is_terminal()
    }

    /// Writes a line of data: what the command was asked for.
    ///
    /// # Errors
    /// Fails when standard output takes no more.
    pub(crate) fn data(self, line: impl AsRef<str>) -> Result<(), OutputError> {
        self.raw(format!("{}\n", line.as_ref()).as_bytes())
    }

    /// Writes bytes of data as they are.
    ///
    /// # Errors
    /// Fails when standard output takes no more.
    pub(crate) fn raw(self, bytes: &[u8]) -> Result<(), OutputError> {
        let mut out = anstream::stdout().lock();
        out.write_all(bytes)
            .and_then(|()| out.flush())
            .map_err(OutputError)
    }

    /// Writes data as JSON.
    ///
    /// # Errors
    /// Fails when standard output takes no more.
    pub(crate) fn json(self, value: &impl Serialize) -> Outcome {
        Ok(self.data(serde_json::to_string_pretty(value).map_err(JsonError)?)?)
    }

    /// Writes a table with aligned columns. Control characters, which a hub may send, are shown escaped.
    ///
    /// # Errors
    /// Fails when standard output takes no more.
    pub(crate) fn table(self, head: &[&str], rows: &[Vec<String>]) -> Result<(), OutputError> {
        self.raw(table(head, rows).as_bytes())
    }

    /// Tells the user something that is not data.
    pub(crate) fn say(self, line: impl AsRef<str>) {
        if self.talk >= Talk::Normal {
            talk(line.as_ref());
        }
    }

    /// Warns; also when quiet.
    pub(crate) fn warn(self, line: impl AsRef<str>) {
        talk(&format!("{} {}", "warning:".yellow().bold(), line.as_ref()));
    }

    /// Tells of a failure. Parts of its text may come from a hub, so nothing in it may reach the terminal as more than text.
    pub(crate) fn error(self, error: &CommandError) {
        for (index, text) in error.lines().iter().enumerate() {
            let mut lines = text.lines().map(visible);
            let first = lines.next().unwrap_or_default();
            if index == 0 {
                talk(&format!("{} {first}", "error:".red().bold()));
            } else {
                talk(&format!("  {} {first}", "caused by:".dimmed()));
            }
            lines.for_each(|line| talk(&format!("    {line}")));
        }
        for hint in error.hints() {
            talk(&format!("{} {}", "hint:".cyan().bold(), visible(hint)));
        }
    }
}

/// Standard error may be closed; then there is nobody to tell, and nothing else to do.
fn talk(line: &str) {
    drop(writeln!(anstream::stderr().lock(), "{line}"));
}

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let shown: Vec<Vec<String>> = std::iter::once(&head)
        .chain(rows)
        .map(|row| row.iter().map(|cell| visible(cell)).collect())
        .collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            shown
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    shown.iter().fold(String::new(), |mut text, row| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
        }
        text.push_str(line.trim_end());
        text.push('\n');
        text
    })
}

/// Returns a text that can do nothing to a terminal.
#[must_use]
pub(crate) fn visible(text: &str) -> String {
    text.chars()
        .flat_map(|one| {
            if one.is_control() {
                one.escape_default().collect::<Vec<_>>()
            } else {
                vec![one]
            }
        })
        .collect()
}

/// Returns a size for people.
#[must_use]
pub(crate) fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// Returns "1 path", "2 paths".
#[must_use]
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {many}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_aligns_and_shows_control_characters() {
        let rows = vec![
            vec!["a".into(), "long\u{1b}[31m".into()],
            vec!["bcd".into(), "x".into()],
        ];
        let text = table(&["ID", "WHAT"], &rows);
        assert_eq!(text, "ID   WHAT\na    long\\u{1b}[31m\nbcd  x\n");
    }

    #[test]
    fn counts_read_well() {
        assert_eq!(count(1, "path", "paths"), "1 path");
        assert_eq!(count(0, "path", "paths"), "0 paths");
    }
}
