//! The other lines of containerd that nodes run: 2.1 to 2.3 from their Go modules, 1.7 from Debian; and crun.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Result;
use fs_err as fs;

use super::apt::{Apt, Package};
use super::go::{self, Programs};
use super::step::{Inputs, Steps};
use super::tools::Tools;

/// The suite that still has containerd 1.7, whose module cannot be built by `go build` outside of its own tree.
const OLD_SUITE: &str = "trixie";

/// What a node takes of each: the daemon, its command line and the shim that belongs to it.
const PROGRAMS: &[&str] = &["containerd", "containerd-shim-runc-v2", "ctr"];

const PACKAGES: &[&str] = &[
    "github.com/containerd/containerd/v2/cmd/containerd",
    "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
    "github.com/containerd/containerd/v2/cmd/ctr",
];

/// Each line with its newest release, pinned by module and sums.
const LINES: &[(&str, Programs)] = &[
    (
        "2.1",
        pinned(
            include_str!("go/containerd-2.1/go.mod"),
            include_str!("go/containerd-2.1/go.sum"),
        ),
    ),
    (
        "2.2",
        pinned(
            include_str!("go/containerd-2.2/go.mod"),
            include_str!("go/containerd-2.2/go.sum"),
        ),
    ),
    (
        "2.3",
        pinned(
            include_str!("go/containerd-2.3/go.mod"),
            include_str!("go/containerd-2.3/go.sum"),
        ),
    ),
];

/// crun of the same suite, since older ones refuse what containerd 2.4 writes, with the libraries that it needs.
const CRUN: &[&str] = &[
    "crun",
    "libc6",
    "libcap2",
    "libseccomp2",
    "libsystemd0",
    "libyajl2",
];

const CRUN_LIBRARIES: &[&str] = &[
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libcap.so.2",
    "libm.so.6",
    "libseccomp.so.2",
    "libsystemd.so.0",
    "libyajl.so.2",
];

const fn pinned(module: &'static str, sums: &'static str) -> Programs {
    Programs {
        module,
        sums,
        packages: PACKAGES,
        tags: "",
        linker: "-s -w",
    }
}

/// Builds what comes from Go, one line after the other, so that each finds what the one before has compiled.
pub(super) fn build(steps: &Steps, tools: &Tools) -> Result<()> {
    for (line, programs) in LINES {
        let folder = format!("containerd/{line}");
        steps.run(&folder, programs.inputs(Inputs::of_recipe(1)), |folder| {
            let bin = folder.join("bin");
            fs::create_dir(&bin)?;
            programs.build(&go::toolchain(steps, tools)?, steps, tools, &bin)
        })?;
    }
    Ok(())
}

/// Brings what comes from Debian.
pub(super) fn bring(steps: &Steps, tools: &Tools) -> Result<()> {
    let inputs = Inputs::of_recipe(1).with(OLD_SUITE);
    steps.run("containerd/1.7", inputs, |folder| {
        let unpacked = unpack(steps, tools, OLD_SUITE, &["containerd"])?;
        let bin = folder.join("bin");
        fs::create_dir(&bin)?;
        for program in PROGRAMS {
            fs::copy(
                unpacked.path().join("usr/bin").join(program),
                bin.join(program),
            )?;
        }
        Ok(())
    })?;
    let inputs = Inputs::of_recipe(3)
        .with(OLD_SUITE)
        .with(CRUN.join(" "))
        .with(CRUN_LIBRARIES.join(" "));
    steps.run("crun", inputs, |folder| crun(steps, tools, folder))
}

fn crun(steps: &Steps, tools: &Tools, folder: &Path) -> Result<()> {
    let unpacked = unpack(steps, tools, OLD_SUITE, CRUN)?;
    for part in ["bin", "lib"] {
        fs::create_dir(folder.join(part))?;
    }
    for library in CRUN_LIBRARIES {
        let from = unpacked.path().join("usr/lib/x86_64-linux-gnu");
        let to = folder.join("lib").join(library);
        fs::copy(from.join(library), &to)?;
        fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755))?;
    }
    let program = folder.join("bin/crun");
    fs::copy(unpacked.path().join("usr/bin/crun"), &program)?;
    // Where a node has it. No path relative to the program would do: crun runs a copy of itself from memory.
    tools.patch(&program, Path::new("/opt/crun/lib"))
}

fn unpack(
    steps: &Steps,
    tools: &Tools,
    suite: &'static str,
    names: &[&str],
) -> Result<tempfile::TempDir> {
    let apt = Apt::open(&steps.scratch(), suite, &tools.keyring())?;
    let packages: Vec<Package> = apt.describe(names)?.into_values().collect();
    apt.unpack(&steps.scratch(), &packages)
}
