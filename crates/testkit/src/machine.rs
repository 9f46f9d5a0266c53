//! Test machines: laptop, node and server, each in namespaces of its own, joined by one loopback network.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fs_err as fs;

use crate::holder::{Holder, hold};
use crate::network::Network;
use crate::process::{Held, children_of, parent_of};
use crate::sweep::Owner;
use crate::{Failure, Registry, programs, run, services, setup};

/// Where worlds have their folders: it is not emptied at a restart, and not kept in memory.
pub(crate) const WORLDS: &str = "/var/tmp";
/// How their names begin.
pub(crate) const PREFIX: &str = "nvl";

/// Builds a machine's root; it says `ready` when that is done and then lives until it is killed.
const SCRIPT: &str = include_str!("machine.sh");

/// What a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A developer's machine: Nix with an empty store of its own, and the test packages' cache as its substituter.
    Laptop,
    /// A cluster's node: containerd and runc, and neither a `/nix` nor a `nix` program.
    Node,
    /// The same as its provider delivers it: without anything of Nival, and with a stand-in for systemd that restarts
    /// its containerd.
    PlainNode,
    /// A plain machine, for the hub.
    Server,
}

/// A network of machines, with nothing but a loopback interface, and the folder that they all live in.
#[derive(Debug)]
pub struct World {
    folder: tempfile::TempDir,
    network: Network,
}

/// A running machine. Dropping it kills every process on it; its mounts go with them.
#[derive(Debug)]
pub struct Machine {
    kind: Kind,
    folder: PathBuf,
    holder: Holder,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Laptop => "laptop",
            Self::Node => "node",
            Self::PlainNode => "plain-node",
            Self::Server => "server",
        })
    }
}

impl World {
    /// Makes an empty world. It needs root.
    ///
    /// # Errors
    /// Fails where namespaces cannot be made.
    pub fn new() -> Result<Self, Failure> {
        // A short path: sockets below it must stay under 108 bytes.
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(WORLDS)?;
        Owner::this_process()?.mark(folder.path())?;
        let network = Network::new()?;
        Ok(Self { folder, network })
    }

    /// Returns the world's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the world's network namespace.
    #[must_use]
    pub fn network(&self) -> PathBuf {
        self.network.path()
    }

    /// Returns the network that all machines are in that have none of their own.
    pub(crate) fn own_network(&self) -> &Network {
        &self.network
    }

    /// Gets a page inside the world's network and returns status and body.
    ///
    /// # Errors
    /// Fails when nobody answers.
    pub fn get(&self, address: &str, path: &str) -> Result<(u16, String), Failure> {
        crate::network::get(&self.network(), address, path)
    }

    /// Starts a listener that stands in for every image registry.
    ///
    /// # Errors
    /// Fails when it cannot listen.
    pub fn registry(&self) -> Result<Registry, Failure> {
        Registry::start(&self.network())
    }

    /// Keeps the folder for a person to look at, and returns it.
    #[must_use]
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    /// Starts a machine.
    ///
    /// # Errors
    /// Fails when its root cannot be built, with what the script said.
    pub fn machine(&self, kind: Kind, name: &str) -> Result<Machine, Failure> {
        self.machine_in(&self.network, kind, name)
    }

    /// Starts a machine with a network of its own.
    pub(crate) fn machine_in(
        &self,
        network: &Network,
        kind: Kind,
        name: &str,
    ) -> Result<Machine, Failure> {
        let folder = self.folder().join(name);
        fs::create_dir_all(&folder)?;
        fs::create_dir_all(folder.join("nix"))?;
        let mut command = network.enter();
        command.args([
            "unshare",
            "--mount",
            "--propagation=private",
            "--pid",
            "--fork",
        ]);
        command.args(["--kill-child=SIGKILL", "sh", "-c", SCRIPT, "machine"]);
        command
            .arg(kind.to_string())
            .arg(&folder)
            .arg(setup::dir())
            .arg(programs::dir())
            .arg(services::STAND_IN);
        let holder = hold(&command)?;
        Ok(Machine {
            kind,
            folder,
            holder,
        })
    }
}

impl Machine {
    /// Returns what it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the folder that has the same path on the machine and on the host.
    #[must_use]
    pub fn shared(&self) -> PathBuf {
        self.folder.join("shared")
    }

    /// Returns where the host sees a path of the machine's `/var/lib` or `/root`.
    #[must_use]
    pub fn on_host(&self, path: &str) -> Option<PathBuf> {
        let below = |prefix: &str, folder: &str| {
            path.strip_prefix(prefix)
                .map(|rest| self.folder.join(folder).join(rest))
        };
        below("/var/lib/", "var").or_else(|| below("/root/", "home"))
    }

