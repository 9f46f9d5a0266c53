//! Which files of a machine have to change for containerd to have Nival's handler, or to lose it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Table;
use workload::Pattern;

use super::config::{
    ConfigError, ConfigFile, Configuration, DROP_IN, Merging, VERSION_2, VERSION_3,
};
use super::edit::{self, EditError};
use super::machine::Host;
use super::preset::Places;
use super::record::Record;
use super::{Failure, handler};

/// Finds it, and does no harm where it is gone: containerd does not start when a file that it is told of is missing.
const IMPORT: &str = "nival*.toml";
/// Beside the configuration, where no folder of drop-ins is imported.
const FOLDER: &str = "conf.d";
/// The templates of k3s and RKE2, the preferred one first.
const TEMPLATES: [(&str, &str); 2] = [
    ("config-v3.toml.tmpl", VERSION_3),
    ("config.toml.tmpl", VERSION_2),
];

/// Says 1 where SELinux refuses what its policy does not allow.
const ENFORCE: &str = "/sys/fs/selinux/enforce";

/// What becomes of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Where it is on the machine.
    pub(crate) path: PathBuf,
    /// Its text, where it was there.
    pub(crate) before: Option<String>,
    /// Its new text; none where it goes.
    pub(crate) after: Option<String>,
}

/// Returns the changes that register the handler; none where it is registered as it should be.
pub(crate) fn install(host: &Host, places: &Places, version: &str) -> Result<Vec<Change>, Failure> {
    let merging = Merging::of(version);
    let configuration = Configuration::load(host, &places.config, merging)?;
    let enforce = host.text(Path::new(ENFORCE)).ok().flatten();
    if enforce.is_some_and(|text| text.trim() == "1") && configuration.has_labels() {
        return Err(Failure::Labels);
    }
    let containerd = configuration.containerd();
    let wanted = handler::wanted(&containerd);
    if handler::is_as_wanted(&containerd, &wanted) && configuration.is_in_form() {
        return Ok(Vec::new());
    }
    let mut changes = if let Some(path) = imported(&configuration, merging) {
        let (version, plugin) = configuration.form();
        vec![change(host, path, edit::drop_in(version, plugin, &wanted))?]
    } else if places.generated {
        vec![template(host, &configuration, places, &wanted)?]
    } else {
        match merging {
            Merging::Keys => beside(host, &configuration, places, &wanted)?,
            Merging::Sections => vec![inside(host, &configuration, places, &wanted)?],
        }
    };
    changes.retain(|change| change.before != change.after);
    Ok(changes)
}

fn change(host: &Host, path: PathBuf, after: String) -> Result<Change, ConfigError> {
    Ok(Change {
        before: host.text(&path)?,
        path,
        after: Some(after),
    })
}

/// Returns where the handler's own file is read from without more ado.
fn imported(configuration: &Configuration, merging: Merging) -> Option<PathBuf> {
    if merging == Merging::Sections {
        return None;
    }
    let imports = configuration.files.iter().flat_map(ConfigFile::imports);
    let patterns = imports.filter(|import| {
        let name = import.file_name().and_then(|name| name.to_str());
        let folder = import.parent().unwrap_or(Path::new("/"));
        name.is_some_and(|name| Pattern::new(name).fits(DROP_IN))
            && !folder.to_string_lossy().contains('*')
    });
    patterns.map(|import| import.with_file_name(DROP_IN)).next()
}

/// The version of a file says under which name it has the CRI's section.
fn plugin(file: &ConfigFile) -> &'static str {
    if file.version() >= 3 {
        VERSION_3
    } else {
        VERSION_2
    }
}

/// A file of its own, and the line that imports it.
fn beside(
    host: &Host,
    configuration: &Configuration,
    places: &Places,
    wanted: &Table,
) -> Result<Vec<Change>, Failure> {
    let folder = places.config.with_file_name(FOLDER);
    let import = folder.join(IMPORT).display().to_string();
    let text = match configuration.files.first() {
        Some(first) => edit::with_import(first, &import)?,
        None => format!("version = 3\nimports = [\"{import}\"]\n"),
    };
    // The handler first: nothing reads it before the other change is made.
    let (version, plugin) = configuration.form();
    let handler = edit::drop_in(version, plugin, wanted);
    Ok(vec![
        change(host, folder.join(DROP_IN), handler)?,
        change(host, places.config.clone(), text)?,
    ])
}

/// In the file whose section counts: another file's section would stand in its place as a whole, and hide whatever is
/// changed there later.
fn inside(
    host: &Host,
    configuration: &Configuration,
    places: &Places,
    wanted: &Table,
) -> Result<Change, Failure> {
    // Where handlers are written, the one for runc that holds otherwise is gone, unless it is written, too.
    let alone = !configuration.containerd().contains_key("runtimes");
    let Some(file) = configuration
        .deciding()
        .or_else(|| configuration.files.first())
    else {
        let text = edit::drop_in(2, VERSION_2, wanted) + &edit::runc(VERSION_2);
        return Ok(change(host, places.config.clone(), text)?);
    };
    let version = file.version();
    if version < 2 {
        let path = file.path.clone();
        return Err(ConfigError::Version { path, version }.into());
    }
    let plugin = plugin(file);
    let mut text = edit::with_handler(file, plugin, wanted)?;
    if alone {
        text.push_str(&edit::runc(plugin));
    }
    Ok(change(host, file.path.clone(), text)?)
}

