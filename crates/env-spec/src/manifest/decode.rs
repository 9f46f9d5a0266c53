//! Reads TOML tables key by key and remembers where everything stands, for errors that point at it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, nearest};

/// A text and what was found wrong in it so far: reading goes on, so that one run shows all.
pub(super) struct Source<'t> {
    text: &'t str,
    root: &'t Spanned<DeTable<'t>>,
    errors: RefCell<Vec<Diagnostic>>,
    warnings: RefCell<Vec<Diagnostic>>,
}

/// A table whose keys are taken one by one; what is left in the end is unknown.
pub(super) struct Table<'s, 't> {
    source: &'s Source<'t>,
    path: String,
    span: Range<usize>,
    left: BTreeMap<&'s str, Field<'s, 't>>,
    known: Vec<&'static str>,
}

/// A value with its name and place.
#[derive(Clone)]
pub(super) struct Field<'s, 't> {
    source: &'s Source<'t>,
    path: String,
    key_span: Range<usize>,
    value: &'s Spanned<DeValue<'t>>,
}

impl<'t> Source<'t> {
    pub(super) fn new(text: &'t str, root: &'t Spanned<DeTable<'t>>) -> Self {
        Self {
            text,
            root,
            errors: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    /// Returns where the key at the end of a path stands.
    pub(super) fn place(&self, path: &[&str]) -> Range<usize> {
        let mut table = Some(self.root.get_ref());
        let mut place = 0..0;
        for name in path {
            let Some((key, value)) = table.and_then(|table| table.get_key_value(*name)) else {
                break;
            };
            place = key.span();
            table = value.get_ref().as_table();
        }
        place
    }

    pub(super) fn error(
        &self,
        span: &Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        let mut found = Diagnostic::at(self.text, span, message);
        found.help = help;
        self.errors.borrow_mut().push(found);
    }

    fn warn(&self, span: &Range<usize>, message: String) {
        self.warnings
            .borrow_mut()
            .push(Diagnostic::at(self.text, span, message));
    }

    /// Returns errors and warnings, each from the top of the text to its end.
    pub(super) fn finish(self) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        let sorted = |found: RefCell<Vec<Diagnostic>>| {
            let mut found = found.into_inner();
            found.sort_by_key(|one| (one.line, one.column));
            found
        };
        (sorted(self.errors), sorted(self.warnings))
    }
}

impl<'s, 't> Table<'s, 't> {
    pub(super) fn root(source: &'s Source<'t>) -> Self {
        Self::new(
            source,
            String::new(),
            source.root.span(),
            source.root.get_ref(),
        )
    }

    fn new(
        source: &'s Source<'t>,
        path: String,
        span: Range<usize>,
        table: &'s DeTable<'t>,
    ) -> Self {
        let left = table
            .iter()
            .map(|(key, value)| {
                let name: &str = key.get_ref();
                let path = if path.is_empty() {
                    shown(name)
                } else {
                    format!("{path}.{}", shown(name))
                };
                (
                    name,
                    Field {
                        source,
                        path,
                        key_span: key.span(),
                        value,
                    },
                )
            })
            .collect();
        Self {
            source,
            path,
            span,
            left,
            known: Vec::new(),
        }
    }

    /// Takes a key that is known here.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Field<'s, 't>> {
        self.known.push(key);
        self.left.remove(key)
    }

    pub(super) fn string(&mut self, key: &'static str) -> Option<String> {
        self.take(key)?.string()
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.take(key)?.boolean()
    }

    pub(super) fn number(&mut self, key: &'static str, range: Range<u64>) -> Option<u64> {
        self.take(key)?.number(range)
    }

    pub(super) fn strings(&mut self, key: &'static str) -> Option<Vec<String>> {
        Some(
            self.take(key)?
                .strings()?
                .into_iter()
                .map(|(text, _)| text)
                .collect(),
        )
    }

    pub(super) fn table(&mut self, key: &'static str) -> Option<Self> {
        self.take(key)?.table()
    }

    /// Takes a key that Flox knows and Nival does not act on.
    pub(super) fn ignore(&mut self, key: &'static str) {
        if let Some(field) = self.take(key) {
            let message = format!("{} has no effect in Nival", field.path);
            self.source.warn(&field.key_span, message);
        }
    }

