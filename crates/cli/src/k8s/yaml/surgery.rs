//! Changes a manifest's text so that it says something else, and touches nothing but what says it.

use std::ops::Range;

use granit_parser::ScalarStyle;
use serde_json::{Map, Value};
use workload::names::{
    ENVIRONMENT, ENVIRONMENT_OF, GENERATION, GENERATION_OF, PINNED_FROM, PINNED_FROM_OF,
};

use super::read::{Content, Document, Node, YamlError, read};
use super::scalar::{quoted, written};

/// Puts a text in the place of another.
struct Replacement {
    place: Range<usize>,
    text: String,
}

/// Returns the text with each document changed to its new value.
///
/// # Errors
/// Fails where that needs more than setting, adding and removing texts in mappings, and when the outcome does not read
/// back as what was meant.
pub(crate) fn edit(
    text: &str,
    documents: &[Document],
    wanted: &[Value],
) -> Result<String, YamlError> {
    let mut surgeon = Surgeon {
        text,
        line_end: if text.contains("\r\n") { "\r\n" } else { "\n" },
        replacements: Vec::new(),
    };
    for (document, wanted) in documents.iter().zip(wanted) {
        surgeon.change(&document.root, &document.value, wanted)?;
    }
    let mut replacements = surgeon.replacements;
    replacements.sort_by_key(|one| one.place.start);
    let mut edited = text.to_owned();
    // From the end on, so that the places before stay true.
    for one in replacements.iter().rev() {
        edited.replace_range(one.place.clone(), &one.text);
    }
    let again = read(&edited).map_err(|_no_yaml| YamlError::Unfaithful)?;
    let same = again.len() == wanted.len()
        && again
            .iter()
            .zip(wanted)
            .all(|(one, wanted)| one.value == *wanted);
    if same {
        Ok(edited)
    } else {
        Err(YamlError::Unfaithful)
    }
}

struct Surgeon<'a> {
    text: &'a str,
    line_end: &'static str,
    replacements: Vec<Replacement>,
}

