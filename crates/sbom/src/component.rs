//! What is known of each store path of a closure: from its name, and from the lock where it is a package's output.

use std::collections::BTreeMap;

use env_spec::generation::ClosurePath;
use env_spec::lockfile::LockedPackage;
use nix_data::StorePath;

use crate::SbomInput;
use crate::name;

/// One store path with what is known of it.
#[derive(Debug)]
pub(crate) struct Component<'a> {
    pub(crate) path: &'a ClosurePath,
    pub(crate) package: Option<&'a LockedPackage>,
    pub(crate) name: String,
    /// Never empty: where the name has no version, the hash in the store path is what changes with the content.
    pub(crate) version: String,
    pub(crate) output: Option<String>,
    pub(crate) purl: String,
    /// The ids under which it is installed, sorted.
    pub(crate) install_ids: Vec<&'a str>,
}

/// Returns the components of a closure, in its order.
pub(crate) fn components<'a>(input: &SbomInput<'a>) -> Vec<Component<'a>> {
    let mut outputs: BTreeMap<&StorePath, Vec<(&LockedPackage, &str)>> = BTreeMap::new();
    for package in input.packages {
        for (output, path) in &package.outputs {
            outputs.entry(path).or_default().push((package, output));
        }
    }
    let none = Vec::new();
    let component = |path: &'a ClosurePath| {
        let known = outputs.get(&path.path).unwrap_or(&none);
        let installs = known.iter().filter(|(package, output)| {
            package
                .outputs_to_install
                .iter()
                .any(|installed| installed == output)
        });
        let mut install_ids: Vec<&str> = installs
            .map(|(package, _)| package.install_id.as_str())
            .collect();
        install_ids.sort_unstable();
        let (name, version, output) = match known.first() {
            Some((package, output)) => (
                package.pname.clone(),
                Some(package.version.clone()),
                Some((*output).to_owned()),
            ),
            None => {
                let parts = name::split(path.path.name());
                (
                    parts.name.to_owned(),
                    parts.version.map(str::to_owned),
                    parts.output.map(str::to_owned),
                )
            }
        };
        let name = Some(name)
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| path.path.name().to_owned());
        let version = version.filter(|version| !version.is_empty());
        let package = known.first().map(|(package, _)| *package);
        let given = package.and_then(|package| name::valid_purl(package.purl.as_deref()?));
        let purl = given.map_or_else(
            || name::generic_purl(&name, version.as_deref()),
            str::to_owned,
        );
        Component {
            purl: match output.as_deref() {
                None | Some("out") => purl,
                Some(output) => name::with_output(&purl, output),
            },
            version: version.unwrap_or_else(|| path.path.hash_part().to_owned()),
            path,
            package,
            name,
            output,
            install_ids,
        }
    };
    input.closure.iter().map(component).collect()
}

impl Component<'_> {
    pub(crate) fn cpe(&self) -> Option<&str> {
        name::valid_cpe(self.package?.cpe.as_deref()?)
    }

    pub(crate) fn homepage(&self) -> Option<&str> {
        name::valid_url(self.package?.homepage.as_deref()?)
    }

    pub(crate) fn description(&self) -> Option<&str> {
        self.package?
            .description
            .as_deref()
            .filter(|text| !text.trim().is_empty())
    }

    pub(crate) fn licenses(&self) -> &[String] {
        self.package.map_or(&[], |package| &package.licenses)
    }

    /// Returns the store paths it needs, without itself.
    pub(crate) fn dependencies(&self) -> impl Iterator<Item = &StorePath> {
        self.path
            .references
            .iter()
            .filter(|reference| **reference != self.path.path)
    }
}
