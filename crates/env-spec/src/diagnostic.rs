//! What is wrong in a text that a person wrote: where, what, and what to do.

use std::fmt::{self, Write as _};
use std::ops::Range;

/// Longer lines are cut in messages.
const LONGEST_SNIPPET: usize = 160;

/// One thing that is wrong at one place. Programs decide how to show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong: lower-case, no full stop.
    pub message: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// How many characters of the line it is about, at least 1.
    pub length: usize,
    /// The line, cut when it is very long.
    pub snippet: String,
    /// What to do, where that is known.
    pub help: Option<String>,
}

impl Diagnostic {
    /// Makes a diagnostic about a range of bytes of a text.
    #[must_use]
    pub fn at(text: &str, range: &Range<usize>, message: impl Into<String>) -> Self {
        let start = floor(text, range.start);
        let end = floor(text, range.end.max(range.start));
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..]
            .find('\n')
            .map_or(text.len(), |newline| start + newline);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let characters = text[start..end.clamp(start, line_end)].chars().count();
        Self {
            message: message.into(),
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            length: characters.max(1),
            snippet: visible(&line.chars().take(LONGEST_SNIPPET).collect::<String>()),
            help: None,
        }
    }

    /// Returns it with what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Returns several lines of text: the place, the line with the place underlined, and the help.
    #[must_use]
    pub fn render(&self, file: &str) -> String {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let column = self.column.min(LONGEST_SNIPPET + 1);
        let length = self
            .length
            .min((LONGEST_SNIPPET + 2).saturating_sub(column))
            .max(1);
        let mut text = format!("{file}:{}:{}: {}\n", self.line, self.column, self.message);
        let indent = " ".repeat(column - 1);
        let carets = "^".repeat(length);
        write!(
            text,
            "{margin} |\n{number} | {}\n{margin} | {indent}{carets}",
            self.snippet
        )
        .expect("a String takes every write");
        if let Some(help) = &self.help {
            write!(text, "\n{margin} = help: {help}").expect("a String takes every write");
        }
        text
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.message)?;
        match &self.help {
            Some(help) => write!(formatter, "; {help}"),
            None => Ok(()),
        }
    }
}

/// Returns the known name that is nearest to a misspelt one, if any is near enough to be meant.
#[must_use]
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters may be wrong: more is another word.
    let most = (wrong.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (distance(wrong, name), name))
        .filter(|(distance, name)| *distance <= most && *distance < name.chars().count())
        .min()
        .map(|(_, name)| name)
}

/// Returns how many letters to insert, delete, replace or swap with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.to_lowercase().chars().take(100).collect();
    let right: Vec<char> = right.to_lowercase().chars().take(100).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, one) in left.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, other) in right.iter().enumerate() {
            let mut cost = (row[j] + usize::from(one != other))
                .min(row[j + 1] + 1)
                .min(next[j] + 1);
            if i > 0 && j > 0 && left[i - 1] == *other && *one == right[j - 1] {
                cost = cost.min(before[j - 1] + 1);
            }
            next.push(cost);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[right.len()]
}

/// Tabs would shift the underline, control characters could rewrite a terminal.
fn visible(line: &str) -> String {
    line.chars()
        .map(|one| {
            if one == '\t' {
                ' '
            } else if one.is_control() {
                '\u{fffd}'
            } else {
                one
            }
        })
        .collect()
}

fn floor(text: &str, index: usize) -> usize {
    text.floor_char_boundary(index.min(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_counted_in_characters_and_underlined() {
        let text = "a = 1\nüb = 2\nc";
        let start = text.find('b').unwrap();
        let found =
            Diagnostic::at(text, &(start..start + 1), "unknown key b").with_help("remove it");
        assert_eq!((found.line, found.column, found.length), (2, 2, 1));
        assert_eq!(
            found.render("manifest.toml"),
            "manifest.toml:2:2: unknown key b\n  |\n2 | üb = 2\n  |  ^\n  = help: remove it"
        );
        assert_eq!(found.to_string(), "line 2: unknown key b; remove it");
    }

    #[test]
    fn ranges_outside_or_within_characters_do_no_harm() {
        let backwards = Range { start: 3, end: 1 };
        for range in [0..0, 5..900, 900..901, 1..2, backwards] {
            let found = Diagnostic::at("ä\nb", &range, "x");
            assert!(found.length >= 1 && found.column >= 1, "{range:?}");
            let _ = found.render("f").len();
        }
    }

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        assert_eq!(
            nearest("pkg-pth", ["pkg-path", "version"]),
            Some("pkg-path")
        );
        assert_eq!(nearest("isntall", ["install", "include"]), Some("install"));
        assert_eq!(nearest("pythn3", ["python3", "python2"]), Some("python3"));
        assert_eq!(nearest("foo", ["bar", "install"]), None);
        assert_eq!(nearest("", ["a"]), None);
    }
}
