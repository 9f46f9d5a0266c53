//! Names in the documents that the code has to know: metrics, annotations, commands and values of the chart.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use fs_err as fs;

use super::Source;

/// What begins the names of metrics, and where each is registered without it.
const METRICS: &[(&str, &str)] = &[
    ("nival_agent_", "crates/agent/src/"),
    ("nival_hub_", "crates/hub/src/"),
    ("nival_node_", "crates/operator/src/node/"),
    ("nival_operator_", "crates/operator/src/"),
];

/// What Prometheus' text format appends to a registered name.
const SUFFIXES: &[&str] = &["_total", "_bucket", "_sum", "_count", "_seconds", "_bytes"];

/// What begins the names of annotations and labels.
const ANNOTATION: &str = "nival.dev/";

/// How each program is called, and the reference that its own help is in. The longer ones first.
const PROGRAMS: &[(&str, &str)] = &[
    ("kubectl nival", "docs/reference/kubectl-nival.md"),
    ("nival-agent", "docs/reference/nival-agent.md"),
    ("nival-hub", "docs/reference/nival-hub.md"),
    ("nival-operator", "docs/reference/nival-operator.md"),
    ("nival", "docs/reference/nival.md"),
];

/// The chart's values.
const VALUES: &str = "deploy/helm/nival/values.yaml";

/// What ends the names of files that look like values.
const FILES: &[&str] = &[
    "io", "json", "local", "md", "sock", "sqlite", "tmpl", "toml", "yaml",
];

/// Where values of the chart are spoken of.
const GUIDES: &str = "docs/guides/";

/// What the code knows.
pub(super) struct Names<'a> {
    sources: &'a [Source],
    /// The references that are there, by how their programs are called.
    references: Vec<(&'static str, String)>,
    /// The chart's values by their paths, with what stands behind the colon.
    values: BTreeMap<String, String>,
}

impl<'a> Names<'a> {
    pub(super) fn of(root: &Path, sources: &'a [Source]) -> Result<Self> {
        let mut references = Vec::new();
        for (program, file) in PROGRAMS {
            let path = root.join(file);
            if path.exists() {
                references.push((*program, fs::read_to_string(path)?));
            }
        }
        let path = root.join(VALUES);
        let values = match path.exists() {
            true => values(&fs::read_to_string(path)?),
            false => BTreeMap::new(),
        };
        Ok(Self {
            sources,
            references,
            values,
        })
    }

    pub(super) fn faults(&self, file: &str, text: &str) -> Vec<String> {
        let mut faults = Vec::new();
        for name in metrics(text).filter(|name| !self.is_registered(name)) {
            faults.push(format!("{file}: no metric has the name {name}"));
        }
        for name in annotations(text).filter(|name| !self.is_annotation(name)) {
            faults.push(format!("{file}: the code knows no {name}"));
        }
        for (code, explained) in code(text) {
            // What a table explains in its first column may be a message, which is no command.
            let command = self.unknown_command(code).filter(|_| !explained);
            if let Some(command) = command {
                faults.push(format!("{file}: there is no command `{command}`"));
            }
            if file.starts_with(GUIDES) && self.is_no_value(code) {
                faults.push(format!("{file}: the chart has no value {code}"));
            }
        }
        let written = value_files(text).filter(|path| self.is_missing(path));
        faults.extend(written.map(|path| format!("{file}: the chart has no value {path}")));
        faults
    }

    fn is_registered(&self, name: &str) -> bool {
        METRICS.iter().any(|(prefix, folder)| {
            let Some(mut rest) = name.strip_prefix(prefix) else {
                return false;
            };
            loop {
                let literal = format!("\"{rest}\"");
                let mut files = self
                    .sources
                    .iter()
                    .filter(|source| source.file.starts_with(folder));
                if files.any(|source| source.text.contains(&literal)) {
                    return true;
                }
                let Some(shorter) = SUFFIXES.iter().find_map(|suffix| rest.strip_suffix(suffix))
                else {
                    return false;
                };
                rest = shorter;
            }
        })
    }

    fn is_annotation(&self, name: &str) -> bool {
        self.sources.iter().any(|source| {
            source.text.match_indices(name).any(|(at, _)| {
                let after = source.text[at + name.len()..].chars().next();
                after.is_none_or(|character| !is_of_name(character))
            })
        })
    }