impl Surgeon<'_> {
    fn change(&mut self, node: &Node, from: &Value, to: &Value) -> Result<(), YamlError> {
        if from == to {
            return Ok(());
        }
        match (&node.content, from, to) {
            (Content::Mapping { flow, entries }, Value::Object(from), Value::Object(to)) => {
                self.change_mapping(node, *flow, entries, from, to)
            }
            (Content::Sequence { items }, Value::Array(from), Value::Array(to))
                if from.len() == to.len() && items.len() == to.len() =>
            {
                items
                    .iter()
                    .zip(from.iter().zip(to))
                    .try_for_each(|(item, (from, to))| self.change(item, from, to))
            }
            (Content::Scalar { style, .. }, _, Value::String(to)) => {
                let text = match style {
                    ScalarStyle::Plain => written(to),
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => quoted(to),
                    _ => return Err(cannot(node, "a block of text")),
                };
                self.replace(node.place.clone(), text);
                Ok(())
            }
            (Content::Alias(_), ..) => Err(cannot(node, "what is an alias of something else")),
            _ => Err(cannot(node, "this")),
        }
    }

    fn change_mapping(
        &mut self,
        node: &Node,
        flow: bool,
        entries: &[(Node, Node)],
        from: &Map<String, Value>,
        to: &Map<String, Value>,
    ) -> Result<(), YamlError> {
        let place_of = |wanted: &str| {
            entries
                .iter()
                .position(|(key, _)| key.key() == Some(wanted))
        };
        for (index, (key, value)) in entries.iter().enumerate() {
            let name = key.key().unwrap_or_default();
            match (from.get(name), to.get(name)) {
                (Some(from), Some(to)) => self.change(value, from, to)?,
                (Some(_), None) if flow => self.remove_from_flow(entries, index),
                (Some(_), None) => self.remove_line(key, value)?,
                (None, _) => {}
            }
        }
        let mut added: Vec<(usize, Vec<(&str, &str)>)> = Vec::new();
        // What comes by a merge and is changed is said outright from now on.
        for (name, value) in to {
            if place_of(name).is_some() || from.get(name) == Some(value) {
                continue;
            }
            let Value::String(value) = value else {
                return Err(cannot(node, "this mapping"));
            };
            // Beside what it belongs to; else before everything.
            let after = companions(name)
                .iter()
                .find_map(|one| place_of(one))
                .map_or(0, |index| index + 1);
            match added.iter_mut().find(|(place, _)| *place == after) {
                Some((_, list)) => list.push((name, value)),
                None => added.push((after, vec![(name, value)])),
            }
        }
        for (after, list) in added {
            if flow {
                self.add_to_flow(node, entries, &list);
            } else {
                self.add_lines(entries, after, &list)?;
            }
        }
        Ok(())
    }

    fn add_lines(
        &mut self,
        entries: &[(Node, Node)],
        after: usize,
        list: &[(&str, &str)],
    ) -> Result<(), YamlError> {
        let Some((first, _)) = entries.first() else {
            return Err(YamlError::Unfaithful);
        };
        let indent = " ".repeat(first.column);
        let line = |&(name, value): &(&str, &str)| format!("{}: {}", written(name), written(value));
        let lines: Vec<String> = list.iter().map(line).collect();
        let above = after.checked_sub(1).and_then(|index| entries.get(index));
        let end = above.and_then(|(_, value)| self.end_of_line(value));
        let (place, text) = match end {
            Some(end) => {
                let lines = lines
                    .iter()
                    .map(|line| format!("{}{indent}{line}", self.line_end));
                (end, lines.collect())
            }
            // The first key may stand behind the dash of a list, so the lines go before it and not before its line.
            None => {
                let lines = lines
                    .iter()
                    .map(|line| format!("{line}{}{indent}", self.line_end));
                (first.place.start, lines.collect())
            }
        };
        self.replace(place..place, text);
        Ok(())
    }

    /// Returns where the line ends that a scalar ends on, behind any comment.
    fn end_of_line(&self, value: &Node) -> Option<usize> {
        let Content::Scalar { style, .. } = &value.content else {
            return None;
        };
        if !matches!(
            style,
            ScalarStyle::Plain | ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted
        ) {
            return None;
        }
        let rest = self.text.get(value.place.end..)?;
        let length = rest.find('\n').unwrap_or(rest.len());
        let line = rest.get(..length)?;
        let comment = line.trim_start();
        let only_comment = comment.is_empty() || comment.starts_with('#');
        only_comment.then(|| value.place.end + line.trim_end_matches('\r').len())
    }

    fn add_to_flow(&mut self, node: &Node, entries: &[(Node, Node)], list: &[(&str, &str)]) {
        let Some((key, value)) = entries.last() else {
            let texts: Vec<String> = list
                .iter()
                .map(|&(name, value)| format!("{}: {}", quoted(name), quoted(value)))
                .collect();
            let text = format!("{{{}}}", texts.join(", "));
            return self.replace(node.place.clone(), text);
        };
        // One entry a line, where the last one began its own.
        let start = self.text.get(..key.place.start).unwrap_or_default();
        let line = start.rsplit('\n').next().unwrap_or_default();
        let gap = if line.trim().is_empty() && line.len() < start.len() {
            format!(",{}{line}", self.line_end)
        } else {
            ", ".to_owned()
        };
        let text: String = list
            .iter()
            .map(|&(name, value)| format!("{gap}{}: {}", quoted(name), quoted(value)))
            .collect();
        self.replace(value.place.end..value.place.end, text);
    }

    fn remove_from_flow(&mut self, entries: &[(Node, Node)], index: usize) {
        let (key, value) = &entries[index];
        let place = match (entries.get(index + 1), index.checked_sub(1)) {
            (Some((next, _)), _) => key.place.start..next.place.start,
            (None, Some(before)) => entries[before].1.place.end..value.place.end,
            (None, None) => key.place.start..value.place.end,
        };
        self.replace(place, String::new());
    }

    fn remove_line(&mut self, key: &Node, value: &Node) -> Result<(), YamlError> {
        let end = self
            .end_of_line(value)
            .ok_or_else(|| cannot(key, "an entry that is no line of its own"))?;
        let before = self.text.get(..key.place.start).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        if !before.get(start..).unwrap_or_default().trim().is_empty() {
            return Err(cannot(key, "the first entry behind a dash"));
        }
        let rest = self.text.get(end..).unwrap_or_default();
        let line_end = rest.find('\n').map_or(rest.len(), |at| at + 1);
        self.replace(start..end + line_end, String::new());
        Ok(())
    }

    fn replace(&mut self, place: Range<usize>, text: String) {
        self.replacements.push(Replacement { place, text });
    }
}

/// Returns the keys beside which a new one reads best.
fn companions(name: &str) -> Vec<String> {
    if name == "image" {
        return vec!["name".to_owned()];
    }
    let of = |environment: &str| vec![environment.to_owned()];
    match name {
        GENERATION | PINNED_FROM => of(ENVIRONMENT),
        _ => name
            .strip_prefix(GENERATION_OF)
            .or_else(|| name.strip_prefix(PINNED_FROM_OF))
            .map(|container| of(&format!("{ENVIRONMENT_OF}{container}")))
            .unwrap_or_default(),
    }
}

fn cannot(node: &Node, what: &'static str) -> YamlError {
    YamlError::Place {
        line: node.line,
        what,
    }
}
