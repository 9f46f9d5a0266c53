//! A Kubernetes node without Kubernetes: containerd, runc, CNI, the agent and the shim, and no Nix at all.

use std::net::SocketAddr;
use std::path::Path;

use fs_err as fs;
use serde_json::json;

use crate::{Failure, Kind, Machine, Service, World, poll, setup};

/// How the node is set up.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// The text of the agent's `[trust]` table and whatever else goes into `/etc/nival/agent.toml`.
    pub agent_configuration: String,
    /// Where a listener stands in for every registry.
    pub registry: Option<SocketAddr>,
    /// The runtime of pods that name none: `runc` or `nival`.
    pub default_runtime: &'static str,
    /// The addresses of the node's pods.
    pub pods: String,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            agent_configuration: String::new(),
            registry: None,
            default_runtime: "runc",
            pods: "10.88.0.0/16".to_owned(),
        }
    }
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    machine: Machine,
    containerd: Option<Service>,
    agent: Option<Service>,
}

/// The host's network is the world's: no pod leaves it.
fn network_configuration(pods: &str) -> String {
    let pods = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{
        "type": "bridge", "bridge": "pods0", "isGateway": true, "hairpinMode": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": pods}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }]});
    pods.to_string()
}

impl Node {
    /// Starts a node: containerd with its images, and the agent.
    ///
    /// # Errors
    /// Fails with what did not start and why.
    pub fn start(world: &World, name: &str, options: &NodeOptions) -> Result<Self, Failure> {
        Self::start_on(world.machine(Kind::Node, name)?, options)
    }

    /// Starts a node on a machine that is there.
    pub(crate) fn start_on(machine: Machine, options: &NodeOptions) -> Result<Self, Failure> {
        let mut node = Self {
            machine,
            containerd: None,
            agent: None,
        };
        node.write("/etc/nival/agent.toml", &options.agent_configuration)?;
        node.write(
            "/etc/containerd/config.toml",
            &containerd_configuration(options.default_runtime),
        )?;
        node.write(
            "/etc/cni/net.d/10-pods.conflist",
            &network_configuration(&options.pods),
        )?;
        node.write(
            "/etc/crictl.yaml",
            "runtime-endpoint: unix:///run/containerd/containerd.sock\ntimeout: 300\n",
        )?;
        if let Some(address) = options.registry {
            let hosts = format!("server = \"http://{address}\"\n[host.\"http://{address}\"]\n");
            node.write("/etc/containerd/certs.d/_default/hosts.toml", &hosts)?;
        }
        node.start_containerd()?;
        node.import_images(&setup::images())?;
        if setup::cluster_images().is_dir() {
            node.import_images(&setup::cluster_images())?;
        }
        node.start_agent()?;
        Ok(node)
    }

    /// Returns the machine.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Writes a file on the node.
    ///
    /// # Errors
    /// Fails when the node cannot take it.
    pub fn write(&self, path: &str, text: &str) -> Result<(), Failure> {
        self.machine.write(path, text)
    }

    /// Starts the agent and waits until its socket is there.
    ///
    /// # Errors
    /// Fails when it ends or does not listen.
    pub fn start_agent(&mut self) -> Result<(), Failure> {
        let mut agent = self
            .machine
            .service("nival-agent", "nival-agent", &["serve"])?;
        poll("the agent to listen", || {
            agent.check_alive()?;
            Ok(self.machine.shell("nival-agent status --json").ok())
        })?;
        self.agent = Some(agent);
        Ok(())
    }

    /// Kills the agent as `kill -9` does.
    ///
    /// # Errors
    /// Fails when it cannot be waited for.
    pub fn kill_agent(&mut self) -> Result<(), Failure> {
        self.agent.take().map_or(Ok(()), |mut agent| agent.kill())
    }

    /// Returns the agent's process, as the host numbers it.
    #[must_use]
    pub fn agent_process(&self) -> Option<u32> {
        self.machine.processes("nival-agent").first().copied()
    }

    /// Returns where the agent's and containerd's logs are.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        let path = self.machine.shared().join(format!("{name}.log"));
        fs::read_to_string(path).unwrap_or_default()
    }

    /// Kills containerd as `kill -9` does, and starts it again.
    ///
    /// # Errors
    /// Fails when it does not come back.
    pub fn restart_containerd(&mut self) -> Result<(), Failure> {
        if let Some(mut containerd) = self.containerd.take() {
            containerd.kill()?;
        }
        self.start_containerd()
    }

    fn start_containerd(&mut self) -> Result<(), Failure> {
        let mut containerd = self.machine.service("containerd", "containerd", &[])?;
        poll("containerd to be ready", || {
            containerd.check_alive()?;
            Ok(self
                .machine
                .shell("crictl info >/dev/null && ctr version >/dev/null")
                .ok())
        })?;
        self.containerd = Some(containerd);
        Ok(())
    }

    /// Imports every archive of a folder on the host as an image that is pinned.
    ///
    /// # Errors
    /// Fails when containerd does not take one.
    pub fn import_images(&self, folder: &Path) -> Result<(), Failure> {
        // The machine sees the host's file through its shared folder alone.
        for entry in fs::read_dir(folder)? {
            let archive = entry?.path();
            let staged = self.machine.shared().join("image.tar");
            fs::copy(&archive, &staged)?;
            let label = "io.cri-containerd.pinned=pinned";
            self.machine.shell(&format!(
                "ctr --namespace k8s.io images import --label {label} '{}' >/dev/null",
                staged.display()
            ))?;
            fs::remove_file(&staged)?;
        }
        Ok(())
    }

    /// Hides containerd's own shim, so that whatever runs on the node runs by Nival's.
    ///
    /// # Errors
    /// Fails when it is still found.
    pub(crate) fn remove_other_shims(&self) -> Result<(), Failure> {
        self.machine
            .shell(
                "mount --bind /dev/null \"$(command -v containerd-shim-runc-v2)\"; \
                 ! command -v containerd-shim-runc-v2",
            )
            .map(drop)
    }
}

fn containerd_configuration(default_runtime: &str) -> String {
    let runtime = "plugins.'io.containerd.cri.v1.runtime'";
    let images = "plugins.'io.containerd.cri.v1.images'";
    format!(
        r#"version = 3
[{images}]
snapshotter = "overlayfs"
[{images}.pinned_images]
sandbox = "nival.local/pause:1"
[{images}.registry]
config_path = "/etc/containerd/certs.d"
[{runtime}]
# Test machines often lack CAP_SYS_RESOURCE; real nodes do not.
restrict_oom_score_adj = true
[{runtime}.containerd]
default_runtime_name = "{default_runtime}"
[{runtime}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[{runtime}.containerd.runtimes.nival]
runtime_type = "io.containerd.runc.v2"
runtime_path = "{shim}"
pod_annotations = ["nival.dev/*", "*.nival.dev/*"]
container_annotations = ["nival.dev/*", "*.nival.dev/*"]
[{runtime}.cni]
bin_dirs = ["/opt/cni/bin"]
conf_dir = "/etc/cni/net.d"
"#,
        shim = Path::new("/opt/nival/containerd-shim-nival-v2").display()
    )
}
