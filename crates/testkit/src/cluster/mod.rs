//! A real Kubernetes on one machine: a control plane, nodes with networks of their own, and a switch between them.

mod control_plane;
mod groups;
mod installed;
mod lan;
mod pki;
mod worker;

use std::path::{Path, PathBuf};
use std::thread;

use serde_json::Value;

use crate::{Failure, Kind, Line, Machine, Node, World, poll, retry, run};
use control_plane::ControlPlane;
use groups::ControlGroups;
pub(crate) use groups::sweep;
pub use installed::{Installation, NAMESPACE, digests};
pub use lan::ADDRESS;
use lan::Lan;
use pki::Pki;
use worker::Worker;

const DNS: &str = include_str!("dns.yaml");
const RUNC_CLASS: &str = include_str!("runc-class.yaml");
const NIVAL_CLASS: &str = include_str!("nival-class.yaml");

/// How a cluster is made.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Its nodes.
    pub nodes: Vec<ClusterNode>,
    /// The runtime of pods that name no class: `runc` or `nival`.
    pub default_runtime: &'static str,
    /// The port on the switch where a listener stands in for every registry.
    pub registry: Option<u16>,
    /// Whether the nodes are as a provider delivers them: Nival is then [installed](Cluster::install) by its chart.
    pub plain: bool,
}

/// How one node is made.
#[derive(Debug, Clone, Default)]
pub struct ClusterNode {
    /// What goes into its agent's configuration.
    pub agent: String,
    /// Another port than the hub's own where its agent reaches the hub.
    pub hub: Option<u16>,
    /// More lines of its kubelet's configuration.
    pub kubelet: String,
    /// A folder with more images.
    pub images: Option<PathBuf>,
    /// Whether Nival's shim is the only one on the node.
    pub only_nival: bool,
    /// Which line of containerd it runs.
    pub line: Line,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            nodes: vec![ClusterNode::default()],
            default_runtime: "runc",
            registry: None,
            plain: false,
        }
    }
}

/// A running cluster. Dropping it leaves nothing behind; what a crash leaves is for [`crate::sweep`].
#[derive(Debug)]
pub struct Cluster {
    workers: Vec<Worker>,
    control_plane: ControlPlane,
    /// The namespace that hub and control plane are in.
    network: PathBuf,
    // Emptied after everything that runs in them, and before the network goes.
    groups: ControlGroups,
    _lan: Lan,
}

impl Cluster {
    /// Starts a cluster in a world's network and waits until its nodes are ready.
    ///
    /// # Errors
    /// Fails with what did not start and why.
    pub fn start(world: &World, options: &ClusterOptions) -> Result<Self, Failure> {
        let nodes = u8::try_from(options.nodes.len())
            .map_err(|_| Failure::Text("a cluster has at most 255 nodes".to_owned()))?;
        let lan = Lan::new(world, nodes)?;
        let groups = ControlGroups::new(nodes)?;
        let pki = Pki::new(nodes)?;
        // On this thread, since a machine dies with the thread that made it.
        let kind = if options.plain {
            Kind::PlainNode
        } else {
            Kind::Node
        };
        let machines: Vec<Machine> = (1..=nodes)
            .map(|number| world.machine_in(lan.node(number), kind, &format!("node{number}")))
            .collect::<Result<_, _>>()?;
        let (control_plane, workers) = thread::scope(|scope| {
            // The nodes' containerds and images take as long as the API server.
            let prepared: Vec<_> = (1..=nodes)
                .zip(machines)
                .map(|(number, machine)| {
                    let (groups, pki) = (&groups, &pki);
                    scope.spawn(move || Worker::prepare(machine, groups, pki, number, options))
                })
                .collect();
            let control_plane = ControlPlane::start(world, &pki);
            let workers: Result<Vec<Worker>, Failure> = prepared
                .into_iter()
                .map(|one| {
                    one.join()
                        .map_err(|_panic| Failure::Text("preparing a node panicked".to_owned()))?
                })
                .collect();
            Ok::<_, Failure>((control_plane?, workers?))
        })?;
        let mut cluster = Self {
            workers,
            control_plane,
            network: world.network(),
            groups,
            _lan: lan,
        };
        cluster.apply(RUNC_CLASS)?;
        if !options.plain {
            cluster.apply(NIVAL_CLASS)?;
        }
        cluster.apply(DNS)?;
        for worker in &mut cluster.workers {
            worker.join()?;
        }
        cluster.wait_for_nodes()?;
        if !options.plain {
            cluster.label_nodes()?;
        }
        Ok(cluster)
    }