    /// Takes a string that must be there.
    pub(super) fn required(&mut self, key: &'static str) -> Option<String> {
        let field = self.take(key);
        if field.is_none() {
            self.error_here(format!("{} lacks {key}", self.path), None);
        }
        field?.string()
    }

    /// Reports an error about the table as a whole.
    pub(super) fn error_here(&self, message: String, help: Option<String>) {
        self.source.error(&self.span, message, help);
    }

    /// Returns all entries of a table whose keys are free.
    pub(super) fn into_entries(self) -> BTreeMap<&'s str, Field<'s, 't>> {
        self.left
    }

    /// Reports every key that was not taken.
    pub(super) fn finish(self) {
        for (key, field) in &self.left {
            let place = if self.path.is_empty() {
                String::new()
            } else {
                format!(" in {}", self.path)
            };
            let help = match nearest(key, self.known.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.source.error(
                &field.key_span,
                format!("unknown key {}{place}", shown(key)),
                Some(help),
            );
        }
    }
}

impl<'s, 't> Field<'s, 't> {
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn string(&self) -> Option<String> {
        let DeValue::String(text) = self.value.get_ref() else {
            let help = match self.value.get_ref() {
                DeValue::Integer(number) => Some(format!("write it in quotes: \"{number}\"")),
                DeValue::Boolean(value) => Some(format!("write it in quotes: \"{value}\"")),
                _ => None,
            };
            return self.wrong_type("a string", help);
        };
        if text.contains('\0') {
            self.error("contains a NUL character", None);
            return None;
        }
        Some(text.clone().into_owned())
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self.value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong_type("true or false", None),
        }
    }

    pub(super) fn number(&self, range: Range<u64>) -> Option<u64> {
        let DeValue::Integer(number) = self.value.get_ref() else {
            return self.wrong_type("a number", None);
        };
        let found = u64::from_str_radix(number.as_str(), number.radix()).ok();
        let found = found.filter(|number| range.contains(number));
        if found.is_none() {
            self.error(
                &format!(
                    "is {number}; allowed are {} to {}",
                    range.start,
                    range.end - 1
                ),
                None,
            );
        }
        found
    }

    /// Returns the strings of an array with their places.
    pub(super) fn strings(&self) -> Option<Vec<(String, Self)>> {
        self.elements()?
            .into_iter()
            .map(|field| Some((field.string()?, field)))
            .collect()
    }

    /// Returns the elements of an array.
    pub(super) fn elements(&self) -> Option<Vec<Self>> {
        let DeValue::Array(elements) = self.value.get_ref() else {
            return self.wrong_type("an array", None);
        };
        let element = |(index, value): (usize, &'s Spanned<DeValue<'t>>)| Self {
            source: self.source,
            path: format!("{}[{index}]", self.path),
            key_span: value.span(),
            value,
        };
        Some(elements.iter().enumerate().map(element).collect())
    }

    pub(super) fn table(&self) -> Option<Table<'s, 't>> {
        match self.value.get_ref() {
            DeValue::Table(table) => Some(Table::new(
                self.source,
                self.path.clone(),
                self.key_span.clone(),
                table,
            )),
            _ => self.wrong_type("a table", None),
        }
    }

    pub(super) fn is_string(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::String(_))
    }

    pub(super) fn is_array(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Array(_))
    }

    pub(super) fn is_integer(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Integer(_))
    }

    /// Reports an error about the value.
    pub(super) fn error(&self, problem: &str, help: Option<String>) {
        self.source
            .error(&self.value.span(), format!("{} {problem}", self.path), help);
    }

    /// Reports an error about the key.
    pub(super) fn key_error(&self, problem: &str, help: Option<String>) {
        self.source
            .error(&self.key_span, format!("{} {problem}", self.path), help);
    }

    fn wrong_type<T>(&self, wanted: &str, help: Option<String>) -> Option<T> {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.error(&format!("must be {wanted}, not {found}"), help);
        None
    }
}

/// Names in messages: short and without control characters.
fn shown(name: &str) -> String {
    let short: String = name.chars().take(80).collect();
    if short.chars().any(char::is_control) || short.is_empty() {
        format!("{short:?}")
    } else {
        short
    }
}
