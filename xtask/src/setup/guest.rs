//! A virtual machine with systemd and nothing but control groups of version 2: what the test machine itself lacks.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use fs_err as fs;

use super::apt::{Apt, Package};
use super::step::{Inputs, Steps};
use super::tools::{SUITE, Tools};

const INIT: &str = include_str!("guest/init.sh");
const SERVICE: &str = include_str!("guest/test.service");
const TARGET: &str = include_str!("guest/test.target");

const ACCELERATOR: &str = "accel-tcg-x86_64.so";
const EMULATOR: &[&str] = &["qemu-system-x86"];
const SYSTEM: &[&str] = &["dbus", "libpam0g", "mount", "systemd", "systemd-sysv"];
/// Names the newest kernel; it is made for virtual machines and small.
const KERNEL: &str = "linux-image-cloud-amd64";

/// Modules that the first program loads, in this order; `overlay` is for the system.
const DISK_MODULES: &[&str] = &[
    "virtio",
    "virtio_ring",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
];

const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/sh\nmessagebus:x:100:100::/nonexistent:/bin/false\n";
const GROUP: &str = "root:x:0:\nmessagebus:x:100:\n";

/// Brings `guest`: `qemu` with all that it needs, the kernel `vmlinuz`, `initrd`, and the system's disk `root.img`.
pub(super) fn bring(steps: &Steps, tools: &Tools) -> Result<()> {
    let inputs = [INIT, SERVICE, TARGET, SUITE, KERNEL, PASSWD, GROUP]
        .iter()
        .chain(EMULATOR)
        .chain(SYSTEM)
        .chain(DISK_MODULES)
        .fold(Inputs::of_recipe(2), |inputs, text| inputs.with(text));
    steps.run("guest", inputs, |folder| {
        let apt = Apt::open(&steps.scratch(), SUITE, &tools.keyring())?;
        emulator(&apt, steps, &folder.join("qemu"))?;
        let modules = kernel(&apt, steps, folder)?;
        initrd(tools, modules.path(), folder)?;
        system(&apt, steps, tools, modules.path(), folder)
    })
}

fn closure(apt: &Apt, roots: &[&str], is_needed: impl Fn(&str) -> bool) -> Result<Vec<Package>> {
    let mut packages: Vec<Package> = apt.closure(roots)?.into_values().collect();
    packages.retain(|package| is_needed(&package.name));
    Ok(packages)
}

fn emulator(apt: &Apt, steps: &Steps, folder: &Path) -> Result<()> {
    let is_needed =
        |name: &str| name.starts_with("qemu-system-") || name == "seabios" || is_library(name);
    let unpacked = apt.unpack(&steps.scratch(), &closure(apt, EMULATOR, is_needed)?)?;
    for part in ["bin", "lib", "share"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let from = unpacked.path();
    let program = "qemu-system-x86_64";
    fs::copy(
        from.join("usr/bin").join(program),
        folder.join("bin").join(program),
    )?;
    for place in ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"] {
        for entry in fs::read_dir(from.join(place))? {
            let entry = entry?;
            // Links point to their neighbours, so a plain file of each name is as good.
            if entry.path().is_file() {
                fs::copy(entry.path(), folder.join("lib").join(entry.file_name()))?;
            }
        }
    }
    // The one module that it cannot do without; others are for devices that the guest has not.
    fs::create_dir(folder.join("lib/qemu"))?;
    fs::copy(
        from.join("usr/lib/x86_64-linux-gnu/qemu").join(ACCELERATOR),
        folder.join("lib/qemu").join(ACCELERATOR),
    )?;
    for firmware in ["qemu", "seabios"] {
        for entry in fs::read_dir(from.join("usr/share").join(firmware))? {
            let entry = entry?;
            let small = entry.metadata()?.is_file() && entry.metadata()?.len() < 1 << 20;
            if small {
                fs::copy(entry.path(), folder.join("share").join(entry.file_name()))?;
            }
        }
    }
    Ok(())
}

/// Places `vmlinuz` and returns a folder with the kernel's files, which lasts as long as what is returned.
fn kernel(apt: &Apt, steps: &Steps, folder: &Path) -> Result<tempfile::TempDir> {
    let named = apt.describe(&[KERNEL])?;
    let real = named.get(KERNEL).and_then(|package| {
        let mut words = package.depends.split([',', ' ']);
        words
            .find(|word| word.starts_with("linux-image-"))
            .map(str::to_owned)
    });
    let real = real.with_context(|| format!("{KERNEL} depends on no kernel"))?;
    let packages: Vec<Package> = apt.describe(&[&real])?.into_values().collect();
    let unpacked = apt.unpack(&steps.scratch(), &packages)?;
    let mut images = fs::read_dir(unpacked.path().join("boot"))?.filter_map(|entry| {
        let path = entry.ok()?.path();
        path.file_name()?
            .to_str()?
            .starts_with("vmlinuz")
            .then_some(path)
    });
    let image = images
        .next()
        .with_context(|| format!("{real} has no kernel"))?;
    fs::copy(image, folder.join("vmlinuz"))?;
    Ok(unpacked)
}

