//! An OCI runtime that is runc, but does something else first.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use containerd_shim::api::Options;
use fs_err as fs;

use crate::containerd::{Containerd, until};
use crate::shim::Shim;

/// A script in the place of runc.
pub(crate) struct Stub {
    program: PathBuf,
    gate: PathBuf,
    reached: PathBuf,
}

impl Stub {
    /// Runs shell commands before this verb of runc.
    pub(crate) fn before(containerd: &Containerd, verb: &str, commands: &str) -> Self {
        let stub = Self {
            program: containerd.path("stub-runc"),
            gate: containerd.path("gate"),
            reached: containerd.path("reached"),
        };
        let runc = testkit::setup::node_bin().join("runc");
        // The log is the sixth argument: `--root R --log-format json --log L`.
        let script = format!(
            "#!/bin/sh\nlog=$6\ncase \" $* \" in *' {verb} '*) : > {}; {commands};; esac\nexec {} \"$@\"\n",
            stub.reached.display(),
            runc.display()
        );
        fs::write(&stub.program, script).unwrap();
        fs::set_permissions(&stub.program, PermissionsExt::from_mode(0o755)).unwrap();
        stub
    }

    /// Waits before this verb until its gate opens.
    pub(crate) fn slow(containerd: &Containerd, verb: &str) -> Self {
        let gate = containerd.path("gate");
        // Where a test has failed, its folder goes and nobody opens the gate.
        let commands = format!(
            "while [ -d {} ] && ! [ -e {} ]; do sleep 0.05; done",
            containerd.folder.path().display(),
            gate.display()
        );
        Self::before(containerd, verb, &commands)
    }

    /// Fails in this verb until its gate opens.
    pub(crate) fn failing(containerd: &Containerd, verb: &str) -> Self {
        let gate = containerd.path("gate");
        let line = "{\"level\":\"error\",\"msg\":\"the stub\\nfails\"}";
        let commands = format!(
            "if ! [ -e {} ]; then printf '%s\\n' '{line}' >> $log; exit 1; fi",
            gate.display()
        );
        Self::before(containerd, verb, &commands)
    }

    pub(crate) fn options(&self, shim: &Shim) -> Options {
        Options {
            binary_name: self.program.display().to_string(),
            ..shim.options.clone()
        }
    }

    pub(crate) async fn is_reached(&self) {
        until("the runtime to be called", || self.reached.exists()).await;
    }

    pub(crate) fn open(&self) {
        fs::write(&self.gate, "").unwrap();
    }

    /// Shuts the gate, open or not.
    pub(crate) fn shut(&self) {
        fs::remove_file(&self.gate).ok();
    }
}
