//! Changes the text of a manifest and leaves comments and order as they are.

use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, Value, value};

use crate::diagnostic::nearest;
use crate::manifest::{ManifestError, ManifestFile, is_attribute_path, is_install_id};
use crate::solve::VersionRequirement;

/// A package to add, as a user names it on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageEdit {
    /// The id in `[install]`.
    pub install_id: String,
    /// The attribute path.
    pub pkg_path: String,
    /// Which versions will do.
    pub version: Option<String>,
}

/// What became of a package that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It was not there.
    New,
    /// It was there; its version requirement is another one now.
    Changed,
    /// It was there just so.
    Already,
}

/// Why a manifest was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The text is no manifest as it stands.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A text that names no package.
    #[error(
        "{text:?} names no package: expected such as python3, python3Packages.numpy or nodejs@^20"
    )]
    Name {
        /// The text.
        text: String,
    },
    /// The id is in use.
    #[error("install id {id} is taken by {existing}; choose another id for {wanted}")]
    Taken {
        /// The id.
        id: String,
        /// What has it.
        existing: String,
        /// What was to get it.
        wanted: String,
    },
    /// Nothing has this id.
    #[error("{id} is not installed{}", near.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    NotInstalled {
        /// The id.
        id: String,
        /// An id that looks like it.
        near: Option<String>,
    },
    /// Several entries have the package path that was given in place of an id.
    #[error("{path} is installed as {}; say which", ids.join(" and "))]
    Ambiguous {
        /// The package path.
        path: String,
        /// The ids.
        ids: Vec<String>,
    },
}

impl PackageEdit {
    /// Reads `path` or `path@version`; the id is the last name of the path.
    ///
    /// # Errors
    /// Fails when path or version are none.
    pub fn parse(text: &str) -> Result<Self, EditError> {
        let wrong = || EditError::Name {
            text: text.chars().take(100).collect(),
        };
        let (path, version) = match text.split_once('@') {
            Some((path, version)) => (path, Some(version)),
            None => (text, None),
        };
        if !is_attribute_path(path)
            || version.is_some_and(|one| VersionRequirement::parse(one).is_err())
        {
            return Err(wrong());
        }
        let id = match path
            .strip_suffix('"')
            .and_then(|rest| rest.rsplit_once('"'))
        {
            Some((_, quoted)) => quoted,
            None => path.rsplit('.').next().unwrap_or(path),
        };
        if !is_install_id(id) {
            return Err(wrong());
        }
        Ok(Self {
            install_id: id.to_owned(),
            pkg_path: path.to_owned(),
            version: version.map(str::to_owned),
        })
    }
}

/// Returns the text of a new manifest with comments that explain it.
#[must_use]
pub fn template(name: &str) -> String {
    let name: String = name
        .chars()
        .filter(|one| !one.is_control())
        .take(100)
        .collect();
    include_str!("template.toml").replace("{name}", &name)
}

/// Adds packages to `[install]`.
///
/// # Errors
/// Fails when the text is no manifest, or an id is taken by another package; then nothing is changed.
pub fn add_packages(
    text: &str,
    packages: &[PackageEdit],
) -> Result<(String, Vec<Added>), EditError> {
    let mut document = open(text)?;
    let install = document
        .entry("install")
        .or_insert_with(|| Item::Table(Table::new()));
    // In `install = { … }` only inline entries can stand.
    let is_inline = install.is_value();
    let install = install
        .as_table_like_mut()
        .expect("the manifest was read, so install is a table");
    let mut added = Vec::new();
    for package in packages {
        added.push(add(install, is_inline, package)?);
    }
    Ok((document.to_string(), added))
}

/// Removes packages from `[install]`, each by its id or, where only one has it, its package path.
///
/// # Errors
/// Fails when the text is no manifest, or something is not installed; then nothing is changed.
pub fn remove_packages(text: &str, ids: &[String]) -> Result<String, EditError> {
    let mut document = open(text)?;
    for id in ids {
        let install = document
            .get_mut("install")
            .and_then(Item::as_table_like_mut);
        let missing = |near: Option<&str>| EditError::NotInstalled {
            id: id.chars().take(100).collect(),
            near: near.map(str::to_owned),
        };
        let install = install.ok_or_else(|| missing(None))?;
        let found = match install.contains_key(id) {
            true => vec![id.clone()],
            false => ids_of(install, id),
        };
        match found.as_slice() {
            [one] => install.remove(one),
            [] => return Err(missing(nearest(id, install.iter().map(|(name, _)| name)))),
            _ => {
                return Err(EditError::Ambiguous {
                    path: id.clone(),
                    ids: found,
                });
            }
        };
    }
    Ok(document.to_string())
}

/// A text is only changed when all of it makes sense: an error in another table would come out at the next command.
fn open(text: &str) -> Result<DocumentMut, EditError> {
    ManifestFile::parse(text)?;
    let document = text.parse::<DocumentMut>();
    Ok(document.expect("the text was just read as TOML"))
}

fn add(
    install: &mut dyn TableLike,
    is_inline: bool,
    package: &PackageEdit,
) -> Result<Added, EditError> {
    let Some(existing) = install.get_mut(&package.install_id) else {
        let entry = if is_inline {
            inline_entry(package)
        } else {
            dotted_entry(package)
        };
        install.insert(&package.install_id, entry);
        return Ok(Added::New);
    };
    let existing = existing
        .as_table_like_mut()
        .expect("the manifest was read, so an entry is a table");
    let text = |key: &str| existing.get(key).and_then(path_text);
    let same = text("pkg-path").as_deref() == Some(&package.pkg_path);
    if !same {
        let other = ["pkg-path", "flake", "store-path"]
            .into_iter()
            .find_map(text);
        return Err(EditError::Taken {
            id: package.install_id.clone(),
            existing: other.unwrap_or_else(|| "another package".to_owned()),
            wanted: package.pkg_path.clone(),
        });
    }
    match &package.version {
        Some(version) if text("version").as_ref() != Some(version) => {
            existing.insert("version", value(version.as_str()));
            Ok(Added::Changed)
        }
        _ => Ok(Added::Already),
    }
}

