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

fn refused(path: &Path, reason: &dyn std::fmt::Display) -> EditError {
    EditError {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

/// Returns the text of a file that registers the handler and nothing else.
pub(crate) fn drop_in(version: i64, plugin: &str, handler: &Table) -> String {
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

/// Returns the handler for runc as containerd has it where none is written.
pub(crate) fn runc(plugin: &str) -> String {
    let sandboxes = if plugin == VERSION_2 {
        "sandbox_mode"
    } else {
        "sandboxer"
    };
    format!(
        "\n[plugins.\"{plugin}\".containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\
         {sandboxes} = \"podsandbox\"\n"
    )
}

/// Returns a file's text with one more import.
pub(crate) fn with_import(file: &ConfigFile, import: &str) -> Result<String, EditError> {
    let mut document = parse(&file.path, &file.text)?;
    let imports = document
        .entry("imports")
        .or_insert(Item::Value(Array::new().into()));
    let list = imports
        .as_array_mut()
        .ok_or_else(|| refused(&file.path, &"imports is no list"))?;
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
            .ok_or_else(|| refused(&file.path, &format!("{key} is no table")))?;
    }
    let inline: toml_edit::InlineTable = toml_edit::ser::to_document(handler)
        .map_err(|error| refused(&file.path, &error))?
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
        refused(path, &lines.join(" "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRI: &str = "plugins.\"io.containerd.grpc.v1.cri\".containerd";

    fn file(text: &str) -> ConfigFile {
        ConfigFile::parse(Path::new("/config.toml"), text.to_owned()).unwrap()
    }

    fn handler() -> Table {
        crate::install::handler::wanted(&Table::new())
    }

    /// Adds the handler, and checks that it can be read and taken out again.
    fn added(text: &str) -> String {
        let with = with_handler(&file(text), VERSION_2, &handler()).unwrap();
        let table: Table = with.parse().unwrap();
        let runtimes = &table["plugins"][VERSION_2]["containerd"]["runtimes"];
        assert_eq!(runtimes["nival"]["runtime_path"].as_str(), Some(SHIM));
        let without: Table = without_handler(Path::new("/config.toml"), &with)
            .unwrap()
            .parse()
            .unwrap();
        let runtimes = without["plugins"][VERSION_2]["containerd"].get("runtimes");
        assert!(runtimes.is_none_or(|all| all.get("nival").is_none()));
        with
    }

    #[test]
    fn what_is_there_stays_as_it_is_written() {
        let text = format!("version = 2 # as ever\n[{CRI}]\n  default_runtime_name = \"runc\"\n");
        assert!(added(&text).starts_with(&text));
        // Without an end of the last line.
        assert!(added(text.trim_end()).starts_with(text.trim_end()));
        // Where it was put before, once is enough.
        let twice = added(&added(&text));
        assert_eq!(twice.matches("runtimes.nival]").count(), 1);
    }

    #[test]
    fn tables_that_are_written_in_one_line_get_it_there() {
        let text =
            format!("version = 2\n[{CRI}]\nruntimes = {{ runc = {{ runtime_type = \"x\" }} }}\n");
        let with = added(&text);
        assert!(with.contains("runc = { runtime_type = \"x\" }"), "{with}");
    }

    #[test]
    fn another_handler_of_this_name_is_not_touched() {
        let text = format!("version = 2\n[{CRI}.runtimes.nival]\nruntime_path = \"/else/where\"\n");
        let left = without_handler(Path::new("/config.toml"), &text).unwrap();
        assert_eq!(left, text);
    }

    #[test]
    fn imports_come_and_go() {
        for text in [
            "version = 3\n",
            "version = 3\nimports = [\"/a/*.toml\"] # others\n\n[debug]\nlevel = \"info\"\n",
            "# a comment\n\n[debug]\nlevel = \"info\"\n",
        ] {
            let with = with_import(&file(text), "/b/nival*.toml").unwrap();
            let table: Table = with.parse().unwrap();
            let last = table["imports"].as_array().and_then(|all| all.last());
            assert_eq!(last.and_then(Value::as_str), Some("/b/nival*.toml"));
            let without = without_import(Path::new("/config.toml"), &with, "/b/nival*.toml");
            let (left, before): (Table, Table) =
                (without.unwrap().parse().unwrap(), text.parse().unwrap());
            assert_eq!(left, before);
        }
        assert!(with_import(&file("imports = 3\n"), "/b").is_err());
    }

    #[test]
    fn templates_get_one_part_between_its_marks() {
        let fresh = template(None, VERSION_3, &handler());
        assert!(fresh.starts_with(BASE), "{fresh}");
        assert_eq!(template(Some(&fresh), VERSION_3, &handler()), fresh);
        assert_eq!(without_marked(&fresh), format!("{BASE}\n"));
        let own = "{{ template \"base\" . }}\n\n[mine]\n";
        let with = template(Some(own), VERSION_3, &handler());
        assert!(with.starts_with(own), "{with}");
        assert_eq!(without_marked(&with), own);
        let after = format!("{with}[later]\n");
        assert_eq!(without_marked(&after), format!("{own}[later]\n"));
    }
}
