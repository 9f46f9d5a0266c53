//! Builds the four programs as they ship: one static binary each, so that they run on any node.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use fs_err as fs;

/// What programs are built for.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Packages in the order they are built. The shim goes alone: built beside the others it would take over the
/// features that they switch on in the crates they share, and grow.
const BUILDS: &[&[&str]] = &[&["shim"], &["agent", "cli", "hub"]];

/// The programs' names.
pub(crate) const PROGRAMS: &[&str] = &[
    "containerd-shim-nival-v2",
    "nival",
    "nival-agent",
    "nival-hub",
];

/// Builds all programs and returns the folder that they are in.
pub(crate) fn programs(root: &Path) -> Result<PathBuf> {
    for packages in BUILDS {
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["build", "--release", "--locked", "--target", TARGET])
            .current_dir(root);
        packages.iter().for_each(|package| {
            command.args(["--package", package]);
        });
        command.env("RUSTFLAGS", "-C target-feature=+crt-static");
        // The programs have their own folder, so that checks and tests built with other flags do not undo it.
        command.env("CARGO_TARGET_DIR", root.join("target/static"));
        let status = command.status().context("starting cargo")?;
        if !status.success() {
            bail!("building {} failed with {status}", packages.join(", "));
        }
    }
    let built = root.join("target/static").join(TARGET).join("release");
    for program in PROGRAMS {
        let path = built.join(program);
        fs::metadata(&path).context("a program is missing after the build")?;
    }
    Ok(built)
}
