//! Debian packages of any suite, fetched through an apt state of our own, so that the system's is never touched.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use fs_err as fs;
use tempfile::TempDir;

/// An apt that knows one suite and no installed package.
pub(super) struct Apt {
    suite: &'static str,
    state: TempDir,
}

/// A package as the suite describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) sha256: String,
    /// The text of `Pre-Depends` and `Depends`.
    pub(super) depends: String,
    pub(super) provides: String,
}

impl Apt {
    /// Makes the state for a suite below `scratch` and fetches the suite's index.
    /// What comes with it must be signed by a key of `keyring`.
    pub(super) fn open(scratch: &Path, suite: &'static str, keyring: &Path) -> Result<Self> {
        // Its own folder each time: two states of one suite may be at work at once.
        let own = tempfile::Builder::new()
            .prefix("apt-")
            .tempdir_in(scratch)?;
        let state = own.path();
        for folder in ["lists/partial", "cache/archives/partial", "sources"] {
            fs::create_dir_all(state.join(folder))?;
        }
        let source = format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\nArchitectures: amd64\n\
             Signed-By: {}\n",
            mirror()?,
            keyring.display()
        );
        fs::write(state.join("sources/suite.sources"), source)?;
        let text = format!(
            r#"Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{state}/sources/";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{state}";
Dir::State::lists "{state}/lists";
Dir::State::status "/dev/null";
Dir::Cache "{state}/cache";
APT::Sandbox::User "root";
Acquire::Retries "3";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
"#,
            state = state.display()
        );
        fs::write(state.join("apt.conf"), text)?;
        let apt = Self { suite, state: own };
        host::process::run(apt.command("apt-get").args(["-qq", "update"]))
            .with_context(|| format!("fetching the package index of Debian {suite}"))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", self.state.path().join("apt.conf"))
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// Returns the packages that installing `roots` on an empty system would install, the roots among them.
    pub(super) fn closure(&self, roots: &[&str]) -> Result<BTreeMap<String, Package>> {
        let mut plan = self.command("apt-get");
        plan.args([
            "-qq",
            "--yes",
            "--no-install-recommends",
            "--print-uris",
            "install",
        ]);
        let output = host::process::run(plan.args(roots))
            .with_context(|| format!("resolving packages of Debian {}", self.suite))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let files = text
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1));
        let names: Vec<&str> = files.filter_map(|file| file.split('_').next()).collect();
        self.describe(&names)
    }

    /// Returns what the suite says of these packages.
    pub(super) fn describe(&self, names: &[&str]) -> Result<BTreeMap<String, Package>> {
        let mut show = self.command("apt-cache");
        show.args(["show", "--no-all-versions"]).args(names);
        let output = host::process::run(&mut show)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let packages = text
            .split("\n\n")
            .filter(|stanza| !stanza.trim().is_empty());
        let described: Result<BTreeMap<_, _>> = packages
            .map(|stanza| parse_stanza(stanza).map(|package| (package.name.clone(), package)))
            .collect();
        described
    }

    /// Returns the names of packages that match a regular expression.
    pub(super) fn names(&self, pattern: &str) -> Result<Vec<String>> {
        let mut search = self.command("apt-cache");
        let output = host::process::run(search.args(["search", "--names-only", pattern]))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text
            .lines()
            .filter_map(|line| line.split(' ').next())
            .map(str::to_owned)
            .collect())
    }

    /// Downloads these packages into a folder as `<name>_<version>.deb`, each checked by apt against the signed index.
    pub(super) fn download<'a>(
        &self,
        packages: impl IntoIterator<Item = &'a Package>,
        folder: &Path,
    ) -> Result<()> {
        let packages: Vec<&Package> = packages.into_iter().collect();
        let arrivals = folder.join(".arrivals");
        fs::create_dir_all(&arrivals)?;
        let mut command = self.command("apt-get");
        command.args(["-qq", "download"]).current_dir(&arrivals);
        let wanted = packages
            .iter()
            .map(|package| format!("{}={}", package.name, package.version));
        host::process::run(command.args(wanted))
            .with_context(|| format!("downloading packages of Debian {}", self.suite))?;
        for entry in fs::read_dir(&arrivals)? {
            let path = entry?.path();
            let file = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            let name = file.split('_').next().unwrap_or_default();
            let package = packages.iter().find(|package| package.name == name);
            let package =
                package.with_context(|| format!("apt brought {file}, which was not asked for"))?;
            fs::rename(&path, folder.join(package.file_name()))?;
        }
        fs::remove_dir(&arrivals)?;
        match packages
            .iter()
            .find(|package| !folder.join(package.file_name()).is_file())
        {
            Some(missing) => bail!("apt did not bring {} {}", missing.name, missing.version),
            None => Ok(()),
        }
    }
}

