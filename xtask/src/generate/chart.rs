//! What the chart is made of beside its templates, and the plain manifests that are made of the chart.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use fs_err as fs;

/// The chart.
const CHART: &str = "deploy/helm/nival";

/// The policy that stands beside the chart, for those who want nothing else, and is in it, too.
const POLICY: &str = "deploy/policies/container-names.yaml";

/// The namespace that the plain manifests install into.
const NAMESPACE: &str = "nival-system";

/// Each plain manifest with the arguments of `helm template` that make it.
const MANIFESTS: &[(&str, &str, &[&str])] = &[
    (
        "deploy/manifests/nival.yaml",
        "Nival with the chart's defaults, for clusters without Helm: trusted keys go into the ConfigMap `nival`.",
        &["--no-hooks", "--set=namespace.create=true"],
    ),
    (
        "deploy/manifests/uninstall.yaml",
        "Takes Nival off the nodes: apply it and wait for its end before you delete what nival.yaml made.",
        &["--show-only=templates/uninstall.yaml"],
    ),
];

/// Returns the files with what has to be in them.
pub(super) fn documents(root: &Path, programs: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut command = Command::new(programs.join("nival-operator"));
    let definitions = host::process::run(command.arg("crds"))?;
    let definitions = String::from_utf8(definitions.stdout).context("the definitions are UTF-8")?;
    let policy = fs::read_to_string(root.join(POLICY))?;
    let files = [
        ("files/crds.yaml", definitions),
        ("files/container-names.yaml", policy),
    ];
    // From a copy that has them already: what is committed may be older.
    let scratch = tempfile::tempdir()?;
    copy(&root.join(CHART), scratch.path())?;
    for (name, text) in &files {
        host::fs::write_atomic(&scratch.path().join(name), text.as_bytes())?;
    }
    let mut documents: Vec<(PathBuf, String)> = files
        .into_iter()
        .map(|(name, text)| (root.join(CHART).join(name), text))
        .collect();
    for (path, purpose, arguments) in MANIFESTS {
        let manifest = template(scratch.path(), arguments)?;
        let text = format!(
            "# {purpose}\n# Made from {CHART} by `cargo xtask gen`; do not edit.\n{manifest}"
        );
        documents.push((root.join(path), text));
    }
    Ok(documents)
}

fn template(chart: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(testkit::setup::helm());
    command
        .args(["template", "nival"])
        .arg(chart)
        .args(["--namespace", NAMESPACE])
        .args(arguments)
        // Whoever makes it may have repositories and plugins of their own.
        .env_clear()
        .env("HOME", chart);
    let output = host::process::run(&mut command)
        .context("rendering the chart needs helm: run `cargo xtask setup` first")?;
    String::from_utf8(output.stdout).context("manifests are UTF-8")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
