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
        &["--no-hooks"],
    ),
    (
        "deploy/manifests/namespace.yaml",
        "The namespace of Nival, with the label that lets the agent's pods in. It stays when nival.yaml is deleted: with it would go the hub's volume.",
        &[
            "--show-only=templates/namespace.yaml",
            "--set=namespace.create=true",
        ],
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

#[cfg(test)]
mod tests {
    use api::node::{ConfigFile, CredentialSource};
    use serde_json::Value;

    use super::*;

    const EVERYTHING: &str = "ci/everything-values.yaml";

    fn chart() -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        root.join(CHART)
    }

    fn values() -> String {
        format!("--values={}", chart().join(EVERYTHING).display())
    }

    /// Returns the nodes' configuration as it is rendered.
    fn configuration(arguments: &[&str]) -> ConfigFile {
        let only = ["--show-only=templates/config.yaml"];
        let text = template(&chart(), &[&only[..], arguments].concat()).unwrap();
        let map: Value = serde_saphyr::from_str(&text).unwrap();
        toml::from_str(map["data"]["agent.toml"].as_str().unwrap()).unwrap()
    }

    #[test]
    fn every_value_reaches_the_nodes_configuration() {
        testkit::require!(setup);
        let all = configuration(&[&values()]);
        assert_eq!(all.hub.as_deref(), Some("https://hub.example.com"));
        assert_eq!(all.keep_generations, Some(5));
        assert_eq!(all.keep.len(), 1);
        assert_eq!(all.collect.high, Some(90));
        assert_eq!(all.collect.low, Some(70));
        assert_eq!(all.revocations.every_seconds, Some(30));
        assert_eq!(all.revocations.max_age_seconds, Some(86400));
        assert_eq!(all.substituters.len(), 2);
        assert!(all.substituters[0].before_hub);
        assert_eq!(all.trusted().unwrap().iter().count(), 1);
        assert_eq!(all.policy().unwrap().rules.len(), 2);
        let secret = CredentialSource::Secret {
            namespace: "team-a".to_owned(),
            name: "nival-token".to_owned(),
        };
        assert_eq!(all.credentials().unwrap()["acme"], secret);
        let defaults = configuration(&[]);
        assert_eq!(defaults.revocations.max_age_seconds, None);
        let hub = "http://nival-hub.nival-system.svc.cluster.local:7878";
        assert_eq!(defaults.hub.as_deref(), Some(hub));
    }

    #[test]
    fn values_are_judged_before_anything_is_installed() {
        testkit::require!(setup);
        let refused = |arguments: &[&str], words: &str| {
            let refusal = format!("{:#}", template(&chart(), arguments).unwrap_err());
            assert!(refusal.contains(words), "{arguments:?}: {refusal}");
        };
        refused(&["--set=controler.replicas=3"], "controler");
        refused(&["--set=image.agent.digest=latest"], "/image/agent/digest");
        refused(
            &["--set=hub.enabled=false"],
            "nobody knows where the hub is",
        );
        refused(
            &["--set=config.credentials.a.secret=token"],
            "/config/credentials/a",
        );
        refused(&["--set=config.collect.high=75"], "(80) must be below");
        refused(
            &["--set=config.revocations.maxAgeSeconds=100"],
            "at least twice",
        );
        let rule = "config.allow[0].credential=b,config.allow[0].namespaces={a},config.allow[0].environments={a/b}";
        refused(&["--set", rule], "names the credential \"b\"");
        refused(&["--kube-version=1.29.0"], "1.29.0");
        for more in [&[][..], &[values()][..]] {
            let mut lint = Command::new(testkit::setup::helm());
            lint.args(["lint", "--strict"]).arg(chart()).args(more);
            host::process::run(&mut lint).unwrap();
        }
    }
}
