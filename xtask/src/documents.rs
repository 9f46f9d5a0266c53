//! What the documents say of the code and of each other: quoted messages, names, commands and links.

mod names;

use std::path::Path;

use anyhow::Result;
use fs_err as fs;
use names::Names;

/// The heading of a column whose code spans are messages of Nival, word for word; `…` stands for what varies.
const QUOTES: &str = "Nival says";

/// How far apart in a source the parts of one message may be.
const MESSAGE: usize = 400;

/// Returns what is wrong in the documents among the files.
pub(crate) fn faults(root: &Path, files: &[String]) -> Result<Vec<String>> {
    let mut sources = Vec::new();
    for file in files.iter().filter(|file| is_source(file)) {
        sources.push(Source {
            file: file.clone(),
            text: plain(&fs::read_to_string(root.join(file))?),
        });
    }
    let names = Names::of(root, &sources)?;
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.ends_with(".md")) {
        let text = fs::read_to_string(root.join(file))?;
        let folder = Path::new(file).parent().unwrap_or(Path::new(""));
        for link in links(&text) {
            if !root.join(folder).join(link).exists() {
                faults.push(format!(
                    "{file}: a link leads to {link}, which is not there"
                ));
            }
        }
        for quote in quotes(&text) {
            if !sources.iter().any(|source| says(&source.text, quote)) {
                faults.push(format!("{file}: nothing in the sources says {quote:?}"));
            }
        }
        faults.extend(names.faults(file, &text));
    }
    Ok(faults)
}

/// A file that ships, or is applied.
struct Source {
    file: String,
    text: String,
}

fn is_source(file: &str) -> bool {
    let written_by_hand = file.starts_with("crates/") && file.ends_with(".rs");
    let applied = file.starts_with("deploy/") && file.ends_with(".yaml");
    (written_by_hand && !file.contains("/tests")) || applied
}

/// Returns a source's text as its messages read: literals that go over several lines in one, quotes not escaped.
fn plain(text: &str) -> String {
    let joined = text.replace("\\\n", " ").replace("\\\"", "\"");
    joined.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Tells whether the parts of a quotation follow each other closely.
fn says(text: &str, quote: &str) -> bool {
    let mut parts = quote
        .split('…')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let Some(first) = parts.next() else {
        return false;
    };
    let rest: Vec<&str> = parts.collect();
    text.match_indices(first).any(|(at, _)| {
        let mut from = at + first.len();
        let mut end = (at + MESSAGE).min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        rest.iter().all(|part| {
            let found = text.get(from..end).and_then(|within| within.find(part));
            found.is_some_and(|offset| {
                from += offset + part.len();
                true
            })
        })
    })
}

/// Returns the code spans of the first column of tables headed [`QUOTES`].
fn quotes(text: &str) -> Vec<&str> {
    let mut quotes = Vec::new();
    let mut quoting = false;
    for line in text.lines() {
        let Some(row) = line.strip_prefix('|') else {
            quoting = false;
            continue;
        };
        let cell = row.split('|').next().unwrap_or_default();
        if cell.trim() == QUOTES {
            quoting = true;
        } else if quoting {
            quotes.extend(cell.split('`').skip(1).step_by(2));
        }
    }
    quotes
}

/// Returns the targets of links to files of the project, without what follows `#`.
fn links(text: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut links = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for after in line.split("](").skip(1) {
            let target = after.split(')').next().unwrap_or_default();
            let target = target.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                links.push(target);
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotation_is_found_whatever_stands_between_its_parts() {
        let source = plain(
            "#[error(\n  \"environment {environment} is not visible to namespace {namespace}: \\\n   no rule allows {0:?}\"\n)]",
        );
        assert!(says(
            &source,
            "environment … is not visible to namespace …: no rule"
        ));
        assert!(!says(
            &source,
            "environment … is not visible in namespace …"
        ));
        assert!(!says(&source, "namespace … environment"));
        assert!(!says(&source, "…"));
        assert!(says(&plain(r#"error: \"a\" is"#), "\"a\" is"));
    }

    #[test]
    fn only_tables_of_messages_are_quotations() {
        let text = "| Nival says | cause |\n|---|---|\n| `one` or `two` | `x` |\n\n| other |\n|---|\n| `three` |\n";
        assert_eq!(quotes(text), ["one", "two"]);
    }

    #[test]
    fn links_to_files_are_found_outside_of_code() {
        let text = "[a](b.md#c) [d](https://e/) [f](#g)\n```\n[h](i.md)\n```\n[j](k.md)";
        assert_eq!(links(text), ["b.md", "k.md"]);
    }
}
