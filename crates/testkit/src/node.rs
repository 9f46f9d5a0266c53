//! A Kubernetes node without Kubernetes: containerd, runc, CNI, the agent and the shim, and no Nix at all.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fs_err as fs;
use serde_json::json;

use crate::containerd::lend;
use crate::{Containerd, Failure, Kind, Machine, Service, World, poll, services, setup};

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
    /// Which containerd it runs, with which runtime handlers.
    pub containerd: Containerd,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            agent_configuration: String::new(),
            registry: None,
            default_runtime: "runc",
            pods: "10.88.0.0/16".to_owned(),
            containerd: Containerd::default(),
        }
    }
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    machine: Machine,
    /// The folder with containerd's own programs, as the node sees it.
    programs: PathBuf,
    containerd: Mutex<Option<Service>>,
    agent: Mutex<Option<Service>>,
}

/// The host's network is the world's: no pod leaves it.
fn network_configuration(pods: &str) -> String {
    let pods = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{
        "type": "bridge", "bridge": "pods0", "isGateway": true, "hairpinMode": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": pods}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }]});
    pods.to_string()
}

/// What tells the CRI, and so the kubelet, that an image is never to be collected.
const PINNED: &str = "io.cri-containerd.pinned=pinned";

impl Node {
    /// Starts a node: containerd with its images, and the agent.
    ///
    /// # Errors
    /// Fails with what did not start and why.
    pub fn start(world: &World, name: &str, options: &NodeOptions) -> Result<Self, Failure> {
        Self::start_on(world.machine(Kind::Node, name)?, options)
    }

    /// Starts a node with nothing of Nival on it, as a provider sets it up.
    ///
    /// # Errors
    /// Fails with what did not start and why.
    pub fn start_plain(world: &World, name: &str, options: &NodeOptions) -> Result<Self, Failure> {
        Self::start_on(world.machine(Kind::PlainNode, name)?, options)
    }

    /// Starts a node on a machine that is there.
    pub(crate) fn start_on(machine: Machine, options: &NodeOptions) -> Result<Self, Failure> {
        let programs = options.containerd.line.place(&machine.shared())?;
        let node = Self {
            machine,
            programs,
            containerd: Mutex::default(),
            agent: Mutex::default(),
        };
        if !node.is_plain() {
            node.write("/etc/nival/agent.toml", &options.agent_configuration)?;
        }
        let configuration = options
            .containerd
            .configuration(&node.programs, options.default_runtime);
        node.write("/etc/containerd/config.toml", &configuration)?;
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
        if node.is_plain() {
            // The placeholder comes with Nival.
            for name in ["pause", "busybox"] {
                node.import_image(&setup::images().join(format!("{name}.tar")))?;
            }
            node.pin_images()?;
        } else {
            node.import_images(&setup::images())?;
            node.start_agent()?;
        }
        Ok(node)
    }

    /// Tells whether nothing of Nival was put on it.
    fn is_plain(&self) -> bool {
        self.machine.kind() == Kind::PlainNode
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

    /// Copies a folder of the set-up, which the node does not see, to `/opt/<name>`.
    ///
    /// # Errors
    /// Fails when the node cannot take it.
    pub fn bring(&self, source: &Path, name: &str) -> Result<(), Failure> {
        let staged = self.machine.shared().join(name);
        lend(source, &staged)?;
        let script = format!("cp -a '{}' /opt/", staged.display());
        self.machine.shell(&script).map(drop)
    }

    /// Starts the agent and waits until its socket is there.
    ///
    /// # Errors
    /// Fails when it ends or does not listen.
    pub fn start_agent(&self) -> Result<(), Failure> {
        let mut agent = self
            .machine
            .service("nival-agent", "nival-agent", &["serve"])?;
        poll("the agent to listen", || {
            agent.check_alive()?;
            Ok(self.machine.shell("nival-agent status --json").ok())
        })?;
        *held(&self.agent) = Some(agent);
        Ok(())
    }

    /// Kills the agent as `kill -9` does.
    ///
    /// # Errors
    /// Fails when it cannot be waited for.
    pub fn kill_agent(&self) -> Result<(), Failure> {
        held(&self.agent)
            .take()
            .map_or(Ok(()), |mut agent| agent.kill())
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
    pub fn restart_containerd(&self) -> Result<(), Failure> {
        self.kill_containerd()?;
        self.start_containerd()
    }

    /// Starts containerd and waits until it answers.
    ///
    /// # Errors
    /// Fails when it ends or does not answer.
    pub fn start_containerd(&self) -> Result<(), Failure> {
        let program = self.programs.join("containerd").display().to_string();
        let question = format!(
            "crictl info >/dev/null && {} version >/dev/null",
            self.ctr()
        );
        let mut containerd = if self.is_plain() {
            let script = services::SUPERVISOR;
            let words = ["-c", script, "supervisor", &program, "sh", "-c", &question];
            self.machine.service("containerd", "sh", &words)?
        } else {
            self.machine.service("containerd", &program, &[])?
        };
        poll("containerd to be ready", || {
            containerd.check_alive()?;
            Ok(self.machine.shell(&question).ok())
        })?;
        *held(&self.containerd) = Some(containerd);
        Ok(())
    }

    /// Kills containerd as `kill -9` does; its shims are not asked.
    ///
    /// # Errors
    /// Fails when it cannot be waited for.
    pub fn kill_containerd(&self) -> Result<(), Failure> {
        let containerd = held(&self.containerd).take();
        containerd.map_or(Ok(()), |mut containerd| containerd.kill())
    }

    /// Returns containerd's own command line, of the daemon's version.
    #[must_use]
    pub fn ctr(&self) -> String {
        format!("{} --namespace k8s.io", self.programs.join("ctr").display())
    }

    /// Imports every archive of a folder on the host as an image that is pinned.
    ///
    /// # Errors
    /// Fails when containerd does not take one.
    pub fn import_images(&self, folder: &Path) -> Result<(), Failure> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "tar") {
                self.import_image(&path)?;
            }
        }
        self.pin_images()
    }

    /// Imports one archive of the host.
    ///
    /// # Errors
    /// Fails when containerd does not take it.
    pub fn import_image(&self, archive: &Path) -> Result<(), Failure> {
        // The machine sees the host's file through its shared folder alone.
        let staged = self.machine.shared().join("image.tar");
        fs::copy(archive, &staged)?;
        let (ctr, staged_at) = (self.ctr(), staged.display());
        self.machine
            .shell(&format!("{ctr} images import '{staged_at}' >/dev/null"))?;
        Ok(fs::remove_file(&staged)?)
    }

    fn pin_images(&self) -> Result<(), Failure> {
        // A step of its own, because the import of 1.7 gives no label.
        let pin = format!(
            "for image in $({ctr} images ls -q); do {ctr} images label \"$image\" {PINNED} >/dev/null; done",
            ctr = self.ctr()
        );
        self.machine.shell(&pin).map(drop)
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

/// A test that failed while it held a service has left it as it was.
fn held(service: &Mutex<Option<Service>>) -> MutexGuard<'_, Option<Service>> {
    service.lock().unwrap_or_else(PoisonError::into_inner)
}
