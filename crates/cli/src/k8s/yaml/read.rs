//! Reads YAML, and JSON as the part of it that it is, into values that know their places in the text.

use std::collections::BTreeMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle, Tag};
use serde_json::{Map, Value};

use super::scalar;

/// More values than any honest manifest has, aliases followed.
const MOST_VALUES: usize = 1_000_000;
/// The key that takes over the entries of other mappings.
pub(super) const MERGE: &str = "<<";

/// Why a text is no manifest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum YamlError {
    /// The text is no YAML.
    #[error("line {line}: {message}")]
    Syntax {
        /// Where.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A key is no text.
    #[error("line {line}: a key must be a text")]
    Key {
        /// Where.
        line: usize,
    },
    /// One key has two values.
    #[error("line {line}: the key {key:?} is there twice")]
    Twice {
        /// Where the second is.
        line: usize,
        /// The key.
        key: String,
    },
    /// Aliases that make much of little.
    #[error("it has more than {MOST_VALUES} values")]
    TooLarge,
    /// A change that cannot be made without writing the file anew.
    #[error("line {line}: {what} cannot be changed in place")]
    Place {
        /// Where.
        line: usize,
        /// What is there.
        what: &'static str,
    },
    /// The change came out as something else.
    #[error("the change would not read back as what was meant")]
    Unfaithful,
}

/// A document of a file.
#[derive(Debug)]
pub(crate) struct Document {
    pub(super) root: Node,
    /// What it says.
    pub(crate) value: Value,
}

/// A value with its place.
#[derive(Debug)]
pub(super) struct Node {
    /// Where its own text is. A block collection's is not of use.
    pub(super) place: Range<usize>,
    pub(super) line: usize,
    /// How far its first character is from the beginning of the line, in characters.
    pub(super) column: usize,
    /// What aliases call it, or zero.
    anchor: usize,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Scalar {
        text: String,
        style: ScalarStyle,
        /// It says itself that it is a text.
        is_text: bool,
    },
    Sequence {
        items: Vec<Node>,
    },
    Mapping {
        flow: bool,
        entries: Vec<(Node, Node)>,
    },
    /// What is written elsewhere.
    Alias(usize),
}

/// Reads all documents of a text.
///
/// # Errors
/// Fails for what is no YAML, and for what no manifest has.
pub(crate) fn read(text: &str) -> Result<Vec<Document>, YamlError> {
    let mut reader = Reader(Parser::new_from_str(text));
    let mut left = MOST_VALUES;
    let mut documents = Vec::new();
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(..) => {
                let Some((event, span)) = reader.next()? else {
                    break;
                };
                let root = reader.node(event, &span)?;
                let mut values = Values {
                    anchors: BTreeMap::new(),
                    left,
                };
                let value = values.of(&root)?;
                left = values.left;
                documents.push(Document { root, value });
            }
            _ => return Err(syntax(&span, "a value outside of any document")),
        }
    }
    Ok(documents)
}

struct Reader<'a>(Parser<'a, granit_parser::StrInput<'a>>);

impl<'a> Reader<'a> {
    /// Returns the next event that is no comment.
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, YamlError> {
        loop {
            match self.0.next_event() {
                None => return Ok(None),
                Some(Err(error)) => {
                    return Err(YamlError::Syntax {
                        line: error.marker().line(),
                        message: error.info(),
                    });
                }
                Some(Ok((Event::Comment(..) | Event::Anchor(..), _))) => {}
                Some(Ok(found)) => return Ok(Some(found)),
            }
        }
    }

    fn needed(&mut self, above: &Span) -> Result<(Event<'a>, Span), YamlError> {
        self.next()?
            .ok_or_else(|| syntax(above, "the text ends too early"))
    }

