//! containerd's configuration, read as containerd reads it: the first file, then what it imports, and so on.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};

use fs_err as fs;
use toml::{Table, Value};
use workload::Pattern;

use super::machine::Host;

/// Configurations are written by people and installers; larger ones are a mistake, and so are more files.
const LARGEST_FILE: u64 = 1 << 20;
const MOST_FILES: usize = 256;

/// The CRI's section, by the version of the configuration that has it under this name.
pub(crate) const VERSION_3: &str = "io.containerd.cri.v1.runtime";
pub(crate) const VERSION_2: &str = "io.containerd.grpc.v1.cri";

/// The file with the handler, where a file of its own can have it.
pub(crate) const DROP_IN: &str = "nival.toml";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read containerd's configuration")]
    Read(#[from] std::io::Error),
    #[error("{} is no TOML that containerd would take", path.display())]
    Syntax {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error("containerd's configuration imports more than {MOST_FILES} files")]
    TooMany,
    #[error(
        "{} is of version {version}: convert it with `containerd config migrate` and restart containerd",
        path.display()
    )]
    Version { path: PathBuf, version: i64 },
    #[error("{} disables the CRI plugin, so no kubelet uses this containerd", path.display())]
    Disabled { path: PathBuf },
}

/// A line of containerd's releases, by how it merges the files of its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merging {
    /// Up to 2.0: a later file's section of a plugin stands in the place of an earlier one's.
    Sections,
    /// From 2.1 on: table by table, down to the keys.
    Keys,
}

impl Merging {
    /// Returns how a containerd of this version merges.
    pub(crate) fn of(version: &str) -> Self {
        let mut numbers = version
            .split(['.', '-', '+', '~'])
            .map(|part| part.parse::<u64>());
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        if (next(), next()) >= (2, 1) {
            Self::Keys
        } else {
            Self::Sections
        }
    }
}

/// One of its files.
#[derive(Debug, Clone)]
pub(crate) struct ConfigFile {
    /// Where it is on the machine.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    table: Table,
}

impl ConfigFile {
    pub(crate) fn parse(path: &Path, text: String) -> Result<Self, ConfigError> {
        let table = text.parse().map_err(|source| ConfigError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        Ok(Self {
            path: path.to_owned(),
            text,
            table,
        })
    }

    /// Returns the version of the file's own form; a file that says none counts as the first.
    pub(crate) fn version(&self) -> i64 {
        let version = self.table.get("version").and_then(Value::as_integer);
        version.unwrap_or(1)
    }

    /// Returns the files and patterns that it imports, as on the machine.
    pub(crate) fn imports(&self) -> Vec<PathBuf> {
        let listed = self.table.get("imports").and_then(Value::as_array);
        let paths = listed.into_iter().flatten().filter_map(Value::as_str);
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        paths.map(|path| folder.join(path)).collect()
    }

    fn is_named(&self, name: &str) -> bool {
        self.path.file_name().is_some_and(|own| own == name)
    }

    /// Returns a plugin's section.
    fn section(&self, plugin: &str) -> Option<&Table> {
        self.table.get("plugins")?.get(plugin)?.as_table()
    }
}

/// The files in the order in which containerd merges them.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) files: Vec<ConfigFile>,
    merging: Merging,
}

impl Configuration {
    /// Reads them from a machine. Where there is no first file, there are none.
    pub(crate) fn load(host: &Host, first: &Path, merging: Merging) -> Result<Self, ConfigError> {
        let mut files: Vec<ConfigFile> = Vec::new();
        let mut seen = HashSet::new();
        let mut pending = VecDeque::from([first.to_owned()]);
        while let Some(path) = pending.pop_front() {
            if !seen.insert(path.clone()) {
                continue;
            }
            if files.len() == MOST_FILES {
                return Err(ConfigError::TooMany);
            }
            let Some(file) = read(host, &path)? else {
                continue;
            };
            for import in file.imports() {
                pending.extend(expand(host, &import)?);
            }
            files.push(file);
        }
        for file in &files {
            check(file)?;
        }
        Ok(Self { files, merging })
    }

    /// Returns the CRI's runtime section after merging; empty where containerd's defaults hold.
    fn section(&self) -> Table {
        let mut merged = Table::new();
        for plugin in [VERSION_2, VERSION_3] {
            for section in self.files.iter().filter_map(|file| file.section(plugin)) {
                match self.merging {
                    Merging::Keys => merge(&mut merged, section),
                    Merging::Sections => merged = section.clone(),
                }
            }
        }
        merged
    }

    /// Tells whether containerd labels containers for SELinux.
    pub(crate) fn has_labels(&self) -> bool {
        let labels = self.section();
        labels.get("enable_selinux").and_then(Value::as_bool) == Some(true)
    }

    /// Returns the settings of the runtime handlers, and which of them is the default.
    pub(crate) fn containerd(&self) -> Table {
        match self.section().remove("containerd") {
            Some(Value::Table(table)) => table,
            _ => Table::new(),
        }
    }

    /// Returns the version and the CRI's name that one more file has to have. containerd 2.1 takes the version of the
    /// last file for that of all of them: a newer one beside an older configuration would hide all that this says.
    pub(crate) fn form(&self) -> (i64, &'static str) {
        let version = self.files.first().map_or(3, ConfigFile::version);
        // Some name the parts of the CRI as version 3 does and say that they are of version 2.
        let newer = self
            .files
            .iter()
            .any(|file| file.section(VERSION_3).is_some());
        match version {
            2 if newer => (2, VERSION_3),
            2 => (2, VERSION_2),
            // 2.4 has version 4, in which the CRI is as in 3. Whatever comes after it is seen by what containerd says.
            version => (version.max(3), VERSION_3),
        }
    }

