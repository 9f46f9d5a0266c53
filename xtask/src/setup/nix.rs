//! Two versions of Nix from newer Debian suites, each with its own libraries, made to run on this machine.

use std::path::Path;

use anyhow::{Context as _, Result};
use fs_err as fs;

use super::apt::{self, Apt, Package};
use super::step::{Inputs, Steps};
use super::tools::Tools;

/// Each suite with the name of the version that it brings.
pub(super) const VERSIONS: &[(&str, &str)] = &[("sid", "nix"), ("trixie", "nix-2.26")];

/// Brings Nix from every suite in [`VERSIONS`] to `nix/<suite>`.
pub(super) fn bring(steps: &Steps, tools: &Tools) -> Result<()> {
    for (suite, _) in VERSIONS {
        let inputs = Inputs::of_recipe(1)
            .with(suite)
            .with(steps.setup().as_os_str().as_encoded_bytes());
        let folder = format!("nix/{suite}");
        let target = steps.setup().join(&folder);
        steps.run(&folder, inputs, |fresh| {
            fill(steps, tools, suite, fresh, &target)
        })?;
    }
    Ok(())
}

fn fill(
    steps: &Steps,
    tools: &Tools,
    suite: &'static str,
    fresh: &Path,
    target: &Path,
) -> Result<()> {
    let apt = Apt::open(&steps.scratch(), suite, &tools.keyring())?;
    let closure = apt.closure(&["nix-bin"])?;
    let debs = steps.scratch().join(format!("debs-{suite}"));
    fs::create_dir_all(&debs)?;
    let wanted: Vec<&Package> = closure
        .values()
        .filter(|package| is_needed(&package.name))
        .collect();
    apt.download(wanted.iter().copied(), &debs)?;
    for package in wanted {
        apt::unpack(&debs.join(package.file_name()), fresh)?;
    }
    let share = fresh.join("usr/share");
    for part in ["doc", "man", "locale", "lintian", "bug"] {
        super::step::remove(&share.join(part))?;
    }
    let program = fresh.join("usr/bin/nix");
    tools.patch(&program, &target.join("usr/lib/x86_64-linux-gnu"))?;
    // The path of the libraries is the final one, so try it where it will be found: under its own name, after the move.
    fs::metadata(fresh.join("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"))
        .with_context(|| format!("Debian {suite} keeps its loader somewhere else now"))?;
    Ok(())
}

/// Tells whether Nix at work needs the package; its dependencies name Perl and user management too.
fn is_needed(name: &str) -> bool {
    let perl = name.ends_with("-perl") || name.starts_with("libperl");
    name == "nix-bin" || (name.starts_with("lib") && !perl && !name.starts_with("libpam"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_libraries_and_nix_are_taken() {
        assert!(is_needed("nix-bin") && is_needed("libc6") && is_needed("libssl3t64"));
        assert!(!is_needed("perl-base") && !is_needed("libperl5.40") && !is_needed("libdbi-perl"));
    }
}
