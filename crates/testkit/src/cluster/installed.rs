//! Nival installed in a cluster as its users install it: images on the nodes, and the chart by Helm.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fs_err as fs;
use serde_json::{Value, json};

use super::Cluster;
use crate::{Failure, poll_within, programs, run, setup};

/// The release and its namespace.
pub const NAMESPACE: &str = "nival-system";
const RELEASE: &str = "nival";

/// How long the nodes may take until they are ready: images start, containerd is restarted.
const PATIENCE: Duration = Duration::from_secs(180);

/// What is installed, and how.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The chart's folder.
    pub chart: PathBuf,
    /// The folder with the images' archives.
    pub images: PathBuf,
    /// The chart's values.
    pub values: Value,
}

impl Default for Installation {
    fn default() -> Self {
        Self {
            chart: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/helm/nival"),
            images: programs::images(),
            values: json!({}),
        }
    }
}

/// A workload that admission refuses once it is there.
const ASKED: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: asked, namespace: default}
spec:
  selector: {matchLabels: {app: asked}}
  template:
    metadata: {labels: {app: asked}, annotations: {nival.dev/environment: nobody/nothing}}
    spec: {containers: [{name: main}]}
";

impl Cluster {
    /// Installs the chart with its images on all nodes, and waits until every node says that it is ready.
    ///
    /// # Errors
    /// Fails with what did not come up.
    pub fn install(&self, installation: &Installation) -> Result<(), Failure> {
        self.import_images(&installation.images)?;
        // For the agent, which mounts; everybody who installs Nival does it.
        self.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  \
             labels: {{pod-security.kubernetes.io/enforce: privileged}}\n"
        ))?;
        self.helm_with("install", installation)?;
        self.wait_until_installed()
    }

    /// Upgrades the release. The nodes have to have the images.
    ///
    /// # Errors
    /// Fails with what Helm said.
    pub fn upgrade(&self, installation: &Installation) -> Result<(), Failure> {
        self.helm_with("upgrade", installation)
    }

    fn helm_with(&self, verb: &str, installation: &Installation) -> Result<(), Failure> {
        let values =
            serde_json::to_string_pretty(&installation.values).map_err(std::io::Error::from)?;
        let values = self.control_plane().stage("values.json", &values)?;
        let chart = installation.chart.display().to_string();
        self.helm(&[verb, RELEASE, &chart, "--values", &values])
            .map(drop)
    }

    /// Runs Helm for the release's namespace, on this machine and in the cluster's network.
    ///
    /// # Errors
    /// Fails with what Helm said.
    pub fn helm(&self, arguments: &[&str]) -> Result<String, Failure> {
        let machine = self.control_plane();
        let kubeconfig = machine.stage("kubeconfig", self.kubeconfig())?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.network().display()))
            .arg(setup::helm())
            .args(arguments)
            .args(["--namespace", NAMESPACE])
            // Whoever tests may have repositories and plugins of their own.
            .env_clear()
            .env("HOME", machine.shared())
            .env("KUBECONFIG", kubeconfig);
        run(&mut command)
    }

    /// Waits until every node has the label that says that everything of Nival is in place, and admission answers.
    ///
    /// # Errors
    /// Fails with the state of the release's pods and their events.
    pub fn wait_until_installed(&self) -> Result<(), Failure> {
        let wanted = self.nodes().len();
        let selector = "--selector=nival.dev/node=ready";
        poll_within(PATIENCE, "every node to be ready for environments", || {
            let ready = self.kubectl(&["get", "nodes", selector, "-o", "name"]);
            let ready = ready.map_or(0, |names| names.lines().count());
            Ok((ready == wanted && self.is_admission_there()?).then_some(()))
        })
        .map_err(|failure| Failure::Text(format!("{failure}\n{}", self.state_of_release())))
    }

    /// Asks admission about a workload that nobody has, and tells whether it answered.
    fn is_admission_there(&self) -> Result<bool, Failure> {
        let machine = self.control_plane();
        let file = machine.stage("asked.yaml", ASKED)?;
        let asked = self.kubectl(&["create", "--dry-run=server", "-f", &file]);
        Ok(asked.is_err_and(|refusal| refusal.to_string().contains("denied the request")))
    }

    /// Returns what a person would look at when an installation does not come up.
    #[must_use]
    pub fn state_of_release(&self) -> String {
        let look = |arguments: &[&str]| {
            let mut all = vec!["--namespace", NAMESPACE];
            all.extend(arguments);
            self.kubectl(&all)
                .unwrap_or_else(|failure| failure.to_string())
        };
        [
            look(&["get", "pods", "-o", "wide"]),
            look(&["get", "nivalnodes", "-o", "wide"]),
            look(&["get", "events", "--sort-by=.lastTimestamp"]),
            look(&[
                "logs",
                "daemonset/nival-agent",
                "--all-containers",
                "--prefix",
                "--tail=15",
            ]),
            look(&[
                "logs",
                "deployment/nival-controller",
                "--prefix",
                "--tail=15",
            ]),
        ]
        .join("\n")
    }

    /// Makes the images of a folder known on all nodes, by their digests, too, as if they had been pulled.
    ///
    /// # Errors
    /// Fails when a node does not take one.
    pub fn import_images(&self, folder: &Path) -> Result<(), Failure> {
        let digests = digests(folder)?;
        for (_, node) in self.nodes() {
            node.import_images(folder)?;
            for (name, digest) in &digests {
                let repository = name.rsplit_once(':').map_or(&**name, |(first, _)| first);
                let tag = format!(
                    "{} images tag --force {name} {repository}@{digest} >/dev/null",
                    node.ctr()
                );
                node.machine().shell(&tag)?;
            }
        }
        Ok(())
    }
}

/// Returns the digests of the images in a folder, by their names.
///
/// # Errors
/// Fails before `cargo xtask images` has filled it.
pub fn digests(folder: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let text = fs::read(folder.join("images.json"))?;
    Ok(serde_json::from_slice(&text).map_err(std::io::Error::from)?)
}