/// Finds a module of the kernel by its name.
fn module(kernel: &Path, name: &str) -> Result<PathBuf> {
    let mut folders = vec![kernel.join("lib/modules")];
    let wanted = format!("{name}.ko");
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == *wanted {
                return Ok(entry.path());
            }
        }
    }
    anyhow::bail!("the kernel has no module {name}")
}

/// Writes an archive of busybox, the disk's modules and the first program.
fn initrd(tools: &Tools, kernel: &Path, folder: &Path) -> Result<()> {
    let staged = tempfile::tempdir_in(folder)?;
    let path = staged.path();
    for part in ["bin", "dev", "root"] {
        fs::create_dir(path.join(part))?;
    }
    fs::copy(tools.busybox(), path.join("bin/busybox"))?;
    for name in DISK_MODULES {
        fs::copy(module(kernel, name)?, path.join(format!("{name}.ko")))?;
    }
    write_executable(&path.join("init"), INIT)?;
    let script = "cd \"$1\" && \"$2\" find . | \"$2\" cpio -o -H newc > \"$3\"";
    let mut pack = Command::new("sh");
    pack.args(["-euc", script, "initrd"])
        .arg(path)
        .arg(tools.busybox())
        .arg(folder.join("initrd"));
    host::process::run(&mut pack).context("packing the guest's first programs")?;
    Ok(())
}

fn system(apt: &Apt, steps: &Steps, tools: &Tools, kernel: &Path, folder: &Path) -> Result<()> {
    let is_needed = |name: &str| {
        let own = SYSTEM.contains(&name) || name.starts_with("dbus") || name == "dmsetup";
        own || is_library(name)
    };
    let unpacked = apt.unpack(&steps.scratch(), &closure(apt, SYSTEM, is_needed)?)?;
    let root = unpacked.path();
    for part in [
        "proc",
        "sys",
        "dev",
        "run",
        "tmp",
        "root",
        "test",
        "opt",
        "var/lib",
        "var/log",
        "var/tmp",
        "lib/modules",
        "usr/sbin",
    ] {
        fs::create_dir_all(root.join(part))?;
    }
    fs::copy(tools.busybox(), root.join("bin/busybox"))?;
    let output = host::process::run(Command::new(tools.busybox()).arg("--list"))?;
    let applets = String::from_utf8_lossy(&output.stdout).into_owned();
    for applet in applets.lines() {
        let places = ["bin", "sbin", "usr/bin", "usr/sbin"];
        if !places
            .iter()
            .any(|place| root.join(place).join(applet).exists())
        {
            symlink("busybox", root.join("bin").join(applet))?;
        }
    }
    fs::copy(
        module(kernel, "overlay")?,
        root.join("lib/modules/overlay.ko"),
    )?;
    let etc = root.join("etc");
    for (name, text) in [
        ("passwd", PASSWD),
        ("group", GROUP),
        ("machine-id", ""),
        ("hostname", "guest\n"),
        ("systemd/system/test.service", SERVICE),
        ("systemd/system/test.target", TARGET),
    ] {
        fs::create_dir_all(etc.join(name).parent().unwrap_or(&etc))?;
        fs::write(etc.join(name), text)?;
    }
    // Without a journal, since nobody keeps what the guest writes.
    let mut disk = Command::new("mke2fs");
    disk.args(["-q", "-t", "ext4", "-O", "^has_journal", "-d"])
        .arg(root)
        .arg(folder.join("root.img"))
        .arg("400M");
    host::process::run(&mut disk).context("making the guest's disk")?;
    Ok(())
}

fn write_executable(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text)?;
    Ok(fs::set_permissions(
        path,
        std::fs::Permissions::from_mode(0o755),
    )?)
}

/// Tells libraries from the programs that packages' scripts would call.
fn is_library(name: &str) -> bool {
    let scripts = ["libpam-modules", "libpam-runtime", "libpam-systemd"].contains(&name)
        || name.ends_with("-perl")
        || name.starts_with("libperl");
    name.starts_with("lib") && !scripts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_from_what_only_scripts_need() {
        assert!(is_library("libc6") && is_library("libpam0g"));
        assert!(!is_library("libtext-glob-perl") && !is_library("libperl5.36"));
        assert!(!is_library("perl-base") && !is_library("libpam-modules"));
    }
}
