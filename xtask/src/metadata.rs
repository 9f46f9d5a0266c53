//! What cargo knows of the workspace.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// One package.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) description: Option<String>,
}

/// One dependency of a package, as its Cargo.toml writes it.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Option<String>,
    pub(crate) path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// Returns the workspace's own packages.
pub(crate) fn packages(root: &Path) -> Result<Vec<Package>> {
    read(root, &["--no-deps"])
}

/// Returns every package that the lock file names for this platform.
pub(crate) fn all_packages(root: &Path) -> Result<Vec<Package>> {
    read(
        root,
        &["--locked", "--filter-platform", crate::build::TARGET],
    )
}

fn read(root: &Path, more: &[&str]) -> Result<Vec<Package>> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["metadata", "--format-version=1"])
        .args(more)
        .current_dir(root);
    let output = host::process::run(&mut command)?;
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
    Ok(metadata.packages)
}
