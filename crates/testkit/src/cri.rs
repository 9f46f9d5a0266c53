//! Pods through the container runtime interface, with `crictl`, as the kubelet would ask for them.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use fs_err as fs;
use serde_json::{Value, json};

use crate::{Failure, Node, retry, run};

/// The image of pods whose programs come from an environment.
pub const PLACEHOLDER: &str = "nival.dev/placeholder:v1";

/// An ordinary image, with a shell.
pub const BUSYBOX: &str = "nival.local/busybox:1";

/// What is asked for as a pod.
#[derive(Debug, Clone)]
pub struct PodSpec {
    /// Its name; one and the same name may be used again after the pod is gone.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The runtime handler, `nival`, `runc` or another that the node was given.
    pub handler: &'static str,
    /// The control group that its own lies in, as the kubelet says it; empty leaves that to containerd.
    pub cgroup_parent: String,
}

/// A running sandbox.
#[derive(Debug)]
pub struct Pod<'node> {
    node: &'node Node,
    /// Its identifier.
    pub id: String,
    spec: PodSpec,
    config: String,
}

static COUNTER: AtomicU64 = AtomicU64::new(0);

impl PodSpec {
    /// Returns a pod for the handler `nival` with one annotation that names its environment.
    #[must_use]
    pub fn with_environment(name: &str, reference: &str) -> Self {
        Self::plain(name, "nival").annotated("nival.dev/environment", reference)
    }

    /// Returns a pod with no annotations.
    #[must_use]
    pub fn plain(name: &str, handler: &'static str) -> Self {
        let (name, namespace) = (name.to_owned(), "default".to_owned());
        Self {
            name,
            namespace,
            annotations: BTreeMap::new(),
            handler,
            cgroup_parent: String::new(),
        }
    }

    /// Returns it with one more annotation.
    #[must_use]
    pub fn annotated(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Returns it in another namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// Returns it for another runtime handler.
    #[must_use]
    pub fn handled_by(mut self, handler: &'static str) -> Self {
        self.handler = handler;
        self
    }

    /// Returns it below a control group.
    #[must_use]
    pub fn below(mut self, cgroup_parent: &str) -> Self {
        cgroup_parent.clone_into(&mut self.cgroup_parent);
        self
    }

    fn config(&self, uid: u64) -> Value {
        json!({
            "metadata": {"name": self.name, "namespace": self.namespace, "uid": format!("uid-{uid}"), "attempt": 0},
            "annotations": self.annotations,
            "log_directory": format!("/var/log/pods/{}-{uid}", self.name),
            "linux": {"cgroup_parent": self.cgroup_parent},
        })
    }
}

impl Node {
    /// Runs `crictl` with these arguments and returns what it printed.
    ///
    /// # Errors
    /// Fails with the CRI's own error text.
    pub fn crictl(&self, arguments: &[&str]) -> Result<String, Failure> {
        run(self.crictl_command()?.args(arguments))
    }

    /// Returns `crictl` as a command on the node.
    ///
    /// # Errors
    /// Fails when the node is gone.
    pub fn crictl_command(&self) -> Result<Command, Failure> {
        self.machine().command("crictl")
    }

    /// Makes a pod's sandbox.
    ///
    /// # Errors
    /// Fails with the CRI's error when the runtime refuses.
    pub fn run_pod(&self, spec: &PodSpec) -> Result<Pod<'_>, Failure> {
        let uid = COUNTER.fetch_add(1, Ordering::Relaxed);
        let config = self.stage(&format!("pod-{uid}.json"), &spec.config(uid))?;
        let id = self.crictl(&[
            "runp",
            "--cancel-timeout",
            "300s",
            "--runtime",
            spec.handler,
            &config,
        ])?;
        Ok(Pod {
            node: self,
            id: id.trim().to_owned(),
            spec: spec.clone(),
            config,
        })
    }

    fn stage(&self, name: &str, value: &Value) -> Result<String, Failure> {
        let path = self.machine().shared().join(name);
        fs::write(
            &path,
            serde_json::to_vec_pretty(value).map_err(std::io::Error::from)?,
        )?;
        Ok(path.display().to_string())
    }
}