/// In the template that the distribution fills in, or in a new one that extends its own.
fn template(
    host: &Host,
    configuration: &Configuration,
    places: &Places,
    wanted: &Table,
) -> Result<Change, Failure> {
    let at = |name: &str| places.config.with_file_name(name);
    let existing = TEMPLATES.into_iter().find(|(name, _)| host.has(at(name)));
    let own = configuration.files.first().map_or(VERSION_3, plugin);
    let chosen = existing.or_else(|| TEMPLATES.into_iter().find(|(_, plugin)| *plugin == own));
    let (name, plugin) = chosen.unwrap_or(TEMPLATES[0]);
    let before = host.text(&at(name)).map_err(ConfigError::from)?;
    let after = edit::template(before.as_deref(), plugin, wanted);
    Ok(Change {
        path: at(name),
        before,
        after: Some(after),
    })
}

/// Returns the changes that take the handler away. What only Nival has changed becomes what it was before.
pub(crate) fn uninstall(
    host: &Host,
    places: &Places,
    version: &str,
    record: &Record,
) -> Result<Vec<Change>, Failure> {
    let mut paths: Vec<PathBuf> = record.files.keys().cloned().collect();
    paths.extend(TEMPLATES.map(|(name, _)| places.config.with_file_name(name)));
    let configuration = Configuration::load(host, &places.config, Merging::of(version))?;
    // Installers of others copy what they find into files of their own.
    paths.extend(configuration.files.iter().map(|file| file.path.clone()));
    let mut changes: Vec<Change> = Vec::new();
    for path in paths {
        // What is generated follows from what it is generated from.
        let generated = places.generated && path == places.config;
        if generated || changes.iter().any(|change| change.path == path) {
            continue;
        }
        let before = host.text(&path).map_err(ConfigError::from)?;
        let Some(text) = &before else { continue };
        let after = match record.files.get(&path) {
            Some(kept) if kept.after == *text => kept.before.clone(),
            _ => stripped(&path, text)?,
        };
        changes.push(Change {
            path,
            before,
            after,
        });
    }
    changes.retain(|change| change.before != change.after);
    Ok(changes)
}

/// Returns what stays of a file without Nival's part.
fn stripped(path: &Path, text: &str) -> Result<Option<String>, EditError> {
    let name = path.file_name().unwrap_or_default();
    if name == DROP_IN {
        return Ok(None);
    }
    if TEMPLATES.iter().any(|(template, _)| name == *template) {
        return Ok(Some(edit::without_marked(text)));
    }
    let text = edit::without_handler(path, text)?;
    let import = path.with_file_name(FOLDER).join(IMPORT);
    edit::without_import(path, &text, &import.display().to_string()).map(Some)
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::super::preset::{Overrides, Preset};
    use super::*;

    #[test]
    fn a_drop_in_follows_the_version_of_the_configuration() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("etc/containerd");
        fs::create_dir_all(folder.join("conf.d")).unwrap();
        let configure = |version: u8| {
            let text =
                format!("version = {version}\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n");
            fs::write(folder.join("config.toml"), text).unwrap();
        };
        let host = Host::new(root.path());
        let places = Preset::Containerd
            .places(&host, Overrides::default())
            .unwrap();
        let plan = || install(&host, &places, "2.1.9").unwrap();
        configure(2);
        let [change] = &plan()[..] else {
            panic!("one file changes");
        };
        assert_eq!(change.path, Path::new("/etc/containerd/conf.d/nival.toml"));
        let text = change.after.clone().unwrap();
        assert!(
            text.contains("version = 2\n") && text.contains(VERSION_2),
            "{text}"
        );
        fs::write(folder.join("conf.d/nival.toml"), text).unwrap();
        assert_eq!(plan(), []);
        // As after `containerd config migrate`.
        configure(3);
        let text = plan()[0].after.clone().unwrap();
        assert!(
            text.contains("version = 3\n") && text.contains(VERSION_3),
            "{text}"
        );
        fs::write(folder.join("conf.d/nival.toml"), text).unwrap();
        assert_eq!(plan(), []);
    }

    #[test]
    fn labels_that_would_keep_environments_from_running_are_refused() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["etc/containerd", "sys/fs/selinux"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let host = Host::new(root.path());
        let places = Preset::Containerd
            .places(&host, Overrides::default())
            .unwrap();
        let plan = |labels: bool, enforce: &str| {
            let text = format!("version = 3\n[plugins.'{VERSION_3}']\nenable_selinux = {labels}\n");
            fs::write(root.path().join("etc/containerd/config.toml"), text).unwrap();
            fs::write(host.path(Path::new(ENFORCE)), enforce).unwrap();
            install(&host, &places, "2.1.9")
        };
        assert!(matches!(plan(true, "1"), Err(Failure::Labels)));
        for (labels, enforce) in [(true, "0"), (false, "1")] {
            assert_eq!(plan(labels, enforce).unwrap().len(), 2);
        }
    }
}
