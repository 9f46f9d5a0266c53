//! Fails when the shim outgrows what was decided: it runs once per pod, so its size is multiplied by every pod.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use fs_err as fs;

use crate::{build, say};

/// The stripped static program. Raise it only with a reason in the same commit.
const LARGEST_SHIM_BYTES: u64 = 4 << 20;

/// Crates that the shim links, itself included.
const MOST_SHIM_CRATES: usize = 180;

/// Checks the shim that `cargo xtask build` made.
pub(crate) fn check(root: &Path) -> Result<()> {
    let shim = root
        .join("target/static")
        .join(build::TARGET)
        .join("release/containerd-shim-nival-v2");
    let bytes = fs::metadata(&shim)
        .context("build the programs first: cargo xtask build")?
        .len();
    let crates = crates_of_shim(root)?;
    say(&format!(
        "shim: {bytes} bytes (budget {LARGEST_SHIM_BYTES}), {crates} crates (budget {MOST_SHIM_CRATES})"
    ));
    if bytes > LARGEST_SHIM_BYTES {
        bail!("the shim has {bytes} bytes; its budget is {LARGEST_SHIM_BYTES}");
    }
    if crates > MOST_SHIM_CRATES {
        bail!("the shim links {crates} crates; its budget is {MOST_SHIM_CRATES}");
    }
    Ok(())
}

fn crates_of_shim(root: &Path) -> Result<usize> {
    let mut command = Command::new(env!("CARGO"));
    command.args([
        "tree",
        "--package",
        "shim",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--locked",
    ]);
    let output = host::process::run(command.args(["--target", build::TARGET]).current_dir(root))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text
        .lines()
        .filter_map(|line| line.strip_suffix(" (*)").or(Some(line)));
    Ok(names
        .filter(|line| !line.is_empty())
        .collect::<std::collections::BTreeSet<_>>()
        .len())
}