impl Pod<'_> {
    /// Makes and starts a container that runs a command.
    ///
    /// # Errors
    /// Fails with the CRI's error when the runtime refuses.
    pub fn container(&self, name: &str, image: &str, command: &[&str]) -> Result<String, Failure> {
        self.container_with(name, image, command, &json!({}))
    }

    /// Like [`Pod::container`], with more fields of the CRI's `ContainerConfig`.
    ///
    /// # Errors
    /// As [`Pod::container`].
    pub fn container_with(
        &self,
        name: &str,
        image: &str,
        command: &[&str],
        more: &Value,
    ) -> Result<String, Failure> {
        let id = self.create(name, image, command, more)?;
        self.node.crictl(&["start", &id])?;
        Ok(id)
    }

    fn create(
        &self,
        name: &str,
        image: &str,
        command: &[&str],
        more: &Value,
    ) -> Result<String, Failure> {
        let mut config = json!({
            "metadata": {"name": name, "attempt": 0},
            "image": {"image": image},
            "command": command,
            "log_path": format!("{name}.log"),
            "annotations": self.spec.annotations,
            "linux": {},
        });
        let fields = more.as_object().into_iter().flatten();
        fields.for_each(|(key, value)| config[key] = value.clone());
        let path = self
            .node
            .stage(&format!("container-{}-{name}.json", self.id), &config)?;
        let id = self
            .node
            .crictl(&["create", &self.id, &path, &self.config])?;
        Ok(id.trim().to_owned())
    }

    /// Runs a command in a container to its end and returns its exit code and what it wrote.
    ///
    /// # Errors
    /// Fails when it does not start, or does not end in time.
    pub fn run_to_end(
        &self,
        name: &str,
        image: &str,
        command: &[&str],
    ) -> Result<(i64, String), Failure> {
        let id = self.container(name, image, command)?;
        let code = self.wait(&id)?;
        Ok((code, self.node.crictl(&["logs", &id])?))
    }

    /// Waits for a container's end and returns its exit code.
    ///
    /// # Errors
    /// Fails when it goes on for too long.
    pub fn wait(&self, container: &str) -> Result<i64, Failure> {
        retry("the container to end", || {
            // A containerd that is being restarted answers a moment later.
            let status = self.status(container)?;
            if status["state"] != "CONTAINER_EXITED" {
                return Err(Failure::Text(format!("it is {}", status["state"])));
            }
            Ok(status["exitCode"].as_i64().unwrap_or(0))
        })
    }

    /// Returns what the CRI says of a container.
    ///
    /// # Errors
    /// Fails when the runtime does not know it.
    pub fn status(&self, container: &str) -> Result<Value, Failure> {
        Ok(self.inspect(container)?["status"].clone())
    }

    /// Returns the number of a running container's first process on the node.
    ///
    /// # Errors
    /// Fails when the runtime does not know it.
    pub fn process(&self, container: &str) -> Result<u64, Failure> {
        let process = self.inspect(container)?["info"]["pid"].as_u64();
        process.ok_or_else(|| Failure::Text(format!("{container} has no process")))
    }

    fn inspect(&self, container: &str) -> Result<Value, Failure> {
        let text = self.node.crictl(&["inspect", container])?;
        Ok(serde_json::from_str(&text).map_err(std::io::Error::from)?)
    }

    /// Runs a command in a running container on a terminal, and returns what the terminal showed.
    ///
    /// # Errors
    /// Fails when it fails.
    pub fn exec_on_terminal(&self, container: &str, command: &str) -> Result<String, Failure> {
        // `script` is the terminal that crictl wants to have itself.
        let line = format!("crictl exec --interactive --tty {container} {command}");
        let mut script = self.node.machine().command("script")?;
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        run(script.stdin(std::process::Stdio::null()))
    }

    /// Runs a command in a running container and returns what it wrote to standard output.
    ///
    /// # Errors
    /// Fails when it fails.
    pub fn exec(&self, container: &str, command: &[&str]) -> Result<String, Failure> {
        run(self
            .node
            .crictl_command()?
            .args(["exec", container])
            .args(command))
    }

    /// Stops and removes the pod.
    ///
    /// # Errors
    /// Fails when something of it stays.
    pub fn remove(self) -> Result<(), Failure> {
        self.node.crictl(&["stopp", &self.id])?;
        self.node.crictl(&["rmp", &self.id]).map(drop)
    }
}
