//! Which search paths an environment needs: looked up in what it holds.

use std::collections::BTreeMap;

use crate::compose::{ComposeError, Composed, Contents, Found};

/// Folders of an environment that go into search paths in every mode.
const SEARCH_PATHS: [(&str, &str); 7] = [
    ("PATH", "bin"),
    ("PATH", "sbin"),
    ("MANPATH", "share/man"),
    ("INFOPATH", "share/info"),
    ("XDG_DATA_DIRS", "share"),
    ("XDG_CONFIG_DIRS", "etc/xdg"),
    ("GI_TYPELIB_PATH", "lib/girepository-1.0"),
];

/// Folders that compilers and build tools look into: they matter in mode `dev` alone.
const DEVELOPMENT_PATHS: [(&str, &str); 5] = [
    ("PKG_CONFIG_PATH", "lib/pkgconfig"),
    ("PKG_CONFIG_PATH", "share/pkgconfig"),
    ("CPATH", "include"),
    ("LIBRARY_PATH", "lib"),
    ("ACLOCAL_PATH", "share/aclocal"),
];

/// Where packages keep the certificates of authorities: nixpkgs' place, then Debian's.
const CERTIFICATES: [&str; 2] = [
    "etc/ssl/certs/ca-bundle.crt",
    "etc/ssl/certs/ca-certificates.crt",
];

/// The variables by which programs find certificates.
const CERTIFICATE_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "NIX_SSL_CERT_FILE"];

/// What was found in an environment.
pub(super) struct FoundPaths {
    pub(super) search_paths: BTreeMap<String, Vec<String>>,
    pub(super) development_paths: BTreeMap<String, Vec<String>>,
    pub(super) variables: Vec<(&'static str, String)>,
}

/// Looks up everything that matters at activation.
pub(super) fn find(
    composed: &Composed,
    contents: &dyn Contents,
) -> Result<FoundPaths, ComposeError> {
    let look = Look { composed, contents };
    let mut search_paths = look.folders(&SEARCH_PATHS)?;
    if let Some(folder) = look.python_packages()? {
        search_paths.insert("PYTHONPATH".to_owned(), vec![look.absolute(&folder)]);
    }
    let mut variables = Vec::new();
    for place in CERTIFICATES {
        if variables.is_empty() && matches!(look.at(place)?, Some(Found::File(_))) {
            variables.extend(CERTIFICATE_VARIABLES.map(|name| (name, look.absolute(place))));
        }
    }
    let development_paths = look.folders(&DEVELOPMENT_PATHS)?;
    Ok(FoundPaths {
        search_paths,
        development_paths,
        variables,
    })
}

/// Tells whether search paths could have been found in an environment, whatever it holds.
pub(super) fn can_be_in(
    environment: &str,
    search_paths: &BTreeMap<String, Vec<String>>,
    development_paths: &BTreeMap<String, Vec<String>>,
) -> bool {
    let is_known = |table: &[(&str, &str)], variable: &str, folder: &str| {
        table.contains(&(variable, folder)) || (variable == "PYTHONPATH" && is_python(folder))
    };
    let is_possible = |table: &[(&str, &str)], found: &BTreeMap<String, Vec<String>>| {
        found.iter().all(|(variable, entries)| {
            entries.iter().all(|entry| {
                entry
                    .strip_prefix(environment)
                    .and_then(|rest| rest.strip_prefix('/'))
                    .is_some_and(|folder| is_known(table, variable, folder))
            })
        })
    };
    is_possible(&SEARCH_PATHS, search_paths) && is_possible(&DEVELOPMENT_PATHS, development_paths)
}

fn is_python(folder: &str) -> bool {
    folder
        .strip_prefix("lib/")
        .and_then(|rest| rest.strip_suffix("/site-packages"))
        .is_some_and(|name| minor_version(name.as_bytes()).is_some())
}

/// Returns each choice of certificate variables that an environment may have.
pub(super) fn possible_certificates(environment: &str) -> Vec<Vec<(&'static str, String)>> {
    let of = |place: &str| {
        CERTIFICATE_VARIABLES
            .map(|name| (name, format!("{environment}/{place}")))
            .to_vec()
    };
    let places = CERTIFICATES.into_iter().map(of);
    std::iter::once(Vec::new()).chain(places).collect()
}

struct Look<'a> {
    composed: &'a Composed,
    contents: &'a dyn Contents,
}

impl Look<'_> {
    fn at(&self, path: &str) -> Result<Option<Found>, ComposeError> {
        self.composed.find(path, self.contents)
    }

    fn is_folder(&self, path: &str) -> Result<bool, ComposeError> {
        Ok(matches!(self.at(path)?, Some(Found::Directory(_))))
    }

    fn absolute(&self, path: &str) -> String {
        format!("{}/{path}", self.composed.path)
    }

    fn folders(
        &self,
        table: &[(&str, &str)],
    ) -> Result<BTreeMap<String, Vec<String>>, ComposeError> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (variable, folder) in table {
            if self.is_folder(folder)? {
                found
                    .entry((*variable).to_owned())
                    .or_default()
                    .push(self.absolute(folder));
            }
        }
        Ok(found)
    }

    /// Returns where the packages of the environment's Python are.
    ///
    /// Python finds its own folder by following the symlink of its program into its store path, and so would miss the
    /// packages beside it. Of several Pythons it is the one that `python3` starts: another's packages would break it.
    fn python_packages(&self) -> Result<Option<String>, ComposeError> {
        let started = match self.at("bin/python3")? {
            Some(Found::File(location)) => {
                location.names.last().and_then(|name| minor_version(name))
            }
            _ => None,
        };
        let newest_first = (0..100).rev();
        for minor in started.into_iter().chain(newest_first) {
            let folder = format!("lib/python3.{minor}/site-packages");
            let program = matches!(
                self.at(&format!("bin/python3.{minor}"))?,
                Some(Found::File(_))
            );
            if program && self.is_folder(&folder)? {
                return Ok(Some(folder));
            }
            if started == Some(minor) && program {
                return Ok(None);
            }
        }
        Ok(None)
    }
}

fn minor_version(name: &[u8]) -> Option<u32> {
    std::str::from_utf8(name)
        .ok()?
        .strip_prefix("python3.")?
        .parse()
        .ok()
}