    /// Tells whether Nival's own file, where there is one, has the form that it has to have beside the others.
    pub(crate) fn is_in_form(&self) -> bool {
        let mut own = self.files.iter().filter(|file| file.is_named(DROP_IN));
        own.all(|file| file.version() == self.form().0)
    }

    /// Returns which file's section of the CRI counts, where sections stand in each other's place.
    pub(crate) fn deciding(&self) -> Option<&ConfigFile> {
        let has = |file: &&ConfigFile| {
            let names = [VERSION_2, VERSION_3];
            names.iter().any(|plugin| file.section(plugin).is_some())
        };
        self.files.iter().rev().find(has)
    }
}

fn read(host: &Host, path: &Path) -> Result<Option<ConfigFile>, ConfigError> {
    let place = host.path(path);
    if !place.exists() {
        return Ok(None);
    }
    let bytes = host::fs::read_bounded(&place, LARGEST_FILE)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    ConfigFile::parse(path, text).map(Some)
}

fn check(file: &ConfigFile) -> Result<(), ConfigError> {
    let path = || file.path.clone();
    let version = file.version();
    let disabled = file.table.get("disabled_plugins").and_then(Value::as_array);
    let off = |name: &str| ["cri", VERSION_2, VERSION_3].contains(&name);
    let listed = disabled.into_iter().flatten().filter_map(Value::as_str);
    if listed.into_iter().any(off) {
        return Err(ConfigError::Disabled { path: path() });
    }
    // A file of imports and settings of the daemon alone is the same in all versions.
    if version < 2 && file.section("cri").is_some() {
        return Err(ConfigError::Version {
            path: path(),
            version,
        });
    }
    Ok(())
}

/// Returns the files that a pattern stands for, in their order by name.
fn expand(host: &Host, pattern: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let mut found = vec![PathBuf::new()];
    for part in pattern {
        let Some(text) = part.to_str().filter(|text| text.contains('*')) else {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        };
        let fits = Pattern::new(text);
        let mut next = Vec::new();
        for folder in found {
            let Ok(entries) = fs::read_dir(host.path(&folder)) else {
                continue;
            };
            let names = entries.flatten().map(|entry| entry.file_name());
            let mut names: Vec<_> = names
                .filter(|name| name.to_str().is_some_and(|name| fits.fits(name)))
                .collect();
            names.sort();
            next.extend(names.into_iter().map(|name| folder.join(name)));
        }
        found = next;
    }
    Ok(found)
}

/// Lays a table over another, table by table. What is empty counts as not written.
fn merge(under: &mut Table, over: &Table) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            _ => {
                under.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let host = Host::new(root.path());
        (root, host)
    }

    #[test]
    fn files_are_read_in_the_order_of_imports_and_merged_as_the_version_does() {
        let first = "version = 2\nimports = [\"conf.d/*.toml\"]\n\
                     [plugins.\"io.containerd.grpc.v1.cri\".containerd]\ndefault_runtime_name = \"runc\"\n";
        let second = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.a]\n";
        let (_root, host) = machine(&[
            ("etc/containerd/config.toml", first),
            ("etc/containerd/conf.d/b.toml", "version = 2\n"),
            ("etc/containerd/conf.d/a.toml", second),
        ]);
        let load = |merging| {
            Configuration::load(&host, Path::new("/etc/containerd/config.toml"), merging).unwrap()
        };
        let keys = load(Merging::Keys);
        let names: Vec<_> = keys
            .files
            .iter()
            .map(|file| file.path.file_name())
            .collect();
        assert_eq!(
            names,
            ["config.toml", "a.toml", "b.toml"].map(|name| Some(name.as_ref()))
        );
        let of = |merging| load(merging).containerd();
        assert!(of(Merging::Keys).contains_key("default_runtime_name"));
        assert!(!of(Merging::Sections).contains_key("default_runtime_name"));
        assert!(of(Merging::Sections).contains_key("runtimes"));
        let deciding = load(Merging::Sections).deciding().unwrap().path.clone();
        assert_eq!(deciding, Path::new("/etc/containerd/conf.d/a.toml"));
    }

    #[test]
    fn what_no_installer_can_handle_is_said() {
        let load = |text| {
            let (_root, host) = machine(&[("config.toml", text)]);
            Configuration::load(&host, Path::new("/config.toml"), Merging::Keys)
        };
        let old = load("[plugins.cri.containerd]\n").unwrap_err().to_string();
        assert!(old.contains("is of version 1"), "{old}");
        let disabled = load("disabled_plugins = [\"cri\"]\n").unwrap_err();
        assert!(disabled.to_string().contains("disables the CRI plugin"));
        let broken = load("version = \n").unwrap_err().to_string();
        assert!(broken.starts_with("/config.toml is no TOML"), "{broken}");
    }

    #[test]
    fn versions_tell_how_files_are_merged() {
        for version in ["1.7.24~ds1", "1.6.36", "2.0.5", "unknown"] {
            assert_eq!(Merging::of(version), Merging::Sections, "{version}");
        }
        for version in ["2.1.9", "2.2.0-rc.1", "2.4.2", "3.0.0", "2.1.5-k3s1"] {
            assert_eq!(Merging::of(version), Merging::Keys, "{version}");
        }
    }
}
