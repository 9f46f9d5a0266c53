//! A node that runs containerd and nothing of Nival, with a stand-in for systemd.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fs_err as fs;
use testkit::{Containerd, Failure, Line, Node, NodeOptions, World, programs};

/// Asks for a restart by a file, and waits until that is gone: the test is what starts containerd.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$@" >> "$0.log"
case $1 in
  is-active) [ "$3" = containerd ];;
  restart)
    touch "$0.wanted"
    while [ -e "$0.wanted" ]; do sleep 0.05; done;;
esac
"#;

/// Such a node.
pub(crate) struct Machine {
    pub(crate) node: Node,
    operator: PathBuf,
    systemctl: PathBuf,
}

impl Machine {
    /// Starts one.
    pub(crate) fn start(world: &World, name: &str, line: Line) -> Result<Self, Failure> {
        let options = NodeOptions {
            containerd: Containerd {
                line,
                handlers: Vec::new(),
                imports: Vec::new(),
            },
            ..NodeOptions::default()
        };
        let node = Node::start(world, name, &options)?;
        // Where the installer puts things is a folder of tests on test machines.
        node.kill_agent()?;
        node.machine().shell("umount /opt/nival")?;
        let shared = node.machine().shared();
        let operator = shared.join("operator");
        fs::create_dir_all(&operator)?;
        for (source, name) in [
            (
                Path::new(env!("CARGO_BIN_EXE_nival-operator")),
                "nival-operator",
            ),
            (&programs::dir().join(SHIM), SHIM),
        ] {
            fs::copy(source, operator.join(name))?;
        }
        let tools = shared.join("tools");
        fs::create_dir_all(&tools)?;
        let systemctl = tools.join("systemctl");
        fs::write(&systemctl, SYSTEMCTL)?;
        let mode = format!("chmod 755 {}", systemctl.display());
        node.machine().shell(&mode)?;
        Ok(Self {
            node,
            operator,
            systemctl,
        })
    }

    /// Replaces the shim by a program that does the same and is another file.
    pub(crate) fn renew_shim(&self) -> Result<(), Failure> {
        use std::io::Write as _;
        let path = self.operator.join(SHIM);
        let mut file = fs::OpenOptions::new().append(true).open(path)?;
        Ok(file.write_all(b"newer")?)
    }

    /// Runs the operator to its end, restarting containerd when it asks for that.
    pub(crate) fn operator(&self, arguments: &[&str]) -> Result<Output, Failure> {
        let mut command: Command = self.node.machine().command("env")?;
        command
            .arg(format!("PATH={}:/usr/bin:/bin", self.tools().display()))
            .arg(self.operator.join("nival-operator"))
            .args(arguments);
        std::thread::scope(|scope| {
            let run = scope.spawn(move || command.output());
            let wanted = self.systemctl.with_extension("wanted");
            while !run.is_finished() {
                if wanted.exists() {
                    // A configuration that it does not start with is for the installer to find out.
                    self.node.restart_containerd().ok();
                    fs::remove_file(&wanted)?;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            let output = run.join().expect("the thread only runs a program")?;
            Ok(output)
        })
    }

    /// Runs the operator and fails with what it said when it fails.
    pub(crate) fn operate(&self, arguments: &[&str]) -> Result<String, Failure> {
        let output = self.operator(arguments)?;
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(talk)
        } else {
            Err(Failure::Text(talk))
        }
    }

    /// Returns how often containerd was restarted.
    pub(crate) fn restarts(&self) -> usize {
        let log = self.systemctl.with_extension("log");
        let text = fs::read_to_string(log).unwrap_or_default();
        text.lines()
            .filter(|line| *line == "restart containerd")
            .count()
    }

    /// Returns all files below folders of the machine, with their bytes.
    pub(crate) fn files(&self) -> Result<String, Failure> {
        self.node.machine().shell(
            "find /etc/containerd /opt/nival /etc/systemd -type f -exec sha256sum {} + | sort; find /etc/containerd /opt/nival -not -type f | sort",
        )
    }

    fn tools(&self) -> &Path {
        self.systemctl.parent().expect("it is in a folder")
    }
}

const SHIM: &str = "containerd-shim-nival-v2";
