//! Programs built from pinned Go modules: containerd, runc, crictl and the CNI plugins.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use fs_err as fs;

use super::apt::Apt;
use super::step::{self, Inputs, Steps};
use super::tools::Tools;
use crate::say;

/// The oldest Go that builds everything here.
const OLDEST: (u32, u32) = (1, 26);

/// What a node's folder `bin` holds; busybox alone is not built here.
pub(super) const NODE_PROGRAMS: &[&str] = &[
    "busybox",
    "containerd",
    "containerd-shim-runc-v2",
    "crictl",
    "ctr",
    "runc",
];

/// Programs of one module, pinned with everything that they are made of by their `go.mod` and `go.sum`.
pub(super) struct Programs {
    pub(super) module: &'static str,
    pub(super) sums: &'static str,
    pub(super) packages: &'static [&'static str],
    pub(super) tags: &'static str,
    pub(super) linker: &'static str,
}

const CONTAINERD: Programs = Programs {
    module: include_str!("go/containerd/go.mod"),
    sums: include_str!("go/containerd/go.sum"),
    packages: &[
        "github.com/containerd/containerd/v2/cmd/containerd",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
        "github.com/containerd/containerd/v2/cmd/ctr",
    ],
    tags: "",
    linker: "-s -w",
};

const CRICTL: Programs = Programs {
    module: include_str!("go/crictl/go.mod"),
    sums: include_str!("go/crictl/go.sum"),
    packages: &["sigs.k8s.io/cri-tools/cmd/crictl"],
    tags: "",
    linker: "-s -w -X sigs.k8s.io/cri-tools/pkg/version.Version=v1.36.0",
};

/// The only one with C in it: linked statically, it runs on any node all the same.
const RUNC: Programs = Programs {
    module: include_str!("go/runc/go.mod"),
    sums: include_str!("go/runc/go.sum"),
    packages: &["github.com/opencontainers/runc"],
    tags: "seccomp netgo osusergo",
    linker: "-s -w -extldflags -static",
};

const CNI: Programs = Programs {
    module: include_str!("go/cni/go.mod"),
    sums: include_str!("go/cni/go.sum"),
    packages: &[
        "github.com/containernetworking/plugins/plugins/ipam/host-local",
        "github.com/containernetworking/plugins/plugins/main/bridge",
        "github.com/containernetworking/plugins/plugins/main/loopback",
    ],
    tags: "",
    linker: "-s -w",
};

impl Programs {
    pub(super) fn inputs(&self, inputs: Inputs) -> Inputs {
        inputs
            .with(self.module)
            .with(self.sums)
            .with(self.tags)
            .with(self.linker)
    }

    /// Builds the programs into a folder.
    pub(super) fn build(
        &self,
        go: &Path,
        steps: &Steps,
        tools: &Tools,
        folder: &Path,
    ) -> Result<()> {
        let scratch = tempfile::tempdir_in(steps.scratch())?;
        let uses_c = self.tags.contains("seccomp");
        let mut command = self.command(go, "build", scratch.path(), folder)?;
        command.args(self.packages);
        command.env("CGO_ENABLED", if uses_c { "1" } else { "0" });
        if uses_c {
            command.env(
                "PKG_CONFIG",
                seccomp_flags(scratch.path(), &tools.seccomp())?,
            );
        }
        host::process::run(&mut command)?;
        Ok(())
    }

    /// Builds the tests of a package as a program.
    pub(super) fn build_test(
        &self,
        package: &str,
        go: &Path,
        steps: &Steps,
        program: &Path,
    ) -> Result<()> {
        let scratch = tempfile::tempdir_in(steps.scratch())?;
        let mut command = self.command(go, "test", scratch.path(), program)?;
        command
            .args(["-c", "-vet=off", package])
            .env("CGO_ENABLED", "0");
        host::process::run(&mut command)?;
        Ok(())
    }

