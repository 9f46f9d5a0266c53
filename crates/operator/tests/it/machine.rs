//! A node that runs containerd and nothing of Nival, and the installer on it.

use std::path::{Path, PathBuf};
use std::process::Output;

use fs_err as fs;
use testkit::{Containerd, Failure, Line, Node, NodeOptions, World, programs};

const SHIM: &str = "containerd-shim-nival-v2";

/// Where the machine's root is mounted once more.
const HOST: &str = "/run/host";

/// Such a node.
pub(crate) struct Machine {
    pub(crate) node: Node,
    operator: PathBuf,
}

impl Machine {
    /// Starts one.
    pub(crate) fn start(world: &World, name: &str, line: Line) -> Result<Self, Failure> {
        let options = NodeOptions {
            containerd: Containerd::plain(line),
            ..NodeOptions::default()
        };
        let node = Node::start_plain(world, name, &options)?;
        // The installer sees the machine as it does from a container.
        node.machine().shell(&format!(
            "mkdir {HOST}; mount --rbind / {HOST}; mount --make-rslave {HOST}"
        ))?;
        // As in the operator's image, where the shim is beside it.
        let operator = node.machine().shared().join("operator");
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
        Ok(Self { node, operator })
    }

    /// Replaces the shim by a program that does the same and is another file.
    pub(crate) fn renew_shim(&self) -> Result<(), Failure> {
        use std::io::Write as _;
        let path = self.operator.join(SHIM);
        let mut file = fs::OpenOptions::new().append(true).open(path)?;
        Ok(file.write_all(b"newer")?)
    }

    /// Runs the installer to its end.
    pub(crate) fn run(&self, more: &[&str]) -> Result<Output, Failure> {
        let program = self.operator.join("nival-operator").display().to_string();
        let mut command = self.node.machine().command(&program)?;
        let host = format!("--host={HOST}");
        Ok(command.args(["install", &host]).args(more).output()?)
    }

    /// Runs the installer, and fails with what it said when it fails.
    pub(crate) fn install(&self, more: &[&str]) -> Result<String, Failure> {
        let output = self.run(more)?;
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(talk)
        } else {
            Err(Failure::Text(talk))
        }
    }

    /// Returns the number of containerd's process: another one after a restart.
    pub(crate) fn containerd(&self) -> Vec<u32> {
        self.node.machine().processes("containerd")
    }

    /// Returns the sums of all files that an installer may touch.
    pub(crate) fn files(&self) -> Result<String, Failure> {
        self.node.machine().shell(
            "for folder in /etc/containerd /opt/nival; do \
               if [ -e $folder ]; then find $folder -type f -exec sha256sum {} + ; find $folder -printf '%p %y %m %l\\n'; fi; \
             done | sort",
        )
    }
}
