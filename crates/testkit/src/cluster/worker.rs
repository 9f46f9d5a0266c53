//! A node of a cluster: a [`Node`] with a kubelet and a kube-proxy.

use super::ClusterOptions;
use super::groups::ControlGroups;
use super::lan::{ADDRESS, address, pods};
use super::pki::Pki;
use crate::{Containerd, Failure, Machine, Node, NodeOptions, Service, setup};

const FOLDER: &str = "/etc/kubernetes";
/// Ends what runs, undoes what was mounted since the start, and empties `/run`.
const POWER_CUT: &str = include_str!("power-cut.sh");

/// A node, once it has joined.
#[derive(Debug)]
pub(super) struct Worker {
    services: Vec<Service>,
    node: Node,
    number: u8,
}

impl Worker {
    /// Starts everything of the node that needs no API server.
    pub(super) fn prepare(
        machine: Machine,
        groups: &ControlGroups,
        pki: &Pki,
        number: u8,
        options: &ClusterOptions,
    ) -> Result<Self, Failure> {
        let wish = &options.nodes[usize::from(number) - 1];
        let own = format!("node{number}");
        machine.write(&format!("{FOLDER}/kubelet.conf"), &pki.client(&own))?;
        machine.write(
            &format!("{FOLDER}/kube-proxy.conf"),
            &pki.client("kube-proxy"),
        )?;
        machine.write(
            &format!("{FOLDER}/kubelet.yaml"),
            &kubelet(&groups.node(number), &wish.kubelet),
        )?;
        let containerd = if options.plain {
            Containerd::plain(wish.line)
        } else {
            Containerd {
                line: wish.line,
                ..Containerd::default()
            }
        };
        let registry = options.registry.map(|port| format!("{ADDRESS}:{port}"));
        let node = Node::start_on(
            machine,
            &NodeOptions {
                agent_configuration: wish.agent.clone(),
                registry: registry.and_then(|address| address.parse().ok()),
                default_runtime: options.default_runtime,
                pods: pods(number),
                containerd,
            },
        )?;
        if setup::cluster_images().is_dir() {
            node.import_images(&setup::cluster_images())?;
        }
        if let Some(images) = &wish.images {
            node.import_images(images)?;
        }
        if wish.only_nival {
            node.remove_other_shims()?;
        }
        Ok(Self {
            services: Vec::new(),
            node,
            number,
        })
    }

    /// Starts the kubelet and the proxy.
    pub(super) fn join(&mut self) -> Result<(), Failure> {
        let name = format!("--hostname-override={}", self.name());
        let kubelet = [
            format!("--config={FOLDER}/kubelet.yaml"),
            format!("--kubeconfig={FOLDER}/kubelet.conf"),
            format!("--node-ip={}", address(self.number)),
            name.clone(),
        ];
        let proxy = [
            format!("--kubeconfig={FOLDER}/kube-proxy.conf"),
            name,
            "--proxy-mode=nftables".to_owned(),
            "--cluster-cidr=10.88.0.0/16".to_owned(),
            // The kernel's limits are the host's, which a machine may not change.
            "--conntrack-max-per-core=0".to_owned(),
            "--conntrack-tcp-timeout-established=0".to_owned(),
            "--conntrack-tcp-timeout-close-wait=0".to_owned(),
        ];
        self.run("kubelet", &kubelet)?;
        self.run("kube-proxy", &proxy)
    }

    fn run(&mut self, program: &str, arguments: &[String]) -> Result<(), Failure> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let service = self.node.machine().service(program, program, &arguments)?;
        self.services.push(service);
        Ok(())
    }

    /// Cuts the node's power and starts it again: every process ends at once, and what was in memory alone is gone.
    pub(super) fn reboot(&mut self, groups: &ControlGroups) -> Result<(), Failure> {
        for service in &mut self.services {
            service.kill()?;
        }
        self.services.clear();
        self.node.kill_containerd()?;
        self.node.machine().shell(POWER_CUT)?;
        groups.empty(self.number)?;
        self.node.start_containerd()?;
        self.join()
    }

    pub(super) fn check_alive(&mut self) -> Result<(), Failure> {
        self.services.iter_mut().try_for_each(Service::check_alive)
    }

    pub(super) fn name(&self) -> String {
        format!("node{}", self.number)
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    pub(super) fn node_mut(&mut self) -> &mut Node {
        &mut self.node
    }
}

fn kubelet(group: &str, more: &str) -> String {
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
cgroupDriver: cgroupfs
cgroupRoot: {group}
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDNS: [\"10.96.0.10\"]
clusterDomain: cluster.local
resolvConf: /dev/null
evictionHard: {{memory.available: \"50Mi\", nodefs.available: \"1%\", imagefs.available: \"1%\"}}
{more}"
    )
}