    /// Returns the command that a piece of code begins with, where its program does not have it.
    fn unknown_command(&self, code: &str) -> Option<String> {
        let code = code.trim_start().trim_start_matches("$ ");
        let (program, reference) = self.references.iter().find(|(program, _)| {
            let rest = code.strip_prefix(program);
            rest.is_some_and(|rest| rest.starts_with(' ') && !rest.starts_with("  "))
        })?;
        let rest = code[program.len()..].trim_start();
        let verb: String = rest.chars().take_while(|one| is_of_name(*one)).collect();
        let is_verb = verb.starts_with(|first: char| first.is_ascii_lowercase())
            && rest[verb.len()..].starts_with([' ', '\n'])
            || rest == verb && !verb.is_empty() && !verb.starts_with('-');
        let command = format!("{program} {verb}");
        (is_verb && !reference.contains(&format!("`{command}`"))).then_some(command)
    }

    /// Tells whether a piece of code reads like a value of the chart, and is none.
    fn is_no_value(&self, code: &str) -> bool {
        let of_path = |character: char| character.is_ascii_alphanumeric() || character == '.';
        let mut parts = code.split('.');
        let first = parts.next().unwrap_or_default();
        let last = parts.next_back().unwrap_or_default();
        if !code.chars().all(of_path) || !self.values.contains_key(first) || FILES.contains(&last) {
            return false;
        }
        self.is_missing(code)
    }

    /// Tells whether the chart has neither this value nor one below which users put their own.
    fn is_missing(&self, path: &str) -> bool {
        let mut shorter = path;
        loop {
            match self.values.get(shorter) {
                Some(value) => return shorter != path && value != "{}",
                None => match shorter.rsplit_once('.') {
                    Some((above, _)) => shorter = above,
                    None => return !self.values.is_empty(),
                },
            }
        }
    }
}

fn is_of_name(character: char) -> bool {
    character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-'
}

fn metrics(text: &str) -> impl Iterator<Item = &str> {
    let named =
        |character: char| character.is_ascii_lowercase() || "_0123456789".contains(character);
    text.split(move |character| !named(character))
        .filter(|word| METRICS.iter().any(|(prefix, _)| word.starts_with(prefix)))
}

/// Returns the names that are written out in full.
fn annotations(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(ANNOTATION).filter_map(|(at, _)| {
        let name = &text[at + ANNOTATION.len()..];
        let end = name
            .find(|character| !is_of_name(character))
            .unwrap_or(name.len());
        // `kubectl annotate` removes what is named with a dash behind it.
        let end = name[..end].trim_end_matches('-').len();
        let whole = &text[at..at + ANNOTATION.len() + end];
        // Resources are named the other way round: `nivalnodes.nival.dev/status`.
        let is_longer = text[..at].ends_with('.') || name[end..].starts_with(['…', '/', '<']);
        (end > 0 && !is_longer).then_some(whole)
    })
}

/// Returns code spans, and the lines of code that people type, and whether they stand in a table's first column.
fn code(text: &str) -> Vec<(&str, bool)> {
    let mut pieces = Vec::new();
    let mut fence = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), fence) {
            (Some(language), None) => fence = Some(language),
            (Some(_), Some(_)) => fence = None,
            (None, Some("console")) => pieces.push((line, false)),
            (None, Some(_)) => {}
            (None, None) => {
                let column = line.strip_prefix('|').and_then(|row| row.find('|'));
                let (first, rest) = line.split_at(column.map_or(0, |end| end + 1));
                for (part, explained) in [(first, true), (rest, false)] {
                    let spans = part.split('`').skip(1).step_by(2);
                    pieces.extend(spans.map(|span| (span, explained)));
                }
            }
        }
    }
    pieces
}

