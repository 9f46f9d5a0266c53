//! Changes of single configuration files, which leave all else in them as it was, down to comments and spaces.

use std::path::Path;

use toml::{Table, Value};
use toml_edit::{Array, DocumentMut, Item, TableLike};
use workload::names::RUNTIME_CLASS;

use super::config::{ConfigFile, VERSION_2, VERSION_3};
use super::handler::SHIM;

/// Around what is put into a template, whose text is no TOML before it is filled in.
const BEGIN: &str = "# nival: begin (nival-operator install wrote this, and replaces it)";
const END: &str = "# nival: end";
/// What a template says to get all that it would be without it.
const BASE: &str = "{{ template \"base\" . }}";

/// Why a file cannot be changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot change {path}: {reason}")]
pub(crate) struct EditError {
    path: String,
    reason: String,
}

fn refused(path: &Path, reason: impl ToString) -> EditError {
    EditError {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

/// Returns the text of a file that registers the handler and nothing else.
pub(crate) fn drop_in(plugin: &str, handler: &Table) -> String {
    let version = if plugin == VERSION_2 { 2 } else { 3 };
    format!(
        "# Written by nival-operator install, which replaces it when it is started again.\nversion = {version}\n\n{}",
        section(plugin, handler)
    )
}

/// Returns the handler as TOML, with its full name.
fn section(plugin: &str, handler: &Table) -> String {
    let table = format!("plugins.\"{plugin}\".containerd.runtimes.{RUNTIME_CLASS}");
    let mut text = format!("[{table}]\n");
    let mut options = String::new();
    for (key, value) in handler {
        if let Value::Table(inner) = value {
            options.push_str(&format!("\n[{table}.{key}]\n"));
            for (key, value) in inner {
                options.push_str(&format!("{key} = {value}\n"));
            }
        } else {
            text.push_str(&format!("{key} = {value}\n"));
        }
    }
    text + &options
}

/// Returns a file's text with one more import.
pub(crate) fn with_import(file: &ConfigFile, import: &str) -> Result<String, EditError> {
    let mut document = parse(&file.path, &file.text)?;
    let imports = document
        .entry("imports")
        .or_insert(Item::Value(Array::new().into()));
    let list = imports
        .as_array_mut()
        .ok_or_else(|| refused(&file.path, "imports is no list"))?;
    list.push(import);
    Ok(document.to_string())
}

/// Returns a file's text with the handler in the section of the CRI.
pub(crate) fn with_handler(
    file: &ConfigFile,
    plugin: &str,
    handler: &Table,
) -> Result<String, EditError> {
    let base = without_handler(&file.path, &file.text)?;
    // At the end, where it changes nothing before it.
    let gap = if base.is_empty() || base.ends_with("\n\n") {
        ""
    } else if base.ends_with('\n') {
        "\n"
    } else {
        "\n\n"
    };
    let appended = format!("{base}{gap}{}", section(plugin, handler));
    if appended.parse::<DocumentMut>().is_ok() {
        return Ok(appended);
    }
    // Where the tables above are written in one line, nothing can follow them.
    let mut document = parse(&file.path, &base)?;
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for key in ["plugins", plugin, "containerd", "runtimes"] {
        let item = table.entry(key).or_insert(toml_edit::table());
        table = item
            .as_table_like_mut()
            .ok_or_else(|| refused(&file.path, format!("{key} is no table")))?;
    }
    let inline: toml_edit::InlineTable = toml_edit::ser::to_document(handler)
        .map_err(|error| refused(&file.path, error))?
        .into_table()
        .into_inline_table();
    table.insert(RUNTIME_CLASS, Item::Value(inline.into()));
    Ok(document.to_string())
}

/// Returns a file's text without a handler that leads to Nival's shim.
pub(crate) fn without_handler(path: &Path, text: &str) -> Result<String, EditError> {
    let mut document = parse(path, text)?;
    let mut changed = false;
    for plugin in [VERSION_3, VERSION_2] {
        let runtimes = ["plugins", plugin, "containerd", "runtimes"]
            .iter()
            .try_fold(
                document.as_table_mut() as &mut dyn TableLike,
                |table, key| table.get_mut(key)?.as_table_like_mut(),
            );
        let Some(runtimes) = runtimes else { continue };
        let leads_here = |item: &Item| item.get("runtime_path")?.as_str().map(|path| path == SHIM);
        if runtimes.get(RUNTIME_CLASS).and_then(leads_here) == Some(true) {
            runtimes.remove(RUNTIME_CLASS);
            changed = true;
        }
    }
    Ok(if changed {
        document.to_string()
    } else {
        text.to_owned()
    })
}

/// Returns a file's text without an import.
pub(crate) fn without_import(path: &Path, text: &str, import: &str) -> Result<String, EditError> {
    let mut document = parse(path, text)?;
    let Some(list) = document.get_mut("imports").and_then(Item::as_array_mut) else {
        return Ok(text.to_owned());
    };
    let before = list.len();
    list.retain(|entry| entry.as_str() != Some(import));
    if list.len() == before {
        return Ok(text.to_owned());
    }
    if list.is_empty() {
        document.remove("imports");
    }
    Ok(document.to_string())
}

/// Returns a template's text with the handler at its end. Where there is none, the distribution's own is extended.
pub(crate) fn template(existing: Option<&str>, plugin: &str, handler: &Table) -> String {
    let mut text = without_marked(existing.unwrap_or(BASE));
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    format!("{text}\n{BEGIN}\n{}{END}\n", section(plugin, handler))
}

/// Returns a template's text without what Nival has put there.
pub(crate) fn without_marked(text: &str) -> String {
    let Some((before, rest)) = text.split_once(BEGIN) else {
        return text.to_owned();
    };
    let after = rest.split_once(END).map_or("", |(_, after)| after);
    let before = before.strip_suffix('\n').unwrap_or(before);
    format!("{before}{}", after.strip_prefix('\n').unwrap_or(after))
}

fn parse(path: &Path, text: &str) -> Result<DocumentMut, EditError> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        let lines: Vec<&str> = error.message().lines().collect();
        refused(path, lines.join(" "))
    })
}
