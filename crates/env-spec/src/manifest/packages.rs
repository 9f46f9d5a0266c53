//! Reads the entries of `[install]`.

use super::decode::Field;
use super::file::{InstallEntry, InstallSource, Outputs};
use super::tables::systems;
use super::{DEFAULT_GROUP, is_install_id};
use crate::solve::VersionRequirement;

pub(super) fn install(field: &Field<'_, '_>) -> Option<InstallEntry> {
    if field.is_string() {
        let help = format!(
            "write {}.pkg-path = …",
            field.path().rsplit('.').next().unwrap_or_default()
        );
        field.error("must be a table, not a string", Some(help));
        return None;
    }
    let mut table = field.table()?;
    let pkg_path = table.take("pkg-path");
    let flake = table.take("flake");
    let store_path = table.take("store-path");
    let version = table.take("version");
    let group = table.take("pkg-group");
    let outputs = table.take("outputs");
    let entry = InstallEntry {
        priority: table
            .number("priority", 0..u64::from(u32::MAX))
            .and_then(|one| one.try_into().ok()),
        systems: table.take("systems").and_then(|field| systems(&field)),
        outputs: outputs.as_ref().and_then(read_outputs).unwrap_or_default(),
        source: match (pkg_path, flake, &store_path) {
            (Some(path), None, None) => InstallSource::Catalog {
                pkg_path: attribute_path(&path)?,
                version: version.as_ref().and_then(requirement),
                group: group
                    .as_ref()
                    .and_then(group_name)
                    .unwrap_or_else(|| DEFAULT_GROUP.to_owned()),
            },
            (None, Some(flake), None) => InstallSource::Flake {
                reference: flake.string()?,
            },
            (None, None, Some(path)) => InstallSource::StorePath {
                path: read_store_path(path)?,
            },
            _ => {
                let help = "give exactly one of pkg-path, flake and store-path";
                field.key_error("does not say which package it is", Some(help.to_owned()));
                return None;
            }
        },
    };
    if !matches!(entry.source, InstallSource::Catalog { .. }) {
        for (field, name) in [(&version, "version"), (&group, "pkg-group")] {
            if let Some(field) = field {
                field.key_error(
                    &format!("is only for packages with a pkg-path, which have a {name}"),
                    None,
                );
            }
        }
    }
    if let (InstallSource::StorePath { .. }, Some(field)) = (&entry.source, &outputs) {
        field.key_error("has no meaning: a store path is one output", None);
    }
    table.finish();
    Some(entry)
}

/// Reads an attribute path: text, or an array of names.
fn attribute_path(field: &Field<'_, '_>) -> Option<String> {
    let path = if field.is_array() {
        let names: Vec<String> = field.strings()?.into_iter().map(|(name, _)| name).collect();
        let quoted = names.iter().map(|name| {
            if name.contains('.') {
                format!("\"{name}\"")
            } else {
                name.clone()
            }
        });
        quoted.collect::<Vec<_>>().join(".")
    } else {
        field.string()?
    };
    if !is_attribute_path(&path) {
        let help =
            "names of letters, digits and -_+' joined by dots, such as python3Packages.numpy";
        field.error("is not a package path", Some(help.to_owned()));
        return None;
    }
    Some(path)
}

/// Returns whether a text is an attribute path; names with dots are in quotes.
pub(crate) fn is_attribute_path(path: &str) -> bool {
    let mut quoted = false;
    let mut length = 0;
    for one in path.chars() {
        match one {
            '"' => quoted = !quoted,
            '.' if !quoted && length == 0 => return false,
            '.' if !quoted => length = 0,
            _ if one.is_ascii_alphanumeric() || "-_+'".contains(one) || (quoted && one == '.') => {
                length += 1;
            }
            _ => return false,
        }
    }
    !quoted && length > 0 && path.len() <= 300
}

fn requirement(field: &Field<'_, '_>) -> Option<String> {
    let text = field.string()?;
    if let Err(error) = VersionRequirement::parse(&text) {
        field.error(&error.to_string(), None);
    }
    Some(text)
}

fn group_name(field: &Field<'_, '_>) -> Option<String> {
    let name = field.string()?;
    if !is_install_id(&name) {
        field.error("is not a valid group name", None);
    }
    Some(name)
}

fn read_store_path(field: &Field<'_, '_>) -> Option<nix_data::StorePath> {
    let text = field.string()?;
    text.parse()
        .inspect_err(|error: &nix_data::StorePathError| {
            field.error(&format!("is no store path: {error}"), None);
        })
        .ok()
}

fn read_outputs(field: &Field<'_, '_>) -> Option<Outputs> {
    if field.is_string() {
        if field.string()? == "all" {
            return Some(Outputs::All);
        }
        field.error("must be an array of outputs or \"all\"", None);
        return None;
    }
    let names: Vec<String> = field.strings()?.into_iter().map(|(name, _)| name).collect();
    if names.is_empty() {
        field.error("names no output", None);
    }
    Some(Outputs::Named(names))
}