    fn wait_for_nodes(&mut self) -> Result<(), Failure> {
        let names: Vec<String> = self.workers.iter().map(Worker::name).collect();
        poll("the nodes to be ready", || {
            for worker in &mut self.workers {
                worker.check_alive()?;
            }
            let script = "{range .items[*]}{.metadata.name} {.status.conditions[?(@.type==\"Ready\")].status}\n{end}";
            let Ok(text) =
                self.control_plane
                    .kubectl(&["get", "nodes", "-o", &format!("jsonpath={script}")])
            else {
                return Ok(None);
            };
            let ready = |name: &String| text.lines().any(|line| line == format!("{name} True"));
            Ok(names.iter().all(ready).then_some(()))
        })?;
        // Made by the controllers, and no pod is admitted before.
        retry("the account of pods", || {
            let account = ["get", "serviceaccount", "default", "-n", "default"];
            self.control_plane.kubectl(&account)
        })?;
        self.workers.iter_mut().try_for_each(Worker::check_alive)?;
        Ok(())
    }

    /// Tells that everything of Nival is in place, as its own installer does where that has put it there.
    fn label_nodes(&self) -> Result<(), Failure> {
        for worker in &self.workers {
            self.kubectl(&["label", "node", &worker.name(), "nival.dev/node=ready"])?;
        }
        Ok(())
    }

    /// Runs `kubectl` as the cluster's administrator and returns what it printed.
    ///
    /// # Errors
    /// Fails with what `kubectl` said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, Failure> {
        self.control_plane.kubectl(arguments)
    }

    /// Returns `kubectl` as a command for the cluster's administrator.
    ///
    /// # Errors
    /// Fails when the control plane is gone.
    pub fn kubectl_command(&self) -> Result<std::process::Command, Failure> {
        self.control_plane.kubectl_command()
    }

    /// Runs `kubectl` and returns what it printed as JSON.
    ///
    /// # Errors
    /// Fails with what `kubectl` said, or when that is no JSON.
    pub fn kubectl_json(&self, arguments: &[&str]) -> Result<Value, Failure> {
        let text = run(self.kubectl_command()?.args(arguments).args(["-o", "json"]))?;
        Ok(serde_json::from_str(&text).map_err(std::io::Error::from)?)
    }

    /// Applies a manifest.
    ///
    /// # Errors
    /// Fails with the API server's own words when it is refused.
    pub fn apply(&self, manifest: &str) -> Result<(), Failure> {
        let machine = self.control_plane.machine();
        let file = machine.stage("manifest.yaml", manifest)?;
        // By the server, which keeps no second copy of it in an annotation.
        self.kubectl(&["apply", "--server-side", "-f", &file])
            .map(drop)
    }

    /// Applies definitions of resources, and waits until the API server takes such resources.
    ///
    /// # Errors
    /// Fails with the API server's own words when they are refused.
    pub fn define(&self, definitions: &str) -> Result<(), Failure> {
        self.apply(definitions)?;
        let wait = ["wait", "--for=condition=Established", "crd", "--all"];
        // Before a definition has any condition, `kubectl` fails at once.
        retry("the definitions to count", || self.kubectl(&wait)).map(drop)
    }

    /// Cuts a node's power, counted from one, and starts it again.
    ///
    /// # Errors
    /// Fails when it does not come back.
    pub fn reboot(&mut self, number: usize) -> Result<(), Failure> {
        let worker = number
            .checked_sub(1)
            .and_then(|index| self.workers.get_mut(index));
        worker
            .ok_or_else(|| Failure::Text(format!("there is no node {number}")))?
            .reboot(&self.groups)
    }

    /// Kills the API server as `kill -9` does; all else goes on.
    ///
    /// # Errors
    /// Fails when it cannot be waited for.
    pub fn kill_api_server(&mut self) -> Result<(), Failure> {
        self.control_plane.kill_api_server()
    }

    /// Starts the API server again and waits until it is ready.
    ///
    /// # Errors
    /// Fails when it does not come back.
    pub fn start_api_server(&mut self) -> Result<(), Failure> {
        self.control_plane.start_api_server()
    }

    /// Returns the machine of the control plane.
    #[must_use]
    pub fn control_plane(&self) -> &Machine {
        self.control_plane.machine()
    }

    /// Returns the network namespace that its administrator's tools are in.
    #[must_use]
    pub fn network(&self) -> &Path {
        &self.network
    }

    /// Returns the administrator's configuration of `kubectl`.
    #[must_use]
    pub fn kubeconfig(&self) -> &str {
        self.control_plane.kubeconfig()
    }

    /// Returns the nodes with their names.
    #[must_use]
    pub fn nodes(&self) -> Vec<(String, &Node)> {
        self.workers
            .iter()
            .map(|worker| (worker.name(), worker.node()))
            .collect()
    }

    /// Returns the first node.
    ///
    /// # Panics
    /// Where the cluster was made with none.
    #[must_use]
    pub fn node(&mut self) -> &mut Node {
        self.workers[0].node_mut()
    }
}
