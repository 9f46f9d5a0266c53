//! A container's bundle as containerd lays it out: a specification, a root filesystem, pipes.

use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use containerd_shim::protos::types::mount::Mount;
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::{Value, json};

use crate::containerd::{Containerd, until};

/// A bundle whose root filesystem has busybox, or nothing.
pub(crate) struct Bundle {
    pub(crate) id: String,
    pub(crate) path: PathBuf,
    pub(crate) terminal: bool,
    pub(crate) spec: Value,
    /// What the root filesystem is made of, where it is not simply there.
    pub(crate) mounts: Vec<Mount>,
    pipes: PathBuf,
}

impl Bundle {
    /// A container that runs a shell script on busybox.
    pub(crate) fn new(containerd: &Containerd, name: &str, script: &str) -> Self {
        let bundle = Self::empty(containerd, name, &["/bin/sh", "-c", script]);
        let bin = bundle.path.join("rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        install_busybox(&bin);
        bundle
    }

    /// A container with an empty root filesystem.
    pub(crate) fn empty(containerd: &Containerd, name: &str, command: &[&str]) -> Self {
        let id = format!("{name}-{}", containerd.tag());
        let path = containerd.path(&format!("bundle-{name}"));
        let pipes = containerd.path(&format!("pipes-{name}"));
        for folder in [&path, &path.join("rootfs"), &pipes] {
            fs::create_dir_all(folder).unwrap();
        }
        let mount = |kind: &str, destination: &str| json!({"type": kind, "source": kind, "destination": destination});
        let spec = json!({
            "ociVersion": "1.2.0",
            "process": {
                "args": command, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
                "noNewPrivileges": true,
            },
            "root": {"path": "rootfs"},
            "mounts": [mount("proc", "/proc"), mount("tmpfs", "/dev"), mount("devpts", "/dev/pts")],
            "linux": {
                "cgroupsPath": format!("/nival-test/{id}"),
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}],
            },
            "annotations": {},
        });
        let mut bundle = Self {
            id,
            path,
            terminal: false,
            spec,
            mounts: Vec::new(),
            pipes,
        };
        bundle.make_pipe("stdout");
        bundle.make_pipe("stderr");
        bundle.make_log();
        bundle.save();
        bundle
    }

    /// Says whose container it is, and what its pod asks for.
    pub(crate) fn annotated(mut self, annotations: &[(&str, &str)]) -> Self {
        for (name, value) in annotations {
            self.spec["annotations"][*name] = json!(value);
        }
        self.save();
        self
    }

    pub(crate) fn changed(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.spec);
        self.save();
        self
    }

    pub(crate) fn save(&mut self) {
        // The pipe of the shim's log has a reader, as with containerd.
        let text = serde_json::to_vec(&self.spec).unwrap();
        fs::write(self.path.join("config.json"), text).unwrap();
    }

    /// The pipe that containerd reads the shim's log from.
    pub(crate) fn make_log(&self) {
        mkfifoat(CWD, self.path.join("log"), Mode::from(0o600)).unwrap();
    }

    pub(crate) fn make_pipe(&self, name: &str) {
        mkfifoat(CWD, self.pipes.join(name), Mode::from(0o600)).unwrap();
    }

    /// Returns a pipe's path, or nothing where there is no such pipe.
    pub(crate) fn pipe(&self, name: &str) -> String {
        let path = self.pipes.join(name);
        if path.exists() {
            path.display().to_string()
        } else {
            String::new()
        }
    }

    /// Opens a pipe as containerd does, before the process is made.
    pub(crate) fn reader(&self, name: &str) -> Reader {
        let path = self.pipes.join(name);
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
        let file = fs::OpenOptions::new()
            .read(true)
            .custom_flags(nonblocking)
            .open(path);
        Reader {
            file: file.unwrap(),
            text: String::new(),
        }
    }

    /// Opens a pipe for writing, once somebody reads it.
    pub(crate) fn writer(&self, name: &str) -> fs::File {
        let path = self.pipes.join(name);
        fs::OpenOptions::new().write(true).open(path).unwrap()
    }

    /// Keeps the pipe of the shim's log open, as containerd does.
    pub(crate) fn log(&self) -> fs::File {
        fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path.join("log"))
            .unwrap()
    }
}

/// What a process writes.
pub(crate) struct Reader {
    file: fs::File,
    text: String,
}

impl Reader {
    /// Waits until the process has written a text, and returns all that it wrote.
    pub(crate) async fn expect(&mut self, wanted: &str) -> String {
        until(wanted, || {
            let mut bytes = Vec::new();
            // Ends with an error when there is no more for now.
            self.file.read_to_end(&mut bytes).ok();
            self.text.push_str(&String::from_utf8_lossy(&bytes));
            self.text.contains(wanted)
        })
        .await;
        self.text.clone()
    }
}

/// Puts busybox and its names for a few programs into a folder.
pub(crate) fn install_busybox(folder: &Path) {
    let busybox = testkit::setup::node_bin().join("busybox");
    fs::copy(fs::canonicalize(busybox).unwrap(), folder.join("busybox")).unwrap();
    for name in [
        "sh", "cat", "echo", "env", "id", "ls", "sleep", "stat", "stty", "touch", "tty", "true",
    ] {
        symlink("busybox", folder.join(name)).unwrap();
    }
}
