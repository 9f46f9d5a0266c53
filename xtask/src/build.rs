//! Builds the programs as they ship: one static binary each, so that they run on any node.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use fs_err as fs;

/// What programs are built for.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Packages in the order they are built. The shim goes alone: built beside the others it would take over the
/// features that they switch on in the crates they share, and grow.
const BUILDS: &[&[&str]] = &[&["shim"], &["agent", "cli", "hub", "operator"]];

/// The programs' names.
pub(crate) const PROGRAMS: &[&str] = &[
    "containerd-shim-nival-v2",
    "kubectl-nival",
    "nival",
    "nival-agent",
    "nival-hub",
    "nival-operator",
];

/// Builds all programs and returns the folder that they are in. Whoever names a folder by `NIVAL_PROGRAMS` has built them.
pub(crate) fn programs(root: &Path) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("NIVAL_PROGRAMS") {
        return complete(PathBuf::from(named));
    }
    for packages in BUILDS {
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["build", "--release", "--locked", "--target", TARGET])
            .current_dir(root);
        packages.iter().for_each(|package| {
            command.args(["--package", package]);
        });
        command.env("RUSTFLAGS", flags(root));
        // The programs have their own folder, so that checks and tests built with other flags do not undo it.
        command.env("CARGO_TARGET_DIR", root.join("target/static"));
        let status = command.status().context("starting cargo")?;
        if !status.success() {
            bail!("building {} failed with {status}", packages.join(", "));
        }
    }
    complete(root.join("target/static").join(TARGET).join("release"))
}

/// Fails unless the folder has all programs.
fn complete(folder: PathBuf) -> Result<PathBuf> {
    for program in PROGRAMS {
        fs::metadata(folder.join(program)).context("a program is missing")?;
    }
    Ok(folder)
}

/// Returns the compiler's flags. A program names the sources it was made from, in what it says when it panics: with their
/// folders named alike everywhere, every clone on every machine makes the same bytes.
fn flags(root: &Path) -> String {
    let mut flags = format!(
        "-C target-feature=+crt-static --remap-path-prefix={}=/nival",
        root.display()
    );
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    if let Some(cargo) = std::env::var_os("CARGO_HOME").map(PathBuf::from).or(home) {
        flags.push_str(&format!(" --remap-path-prefix={}=/cargo", cargo.display()));
    }
    flags
}