impl Apt {
    /// Unpacks packages, downloaded for the purpose, into a scratch folder that lasts as long as what is returned.
    pub(super) fn unpack<'a>(
        &self,
        scratch: &Path,
        packages: impl IntoIterator<Item = &'a Package>,
    ) -> Result<TempDir> {
        let packages: Vec<&Package> = packages.into_iter().collect();
        let folder = tempfile::tempdir_in(scratch)?;
        let debs = tempfile::tempdir_in(scratch)?;
        self.download(packages.iter().copied(), debs.path())?;
        for package in packages {
            unpack(&debs.path().join(package.file_name()), folder.path())?;
        }
        Ok(folder)
    }
}

impl Package {
    /// Returns a file name with only the characters that Nix allows in names.
    pub(super) fn file_name(&self) -> String {
        let version = self
            .version
            .split_once(':')
            .map_or(&*self.version, |(_, version)| version);
        format!("{}_{}.deb", self.name, version.replace('~', "-"))
    }

    /// Returns the version that the authors gave, without Debian's epoch and revision.
    pub(super) fn upstream_version(&self) -> &str {
        let version = self
            .version
            .split_once(':')
            .map_or(&*self.version, |(_, version)| version);
        let version = version
            .rsplit_once('-')
            .map_or(version, |(upstream, _)| upstream);
        version.split(['+', '~']).next().unwrap_or(version)
    }
}

/// Returns the Debian mirror that this machine itself uses.
fn mirror() -> Result<String> {
    let mut command = Command::new("apt-get");
    let format = "$(ORIGIN)|$(LABEL)|$(REPO_URI)";
    command.args(["indextargets", "--format", format, "Created-By: Packages"]);
    let output =
        host::process::run(&mut command).context("asking apt for this machine's mirror")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    choose_mirror(&text)
        .context("no Debian mirror in this machine's apt sources: add one to /etc/apt/sources.list")
}

/// Chooses the main archive among the machine's sources. Origin and label are known only after an `apt-get update`.
fn choose_mirror(targets: &str) -> Option<String> {
    let mut rows = targets.lines().filter_map(|line| {
        let mut fields = line.split('|');
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let is_main = |origin: &str, label: &str, uri: &str| {
        (origin, label) == ("Debian", "Debian") || uri.trim_end_matches('/').ends_with("/debian")
    };
    let row = rows.find(|(origin, label, uri)| is_main(origin, label, uri))?;
    Some(row.2.to_owned())
}

fn parse_stanza(stanza: &str) -> Result<Package> {
    let mut fields = BTreeMap::new();
    for line in stanza.lines().filter(|line| !line.starts_with(' ')) {
        if let Some((name, value)) = line.split_once(": ") {
            fields.insert(name, value);
        }
    }
    let text = |name: &str| fields.get(name).copied().unwrap_or_default().to_owned();
    let required = |name: &str| {
        let value = fields
            .get(name)
            .with_context(|| format!("no field {name} in {stanza:?}"))?;
        Ok::<_, anyhow::Error>((*value).to_owned())
    };
    Ok(Package {
        name: required("Package")?,
        version: required("Version")?,
        sha256: required("SHA256")?,
        depends: [text("Pre-Depends"), text("Depends")].join(","),
        provides: text("Provides"),
    })
}

/// Unpacks a package's files below a folder; its scripts are not run.
pub(super) fn unpack(deb: &Path, folder: &Path) -> Result<()> {
    host::process::run(
        Command::new("dpkg-deb")
            .arg("--extract")
            .args([deb, folder]),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stanza_is_read_and_its_version_stripped() {
        let text = "Package: redis-tools\nVersion: 5:7.0.15-1~deb12u7\nPre-Depends: a\nDepends: libc6 (>= 2.34)\nDescription: a\n b: c\nSHA256: 00\n";
        let package = parse_stanza(text).unwrap();
        assert_eq!(package.depends, "a,libc6 (>= 2.34)");
        assert_eq!(package.upstream_version(), "7.0.15");
        assert_eq!(package.file_name(), "redis-tools_7.0.15-1-deb12u7.deb");
        assert!(parse_stanza("Package: a\n").is_err());
    }

    #[test]
    fn the_main_archive_is_chosen_before_and_after_an_update() {
        let updated = "|Security|http://a/debian-security/\nDebian|Debian|http://b/mirror/\n";
        assert_eq!(choose_mirror(updated).as_deref(), Some("http://b/mirror/"));
        let fresh = "||http://a/other\n||http://a/debian-security/\n||http://c/debian/\n";
        assert_eq!(choose_mirror(fresh).as_deref(), Some("http://c/debian/"));
        assert_eq!(choose_mirror("||http://a/other\n"), None);
    }
}