/// Returns the paths of values in examples that begin by saying which file they are.
fn value_files(text: &str) -> impl Iterator<Item = String> {
    let blocks = text.split("```yaml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    let ours = blocks.filter(|block| block.trim_start().starts_with("# values.yaml"));
    ours.flat_map(|block| {
        // Below the point of a list all lines are further to the right.
        let left = block.len() - block.trim_start_matches(' ').len();
        let lines = block
            .lines()
            .map(|line| line.get(left..).unwrap_or_default());
        values(&lines.collect::<Vec<_>>().join("\n")).into_keys()
    })
}

/// Reads the paths of values from a file that is written as the chart's is: two spaces a level, a key a line.
fn values(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut path: Vec<&str> = Vec::new();
    for line in text.lines() {
        let key = line.trim_start();
        let depth = (line.len() - key.len()) / 2;
        let Some((key, value)) = key.split_once(':') else {
            continue;
        };
        let plain = |character: char| character.is_ascii_alphanumeric();
        if depth > path.len() || key.is_empty() || !key.chars().all(plain) {
            continue;
        }
        path.truncate(depth);
        path.push(key);
        values.insert(path.join("."), value.trim().to_owned());
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sources: &[Source]) -> Names<'_> {
        Names {
            sources,
            references: vec![
                ("kubectl nival", "## `kubectl nival pin`".to_owned()),
                ("nival", "## `nival push`\n## `nival push now`".to_owned()),
            ],
            values: values(
                "hub:\n  # Where.\n  url: \"\"\nconfig:\n  trust: {}\n  collect:\n    high: 85\n",
            ),
        }
    }

    fn source(file: &str, text: &str) -> Source {
        Source {
            file: file.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_metric_is_known_by_its_registered_name() {
        let text = "register(\"requests\", register_with_unit(\"prepare\",";
        let sources = [source("crates/agent/src/metrics.rs", text)];
        let names = names(&sources);
        let found: Vec<_> = metrics("sum(rate(nival_agent_requests_total[5m]))").collect();
        assert_eq!(found, ["nival_agent_requests_total"]);
        assert!(names.is_registered("nival_agent_requests_total"));
        assert!(names.is_registered("nival_agent_prepare_seconds_bucket"));
        assert!(!names.is_registered("nival_agent_wishes_total"));
        assert!(!names.is_registered("nival_hub_requests_total"));
    }

    #[test]
    fn an_annotation_is_known_as_a_whole() {
        let sources = [source(
            "crates/workload/src/names.rs",
            "\"nival.dev/tracked\"",
        )];
        let names = names(&sources);
        let text =
            "nival.dev/tracked: `nival.dev/…` x.nival.dev/y nival.dev/track=x nival.dev/tracked-";
        let found: Vec<_> = annotations(text).collect();
        assert_eq!(
            found,
            ["nival.dev/tracked", "nival.dev/track", "nival.dev/tracked"]
        );
        assert!(names.is_annotation(found[0]) && !names.is_annotation(found[1]));
    }

    #[test]
    fn commands_are_looked_up_where_they_begin_a_line() {
        let names = names(&[]);
        let text = "`nival push acme/api` and `nival pull`\n| `nival is` | `nival goes` |\n```console\nkubectl nival pin x\nkubectl nival unpin\nhelm install nival deploy\n```\n```yaml\nnival pull\n```";
        let unknown: Vec<_> = code(text)
            .into_iter()
            .filter(|(_, explained)| !explained)
            .filter_map(|(code, _)| names.unknown_command(code))
            .collect();
        assert_eq!(unknown, ["nival pull", "nival goes", "kubectl nival unpin"]);
        assert_eq!(names.unknown_command("nival --help"), None);
        assert_eq!(names.unknown_command("nival/x"), None);
    }

    #[test]
    fn values_are_those_of_the_chart_and_what_users_put_below_them() {
        let names = names(&[]);
        for value in [
            "hub.url",
            "config.collect.high",
            "config.trust.acme",
            "hub.toml",
            "other.x",
            "hub",
        ] {
            assert!(!names.is_no_value(value), "{value}");
        }
        for value in ["hub.address", "config.collect.higher", "config.high"] {
            assert!(names.is_no_value(value), "{value}");
        }
        let text = "  ```yaml\n  # values.yaml, more\n  hub:\n    url: x\n    port: 1\n  config:\n    trust:\n      acme: []\n  hubs: 1\n  ```\n```yaml\nhub:\n  x: y\n```\n";
        let paths: Vec<_> = value_files(text)
            .filter(|path| names.is_missing(path))
            .collect();
        assert_eq!(paths, ["hub.port", "hubs"]);
    }
}