    fn command(&self, go: &Path, verb: &str, scratch: &Path, output: &Path) -> Result<Command> {
        fs::write(scratch.join("go.mod"), self.module)?;
        fs::write(scratch.join("go.sum"), self.sums)?;
        let mut command = Command::new(go);
        command.args([verb, "-mod=readonly", "-trimpath", "-buildvcs=false"]);
        command
            .args(["-tags", self.tags, "-ldflags", self.linker, "-o"])
            .arg(output);
        command
            .env("GOTOOLCHAIN", "local")
            .env("GOWORK", "off")
            .env_remove("GOFLAGS")
            .current_dir(scratch);
        Ok(command)
    }
}

/// Builds what a node has, and the CNI plugins.
pub(super) fn bring(steps: &Steps, tools: &Tools) -> Result<()> {
    let node = [&CONTAINERD, &RUNC, &CRICTL];
    let inputs = node.iter().fold(Inputs::of_recipe(1), |inputs, programs| {
        programs.inputs(inputs)
    });
    steps.run("node", inputs, |folder| {
        let bin = folder.join("bin");
        fs::create_dir(&bin)?;
        let go = toolchain(steps, tools)?;
        node.iter()
            .try_for_each(|programs| programs.build(&go, steps, tools, &bin))?;
        fs::copy(tools.busybox(), bin.join("busybox"))?;
        Ok(())
    })?;
    steps.run("cni", CNI.inputs(Inputs::of_recipe(1)), |folder| {
        fs::create_dir(folder.join("bin"))?;
        CNI.build(&toolchain(steps, tools)?, steps, tools, &folder.join("bin"))
    })
}

/// Writes a stand-in for `pkg-config` that knows libseccomp alone, since a fresh machine has neither.
fn seccomp_flags(folder: &Path, seccomp: &Path) -> Result<PathBuf> {
    let path = folder.join("pkg-config");
    let script = format!(
        "#!/bin/sh\nfor argument in \"$@\"; do case $argument in\n\
         --cflags) echo '-I{0}/include' ;;\n--libs) echo '-L{0}/lib -lseccomp' ;;\nesac; done\n",
        seccomp.display()
    );
    fs::write(&path, script)?;
    fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Returns the machine's Go where it is new enough, else brings one.
pub(super) fn toolchain(steps: &Steps, tools: &Tools) -> Result<PathBuf> {
    let mut command = Command::new("go");
    command
        .args(["env", "GOVERSION"])
        .env("GOTOOLCHAIN", "local");
    if let Ok(output) = host::process::run(&mut command) {
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        if parse_version(version.trim().trim_start_matches("go"))
            .is_some_and(|found| found >= OLDEST)
        {
            return Ok("go".into());
        }
    }
    steps.run("go", Inputs::of_recipe(1), |folder| {
        bring_toolchain(steps, tools, folder)
    })?;
    let mut roots: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(steps.setup().join("go/usr/lib"))? {
        roots.push(entry?.path().join("bin/go"));
    }
    roots.retain(|path| path.is_file());
    roots
        .pop()
        .context("the package of Go has no program bin/go")
}

fn bring_toolchain(steps: &Steps, tools: &Tools, folder: &Path) -> Result<()> {
    let apt = Apt::open(&steps.scratch(), "sid", &tools.keyring())?;
    let names = apt.names(r"^golang-1\.[0-9]+-go$")?;
    let version = |name: &String| parse_version(name.strip_prefix("golang-")?.strip_suffix("-go")?);
    let versions = names
        .iter()
        .filter_map(version)
        .filter(|found| *found >= OLDEST);
    let (major, minor) = versions
        .min()
        .context("Debian sid has no Go that is new enough")?;
    say(&format!(
        "this machine has no Go {}.{}: taking Debian's {major}.{minor}",
        OLDEST.0, OLDEST.1
    ));
    let names = [
        format!("golang-{major}.{minor}-go"),
        format!("golang-{major}.{minor}-src"),
    ];
    let packages = apt.describe(&names.each_ref().map(String::as_str))?;
    let unpacked = apt.unpack(&steps.scratch(), packages.values())?;
    step::move_into(unpacked.path(), folder)
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_compared_by_number() {
        assert_eq!(parse_version("1.26.8"), Some((1, 26)));
        assert!(parse_version("1.9.1") < Some(OLDEST));
        assert_eq!(parse_version("devel"), None);
    }
}
