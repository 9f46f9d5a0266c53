//! The few programs that set-up itself and the test packages' builders work with: busybox, patchelf, libseccomp.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use fs_err as fs;

use super::apt::{self, Apt};
use super::step::{Inputs, Steps};

/// The suite that the tools and the test packages come from: the oldest that is to be worked on.
pub(super) const SUITE: &str = "bookworm";

/// The Debian keys that this machine trusts.
const MACHINE_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

const PACKAGES: &[&str] = &[
    "busybox-static",
    "debian-archive-keyring",
    "libc6",
    "libgcc-s1",
    "libseccomp-dev",
    "libstdc++6",
    "patchelf",
];

/// The shared objects that patchelf needs.
const LIBRARIES: &[&str] = &[
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libgcc_s.so.1",
    "libm.so.6",
    "libstdc++.so.6",
];

/// The tools' folder.
#[derive(Debug, Clone)]
pub(super) struct Tools(PathBuf);

impl Tools {
    /// Brings the tools into the set-up folder.
    pub(super) fn bring(steps: &Steps) -> Result<Self> {
        let inputs = Inputs::of_recipe(3).with(SUITE).with(PACKAGES.join(" "));
        steps.run("tools", inputs, |folder| fill(steps, folder))?;
        Ok(Self(steps.setup().join("tools")))
    }

    /// Returns the folder with static busybox, and patchelf with all that it needs: the builders' whole world.
    pub(super) fn bootstrap(&self) -> PathBuf {
        self.0.join("bootstrap")
    }

    /// Returns the folder with the headers and the static library of libseccomp.
    pub(super) fn seccomp(&self) -> PathBuf {
        self.0.join("seccomp")
    }

    /// Returns the newest keys that the machine's keys vouch for: newer suites may be signed by no older ones.
    pub(super) fn keyring(&self) -> PathBuf {
        self.0.join("keyring.gpg")
    }

    pub(super) fn busybox(&self) -> PathBuf {
        self.bootstrap().join("bin/busybox")
    }

    /// Makes a program of another suite run on this machine: it takes loader and libraries from `libraries` alone.
    pub(super) fn patch(&self, program: &Path, libraries: &Path) -> Result<()> {
        let own = self.bootstrap().join("lib");
        let mut command = Command::new(own.join("ld-linux-x86-64.so.2"));
        command
            .arg("--library-path")
            .arg(&own)
            .arg(self.bootstrap().join("bin/patchelf"));
        command
            .arg("--set-interpreter")
            .arg(libraries.join("ld-linux-x86-64.so.2"));
        // An rpath of the old kind reaches the libraries of libraries too.
        command
            .arg("--force-rpath")
            .arg("--set-rpath")
            .arg(libraries)
            .arg(program);
        host::process::run(&mut command).context("patching a program")?;
        Ok(())
    }
}

fn fill(steps: &Steps, folder: &Path) -> Result<()> {
    let scratch = steps.scratch().join("tools-unpacked");
    let apt = Apt::open(&steps.scratch(), SUITE, Path::new(MACHINE_KEYRING))?;
    let packages = apt.describe(PACKAGES)?;
    apt.download(packages.values(), &steps.scratch())?;
    for package in packages.values() {
        apt::unpack(&steps.scratch().join(package.file_name()), &scratch)?;
    }
    for part in ["bootstrap/bin", "bootstrap/lib", "seccomp/lib"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let bootstrap = folder.join("bootstrap");
    fs::copy(scratch.join("bin/busybox"), bootstrap.join("bin/busybox"))?;
    fs::copy(
        scratch.join("usr/bin/patchelf"),
        bootstrap.join("bin/patchelf"),
    )?;
    let multiarch =
        ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"].map(|one| scratch.join(one));
    for library in LIBRARIES {
        let mut found = multiarch
            .iter()
            .map(|folder| folder.join(library))
            .filter(|path| path.exists());
        let found = found
            .next()
            .with_context(|| format!("no package brought {library}"))?;
        fs::copy(found, bootstrap.join("lib").join(library))?;
    }
    fs::rename(scratch.join("usr/include"), folder.join("seccomp/include"))?;
    let archive = scratch.join("usr/lib/x86_64-linux-gnu/libseccomp.a");
    fs::copy(archive, folder.join("seccomp/lib/libseccomp.a"))?;
    fs::copy(
        scratch.join("usr/share/keyrings/debian-archive-keyring.gpg"),
        folder.join("keyring.gpg"),
    )?;
    Ok(())
}
