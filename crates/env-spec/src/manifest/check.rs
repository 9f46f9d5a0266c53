//! What must hold in a manifest beyond the form of each table.

use std::collections::BTreeSet;

use super::decode::{Source, Table};
use super::file::ManifestFile;
use crate::activation::resolve_variables;
use crate::diagnostic::nearest;

/// The newest schema whose keys are known here.
const NEWEST_SCHEMA: (u64, u64) = (1, 19);

/// Checks `version = 1` and `schema-version = "1.x.y"`.
pub(super) fn version(root: &mut Table<'_, '_>) {
    let (version, schema) = (root.take("version"), root.take("schema-version"));
    if let (Some(_), Some(schema)) = (&version, &schema) {
        schema.key_error(
            "stands beside version",
            Some("keep one of the two".to_owned()),
        );
    }
    if let Some(field) = version {
        field.number(1..2);
    }
    let Some(field) = schema else { return };
    if field.is_integer() {
        field.number(1..2);
        return;
    }
    let Some(text) = field.string() else { return };
    let newest = format!("{}.{}.0", NEWEST_SCHEMA.0, NEWEST_SCHEMA.1);
    let numbers: Option<Vec<u64>> = text.split('.').map(|part| part.parse().ok()).collect();
    match numbers.as_deref() {
        Some([major, rest @ ..]) if rest.len() <= 2 => {
            if (*major, rest.first().copied().unwrap_or(0)) > NEWEST_SCHEMA {
                let help = format!(
                    "this Nival knows schemas up to {newest}: upgrade it, or lower the number"
                );
                field.error(&format!("is {text}, which is too new"), Some(help));
            }
        }
        _ => field.error(
            &format!("is {text:?}, which is no version"),
            Some(format!("such as \"{newest}\"")),
        ),
    }
}

/// Checks what concerns several entries.
pub(super) fn whole(source: &Source<'_>, file: &ManifestFile) {
    let at = |path: &[&str], message: String, help: Option<String>| {
        source.error(&source.place(path), message, help);
    };
    if let Err(error) = resolve_variables(&file.vars) {
        at(&["vars", error.variable()], error.to_string(), None);
    }
    for (name, service) in &file.services {
        for wanted in &service.depends_on {
            if !file.services.contains_key(wanted) {
                let near = nearest(wanted, file.services.keys().map(String::as_str));
                let help = near.map(|near| format!("did you mean {near}?"));
                at(
                    &["services", name],
                    format!("service {name} depends on {wanted:?}, which is not there"),
                    help,
                );
            }
        }
        if let Some(circle) = circle(file, name) {
            at(
                &["services", name],
                format!("services depend on each other in a circle: {circle}"),
                None,
            );
        }
    }
    for (name, build) in &file.build {
        for id in build.runtime_packages.iter().flatten() {
            if !file.install.contains_key(id) && file.include.is_empty() {
                let near = nearest(id, file.install.keys().map(String::as_str));
                let help = near.map(|near| format!("did you mean {near}?"));
                at(
                    &["build", name],
                    format!("build {name} needs package {id:?}, which [install] lacks"),
                    help,
                );
            }
        }
    }
}

/// Returns the circle of services that begins at one, if it is the first of them by name.
fn circle(file: &ManifestFile, first: &str) -> Option<String> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<Vec<&str>> = vec![vec![first]];
    while let Some(way) = open.pop() {
        let last = way.last().expect("a way begins with its first service");
        for next in file
            .services
            .get(*last)
            .iter()
            .flat_map(|service| &service.depends_on)
        {
            let mut longer = way.clone();
            longer.push(next);
            if next == first {
                let smallest = way.iter().min().expect("a way has a first service");
                return (*smallest == first).then(|| longer.join(" → "));
            }
            if seen.insert(next.as_str()) {
                open.push(longer);
            }
        }
    }
    None
}