    /// Returns a command that runs on this machine, with a clean environment.
    ///
    /// # Errors
    /// Fails when the machine is gone.
    pub fn command(&self, program: &str) -> Result<Command, Failure> {
        let inside = self.holder.inside()?;
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &inside.to_string(),
            "--mount",
            "--pid",
            "--net",
            "--root",
            "--wdns=/root",
        ]);
        command
            .arg("--")
            .arg("env")
            .arg("-i")
            .args(self.environment())
            .arg(program);
        Ok(command)
    }

    fn environment(&self) -> Vec<String> {
        let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let network = setup::dir().join("network/usr").display().to_string();
        let cluster = format!("/opt/kubernetes/bin:{network}/bin:{network}/sbin");
        let path = match self.kind {
            Kind::Laptop => format!("/opt/nival:{}:{system}", setup::dir().join("bin").display()),
            Kind::Node => format!("/opt/nival:/opt/node/bin:{system}:{cluster}"),
            Kind::PlainNode => format!("/opt/node/bin:{system}:{cluster}"),
            Kind::Server => format!("/opt/nival:{system}:{cluster}"),
        };
        let mut variables = vec![
            format!("PATH={path}"),
            "HOME=/root".to_owned(),
            "LANG=C.UTF-8".to_owned(),
        ];
        if self.kind == Kind::Laptop {
            variables.push(format!("NIX_CONFIG={}", setup::laptop_nix_configuration()));
        }
        variables
    }

    /// Runs a command of a shell to its end and returns its standard output.
    ///
    /// # Errors
    /// Fails when it fails, with what it said.
    pub fn shell(&self, script: &str) -> Result<String, Failure> {
        run(self.command("sh")?.args(["-euc", script]))
    }

    /// Writes a file on this machine.
    ///
    /// # Errors
    /// Fails when the machine cannot take it.
    pub fn write(&self, path: &str, text: &str) -> Result<(), Failure> {
        let staged = self.stage("staged", text)?;
        let script = format!("mkdir -p \"$(dirname '{path}')\"; cp '{staged}' '{path}'");
        self.shell(&script).map(drop)
    }

    /// Writes a file into the shared folder and returns its path, which is the same on the machine and on the host.
    ///
    /// # Errors
    /// Fails when the folder cannot be written to.
    pub fn stage(&self, name: &str, text: &str) -> Result<String, Failure> {
        let path = self.shared().join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// Starts a service that lives as long as the machine; its talk goes to a file of its name.
    ///
    /// # Errors
    /// Fails when it cannot be started.
    pub fn service(
        &self,
        name: &str,
        program: &str,
        arguments: &[&str],
    ) -> Result<Service, Failure> {
        let log = self.shared().join(format!("{name}.log"));
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)?;
        let file = file.into_file();
        let mut command = self.command(program)?;
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        Ok(Service {
            name: name.to_owned(),
            child: command.spawn()?,
            log,
        })
    }

    /// Returns the processes on this machine whose program has this name, as the host numbers them. One that such a process
    /// has forked, and that runs another program a moment later, is none of them.
    #[must_use]
    pub fn processes(&self, program: &str) -> Vec<u32> {
        let namespace = |process: u32| fs::read_link(format!("/proc/{process}/ns/pid")).ok();
        let Some(own) = self.holder.inside().ok().and_then(namespace) else {
            return Vec::new();
        };
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        let all = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let runs = |process: &u32| {
            let program_path = fs::read_link(format!("/proc/{process}/exe")).ok();
            program_path.is_some_and(|path| path.file_name().is_some_and(|name| name == program))
                && namespace(*process).is_some_and(|namespace| namespace == own)
        };
        let found: Vec<u32> = all.filter(runs).collect();
        let is_fork = |process: &&u32| parent_of(**process).is_some_and(|one| found.contains(&one));
        found
            .iter()
            .filter(|process| !is_fork(process))
            .copied()
            .collect()
    }
}

/// A program that runs on a machine until it is stopped.
#[derive(Debug)]
pub struct Service {
    name: String,
    child: Child,
    /// Where its talk goes.
    pub log: PathBuf,
}

impl Service {
    /// Sends a signal to the program itself. `nsenter` replaces itself by what it runs, so the child is the program.
    ///
    /// # Errors
    /// Fails when it is gone.
    pub fn signal(&self, signal: rustix::process::Signal) -> Result<(), Failure> {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal).map_err(|error| Failure::Io(error.into()))
    }

    /// Kills it as `kill -9` does and waits for its end.
    ///
    /// # Errors
    /// Fails when it cannot be waited for.
    pub fn kill(&mut self) -> Result<(), Failure> {
        // Those that are there are held before anything dies: nobody else gets their numbers meanwhile.
        let children: Vec<Held> = children_of(self.child.id())
            .into_iter()
            .filter_map(Held::new)
            .collect();
        for child in &children {
            child.kill();
        }
        self.child.kill()?;
        self.child.wait()?;
        children.iter().try_for_each(Held::wait)
    }

    /// Fails with the last lines of its log when it has ended.
    ///
    /// # Errors
    /// See above.
    pub fn check_alive(&mut self) -> Result<(), Failure> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(());
        };
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(15)..].join("\n");
        Err(Failure::Text(format!(
            "{} ended with {status}: {last}",
            self.name
        )))
    }

    /// Returns its process number on the host: of the program, not of what started it.
    #[must_use]
    pub fn process(&self) -> u32 {
        children_of(self.child.id())
            .first()
            .copied()
            .unwrap_or(self.child.id())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill().ok();
    }
}