fn dotted_entry(package: &PackageEdit) -> Item {
    let mut entry = Table::new();
    entry.set_dotted(true);
    entry.set_implicit(true);
    entry.insert("pkg-path", value(package.pkg_path.as_str()));
    if let Some(version) = &package.version {
        entry.insert("version", value(version.as_str()));
    }
    Item::Table(entry)
}

fn inline_entry(package: &PackageEdit) -> Item {
    let mut entry = InlineTable::new();
    entry.insert("pkg-path", package.pkg_path.as_str().into());
    if let Some(version) = &package.version {
        entry.insert("version", version.as_str().into());
    }
    Item::Value(Value::InlineTable(entry))
}

fn path_text(item: &Item) -> Option<String> {
    if let Some(names) = item.as_array() {
        let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
        return Some(names?.join("."));
    }
    item.as_str().map(str::to_owned)
}

fn ids_of(install: &dyn TableLike, path: &str) -> Vec<String> {
    let has = |item: &Item| {
        let table = item.as_table_like();
        table
            .and_then(|table| table.get("pkg-path"))
            .and_then(path_text)
            .as_deref()
            == Some(path)
    };
    install
        .iter()
        .filter(|(_, item)| has(item))
        .map(|(id, _)| id.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(names: &[&str]) -> Vec<PackageEdit> {
        names
            .iter()
            .map(|name| PackageEdit::parse(name).unwrap())
            .collect()
    }

    fn added(text: &str, names: &[&str]) -> String {
        let (text, _) = add_packages(text, &packages(names)).unwrap();
        ManifestFile::parse(&text).unwrap();
        text
    }

    #[test]
    fn the_template_is_a_manifest_and_takes_packages_under_its_header() {
        let text = template("demo/app\n[evil]");
        assert!(!text.contains("\n[evil]"));
        let text = added(&text, &["python3", "python3Packages.numpy@^1.24"]);
        let lines = "[install]\npython3.pkg-path = \"python3\"\nnumpy.pkg-path = \"python3Packages.numpy\"\nnumpy.version = \"^1.24\"\n# python3.pkg-path";
        assert!(text.contains(lines), "{text}");
    }

    #[test]
    fn comments_and_order_stay() {
        let text = "# top\n[vars]\nA = \"1\" # one\n\n[install]\n# the shell\nbash.pkg-path = \"bash\" # b\n\n[hook]\n";
        assert_eq!(
            added(text, &["jq"]),
            text.replace("# b\n", "# b\njq.pkg-path = \"jq\"\n")
        );
        let both = added(text, &["jq"]);
        assert_eq!(remove_packages(&both, &["jq".to_owned()]).unwrap(), text);
    }

    #[test]
    fn every_way_to_write_install_takes_packages() {
        for text in [
            "",
            "version = 1\n",
            "[install]\n",
            "install = {}\n",
            "install = { a = { pkg-path = \"a\" } }\n",
            "install.a.pkg-path = \"a\"\n",
            "[install.a]\npkg-path = \"a\"\n",
            "[vars]\nA = \"b\"\n\n[install.a]\npkg-path = \"a\"\n\n[hook]\n",
        ] {
            let result = added(text, &["jq", "curl@8"]);
            let file = ManifestFile::parse(&result).unwrap();
            assert!(
                file.install.contains_key("jq") && file.install.contains_key("curl"),
                "{result}"
            );
            assert_eq!(
                file.install.contains_key("a"),
                text.contains("pkg-path"),
                "{result}"
            );
            let less = remove_packages(&result, &["jq".to_owned(), "curl".to_owned()]).unwrap();
            assert_eq!(
                ManifestFile::parse(&less).unwrap(),
                ManifestFile::parse(text).unwrap(),
                "{less}"
            );
        }
    }

    #[test]
    fn adding_twice_changes_nothing_and_another_version_is_written() {
        let text = added("", &["jq"]);
        let (same, what) = add_packages(&text, &packages(&["jq"])).unwrap();
        assert_eq!((same.as_str(), what), (text.as_str(), vec![Added::Already]));
        let (other, what) = add_packages(&text, &packages(&["jq@^1.7"])).unwrap();
        assert_eq!(what, [Added::Changed]);
        assert!(other.contains("jq.version = \"^1.7\""), "{other}");
    }

    #[test]
    fn a_taken_id_and_an_absent_one_are_named() {
        let text = added("", &["python3Packages.numpy"]);
        let error = add_packages(&text, &packages(&["python311Packages.numpy"])).unwrap_err();
        assert!(
            error.to_string().contains("taken by python3Packages.numpy"),
            "{error}"
        );
        let error = remove_packages(&text, &["nunpy".to_owned()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "nunpy is not installed; did you mean numpy?"
        );
        let left = remove_packages(&text, &["python3Packages.numpy".to_owned()]).unwrap();
        assert!(!left.contains("numpy"));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for text in [
            "", "@1", "a b", "a@", "a@>=", "../x", "a..b", "$(x)", "-x y",
        ] {
            assert!(PackageEdit::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            PackageEdit::parse("linux.\"6.12\"").unwrap().install_id,
            "6.12"
        );
    }
}