    /// Reads a value whose first event is this. The parser bounds how deep values are.
    fn node(&mut self, event: Event<'a>, span: &Span) -> Result<Node, YamlError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let content = Content::Scalar {
                    text: text.into_owned(),
                    style,
                    is_text: style != ScalarStyle::Plain || tag.is_some_and(|tag| is_text(&tag)),
                };
                Ok(node(span, span, anchor, content))
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.needed(span)? {
                        (Event::SequenceEnd, end) => {
                            return Ok(node(span, &end, anchor, Content::Sequence { items }));
                        }
                        (event, span) => items.push(self.node(event, &span)?),
                    }
                }
            }
            Event::MappingStart(style, anchor, _) => {
                let flow = style == StructureStyle::Flow;
                let mut entries = Vec::new();
                loop {
                    match self.needed(span)? {
                        (Event::MappingEnd, end) => {
                            let content = Content::Mapping { flow, entries };
                            return Ok(node(span, &end, anchor, content));
                        }
                        (event, span) => {
                            let key = self.node(event, &span)?;
                            let (event, span) = self.needed(&span)?;
                            entries.push((key, self.node(event, &span)?));
                        }
                    }
                }
            }
            Event::Alias(of) => Ok(node(span, span, 0, Content::Alias(of))),
            _ => Err(syntax(span, "something other than a value")),
        }
    }
}

/// Makes values of one document's nodes.
struct Values {
    /// By anchor: the value, and of how many it consists.
    anchors: BTreeMap<usize, (Value, usize)>,
    left: usize,
}

impl Values {
    fn spend(&mut self, count: usize) -> Result<(), YamlError> {
        self.left = self.left.checked_sub(count).ok_or(YamlError::TooLarge)?;
        Ok(())
    }

    fn of(&mut self, node: &Node) -> Result<Value, YamlError> {
        let before = self.left;
        self.spend(1)?;
        let value = match &node.content {
            Content::Scalar {
                text,
                is_text: true,
                ..
            } => Value::String(text.clone()),
            Content::Scalar { text, .. } => scalar::value(text),
            Content::Sequence { items } => {
                let items: Result<_, _> = items.iter().map(|item| self.of(item)).collect();
                Value::Array(items?)
            }
            Content::Alias(of) => match self.anchors.get(of).cloned() {
                Some((value, count)) => {
                    self.spend(count)?;
                    value
                }
                None => {
                    return Err(YamlError::Syntax {
                        line: node.line,
                        message: "an alias of something that holds it".to_owned(),
                    });
                }
            },
            Content::Mapping { entries, .. } => Value::Object(self.mapping(entries)?),
        };
        if node.anchor > 0 {
            let known = (value.clone(), before - self.left);
            self.anchors.insert(node.anchor, known);
        }
        Ok(value)
    }

    fn mapping(&mut self, entries: &[(Node, Node)]) -> Result<Map<String, Value>, YamlError> {
        let mut map = Map::new();
        let mut merged = Map::new();
        for (key, value) in entries {
            let value = self.of(value)?;
            match key.key() {
                Some(MERGE) => merge(&mut merged, value),
                Some(text) if map.contains_key(text) => {
                    return Err(YamlError::Twice {
                        line: key.line,
                        key: text.to_owned(),
                    });
                }
                Some(text) => drop(map.insert(text.to_owned(), value)),
                None => return Err(YamlError::Key { line: key.line }),
            }
        }
        // What is said outright counts before what is merged.
        for (key, value) in merged {
            map.entry(key).or_insert(value);
        }
        Ok(map)
    }
}

impl Node {
    /// Returns the text of a key.
    pub(super) fn key(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }
}

fn merge(into: &mut Map<String, Value>, value: Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                into.entry(key).or_insert(value);
            }
        }
        Value::Array(items) => items.into_iter().for_each(|item| merge(into, item)),
        _ => {}
    }
}

fn node(start: &Span, end: &Span, anchor: usize, content: Content) -> Node {
    let from = start.start.byte_offset().unwrap_or_default();
    Node {
        place: from..end.end.byte_offset().unwrap_or(from).max(from),
        line: start.start.line(),
        column: start.start.col(),
        anchor,
        content,
    }
}

fn is_text(tag: &Tag) -> bool {
    tag.is_yaml_core_schema() && tag.suffix() == "str"
}

fn syntax(span: &Span, message: &str) -> YamlError {
    YamlError::Syntax {
        line: span.start.line(),
        message: message.to_owned(),
    }
}
