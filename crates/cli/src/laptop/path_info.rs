//! `nix path-info`, in the shapes that the versions of Nix print it.

use std::collections::BTreeMap;

use env_spec::generation::ClosurePath;
use host::nix::Nix;
use host::process::ProcessError;
use nix_data::{Hash, StorePath};
use serde::Deserialize;
use serde_json::Value;

/// Why the closure is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PathInfoError {
    /// Nix failed.
    #[error("cannot ask nix for the closure of {roots}")]
    Ask {
        /// What was asked.
        roots: String,
        /// What Nix said.
        #[source]
        source: ProcessError,
    },
    /// The answer has a shape that no known Nix prints.
    #[error("`nix path-info --json` gave an answer that this Nival cannot read: {reason}")]
    Shape {
        /// What is wrong.
        reason: String,
    },
}

/// Returns every store path that these need, themselves included, sorted by path.
///
/// # Errors
/// Fails when one is not in the store.
pub(crate) fn closure(nix: &Nix, roots: &[StorePath]) -> Result<Vec<ClosurePath>, PathInfoError> {
    if roots.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = nix.command(&["path-info", "--json", "--recursive"]);
    command.args(roots.iter().map(ToString::to_string));
    let output = nix.run(&mut command).map_err(|source| PathInfoError::Ask {
        roots: roots
            .iter()
            .map(StorePath::base_name)
            .collect::<Vec<_>>()
            .join(", "),
        source,
    })?;
    parse(&output.stdout)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    nar_hash: Value,
    nar_size: u64,
    references: Vec<String>,
}

fn parse(bytes: &[u8]) -> Result<Vec<ClosurePath>, PathInfoError> {
    let shape = |reason: String| PathInfoError::Shape { reason };
    let value: Value = serde_json::from_slice(bytes).map_err(|error| shape(error.to_string()))?;
    let mut paths = BTreeMap::new();
    for (name, info) in entries(value).map_err(shape)? {
        let path = read_path(&name).ok_or_else(|| shape(format!("{name:?} is no store path")))?;
        let info: Info =
            serde_json::from_value(info).map_err(|error| shape(format!("of {path}: {error}")))?;
        let nar_hash = read_hash(&info.nar_hash)
            .ok_or_else(|| shape(format!("{} of {path} is no hash", info.nar_hash)))?;
        let mut references = info
            .references
            .iter()
            .map(|name| read_path(name).ok_or_else(|| shape(format!("{name:?} is no store path"))))
            .collect::<Result<Vec<_>, _>>()?;
        references.sort();
        references.dedup();
        let one = ClosurePath {
            path: path.clone(),
            nar_hash,
            nar_size: info.nar_size,
            references,
        };
        paths.insert(path, one);
    }
    Ok(paths.into_values().collect())
}

/// A list with `path` (before 2.19), an object by path, or an object with `info` (format 2 and later).
fn entries(value: Value) -> Result<Vec<(String, Value)>, String> {
    match value {
        Value::Array(list) => list
            .into_iter()
            .map(|info| match info.get("path").and_then(Value::as_str) {
                Some(path) => Ok((path.to_owned(), info)),
                None => Err("an entry has no path".to_owned()),
            })
            .collect(),
        Value::Object(mut object) => match object.remove("info") {
            Some(Value::Object(info)) => Ok(info.into_iter().collect()),
            Some(_) => Err("`info` is no object".to_owned()),
            None => Ok(object.into_iter().collect()),
        },
        _ => Err("neither list nor object".to_owned()),
    }
}

fn read_path(name: &str) -> Option<StorePath> {
    if name.starts_with('/') {
        name.parse().ok()
    } else {
        StorePath::from_base_name(name).ok()
    }
}

/// A text in SRI form or with `sha256:`, or an object with algorithm, format and digits.
fn read_hash(value: &Value) -> Option<Hash> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Object(object) => {
            let digits = object.get("hash")?.as_str()?;
            match object.get("algorithm")?.as_str()? {
                "sha256" => Hash::from_unprefixed(nix_data::HashAlgorithm::Sha256, digits).ok(),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/nix/store/00000000000000000000000000000000-a";
    const HASH: &str = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    fn base() -> &'static str {
        PATH.strip_prefix("/nix/store/").unwrap()
    }

    #[test]
    fn every_shape_of_the_answer_reads_the_same() {
        let info = format!(r#""narHash": "{HASH}", "narSize": 5, "references": ["{PATH}"]"#);
        let split = format!(
            r#""narHash": {{"algorithm": "sha256", "format": "base64", "hash": "{}"}}, "narSize": 5, "references": ["{}"]"#,
            HASH.strip_prefix("sha256-").unwrap(),
            base()
        );
        let shapes = [
            format!(r#"[{{"path": "{PATH}", {info}}}]"#),
            format!(r#"{{"{PATH}": {{{info}}}}}"#),
            format!(
                r#"{{"info": {{"{}": {{{split}}}}}, "version": 2, "storeDir": "/nix/store"}}"#,
                base()
            ),
        ];
        for shape in shapes {
            let paths = parse(shape.as_bytes()).unwrap();
            assert_eq!(paths.len(), 1, "{shape}");
            assert_eq!(paths[0].path.to_string(), PATH);
            assert_eq!(paths[0].nar_hash.to_sri(), HASH);
            assert_eq!(paths[0].references, [paths[0].path.clone()]);
        }
    }

    #[test]
    fn a_path_that_is_not_in_the_store_is_an_error() {
        parse(format!(r#"{{"{PATH}": null}}"#).as_bytes()).unwrap_err();
    }
}
