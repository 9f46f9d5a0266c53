//! A virtual machine with systemd and control groups of version 2 alone, emulated in software.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::{Failure, LOOK_EVERY, run, setup};

/// What the kernel is told: no older control groups, and no word that is not the test's.
const KERNEL_LINE: &str = "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on cgroup_no_v1=all \
     systemd.unified_cgroup_hierarchy=1 systemd.unit=test.target systemd.show_status=0";

/// Boots the guest with a folder at `/test`, where `run.sh` is run once; the guest goes off with it. Returns what the
/// console showed.
///
/// # Errors
/// Fails when the guest does not end in time, with what the console showed.
pub fn boot(folder: &Path, deadline: Duration) -> Result<String, Failure> {
    let scratch = tempfile::tempdir_in("/var/tmp")?;
    let disk = scratch.path().join("test.img");
    let size = run(Command::new("du")
        .args(["-sm", "--apparent-size"])
        .arg(folder))?;
    let size: u64 = size
        .split_whitespace()
        .next()
        .and_then(|size| size.parse().ok())
        .ok_or_else(|| Failure::Text(format!("no size in {size:?}")))?;
    // As much again for what containers write, and then some for the file system itself.
    let size = format!("{}M", size * 2 + 256);
    run(Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-O", "^has_journal", "-d"])
        .args([folder, &disk])
        .arg(size))?;
    let console = scratch.path().join("console");
    let mut machine = emulator(&disk, &console).spawn()?;
    let begun = Instant::now();
    let ended = loop {
        if let Some(status) = machine.try_wait()? {
            break status.success();
        }
        if begun.elapsed() > deadline {
            machine.kill()?;
            machine.wait()?;
            break false;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    let bytes = fs::read(&console).unwrap_or_default();
    let said = String::from_utf8_lossy(&bytes).replace('\r', "");
    if ended {
        return Ok(said);
    }
    let took = begun.elapsed();
    Err(Failure::Text(format!(
        "the guest did not go off by itself within {deadline:?} (ended after {took:.0?}); its console:\n{said}"
    )))
}

fn emulator(disk: &Path, console: &Path) -> Command {
    let guest = setup::guest();
    let qemu = guest.join("qemu");
    // Never longer than whoever started it. The program's own loader finds the libraries that came with it.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .arg(qemu.join("lib/ld-linux-x86-64.so.2"))
        .arg("--library-path")
        .arg(qemu.join("lib"))
        .arg(qemu.join("bin/qemu-system-x86_64"))
        .arg("-L")
        .arg(qemu.join("share"));
    let fixed = "-accel tcg,thread=multi -cpu max -smp 2 -m 1024 -nodefaults -no-user-config -display none -no-reboot";
    command.args(fixed.split(' '));
    command
        .arg("-kernel")
        .arg(guest.join("vmlinuz"))
        .arg("-initrd")
        .arg(guest.join("initrd"))
        .args(["-append", KERNEL_LINE])
        .arg("-serial")
        .arg(format!("file:{}", console.display()));
    for image in [&guest.join("root.img"), disk] {
        let drive = format!("file={},if=virtio,format=raw,snapshot=on", image.display());
        command.args(["-drive", &drive]);
    }
    command.env("QEMU_MODULE_DIR", qemu.join("lib/qemu"));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}
