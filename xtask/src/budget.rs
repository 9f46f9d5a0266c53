//! Fails when the shim outgrows what was decided: it runs once per pod, so its size is multiplied by every pod.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use fs_err as fs;

use testkit::{BUSYBOX, Node, NodeOptions, PodSpec, World};

use crate::{build, measure, say};

/// The stripped static program. Raise it only with a reason in the same commit.
const LARGEST_SHIM_BYTES: u64 = 4 << 20;

/// Crates that the shim links, itself included.
const MOST_SHIM_CRATES: usize = 180;

/// What a running shim of a pod with one container has resident. Raise it only with a reason in the
/// same commit.
const MOST_SHIM_KIB: u64 = 4 << 10;

/// Its threads: one that waits for the end, two workers, and those that a blocking call needs for a while.
const MOST_SHIM_THREADS: u64 = 5;

/// Checks the shim that `cargo xtask build` made.
pub(crate) fn check(root: &Path) -> Result<()> {
    let shim = root
        .join("target/static")
        .join(build::TARGET)
        .join("release/containerd-shim-nival-v2");
    let bytes = fs::metadata(&shim)
        .context("build the programs first: cargo xtask build")?
        .len();
    let crates = crates_of_shim(root)?;
    say(&format!(
        "shim: {bytes} bytes (budget {LARGEST_SHIM_BYTES}), {crates} crates (budget {MOST_SHIM_CRATES})"
    ));
    if bytes > LARGEST_SHIM_BYTES {
        bail!("the shim has {bytes} bytes; its budget is {LARGEST_SHIM_BYTES}");
    }
    if crates > MOST_SHIM_CRATES {
        bail!("the shim links {crates} crates; its budget is {MOST_SHIM_CRATES}");
    }
    if !rustix::process::geteuid().is_root() || !testkit::setup::is_done() {
        say("SKIPPED the running shim's memory: needs root and `cargo xtask setup`");
        return Ok(());
    }
    let running = running()?;
    say(&format!(
        "running shim: {} KiB (budget {MOST_SHIM_KIB}), {} threads (budget {MOST_SHIM_THREADS})",
        running.rss_kib, running.threads
    ));
    if running.rss_kib > MOST_SHIM_KIB {
        bail!(
            "the running shim has {} KiB; its budget is {MOST_SHIM_KIB}",
            running.rss_kib
        );
    }
    if running.threads > MOST_SHIM_THREADS {
        bail!(
            "the running shim has {} threads; its budget is {MOST_SHIM_THREADS}",
            running.threads
        );
    }
    Ok(())
}

/// Runs an ordinary pod and measures its shim.
fn running() -> Result<measure::Shim> {
    let world = World::new()?;
    let options = NodeOptions {
        // It is not asked anything.
        agent_configuration: "hub = \"http://127.0.0.1:9\"\n".to_owned(),
        ..NodeOptions::default()
    };
    let node = Node::start(&world, "node", &options)?;
    let pod = node.run_pod(&PodSpec::plain("measured", "nival"))?;
    pod.container("main", BUSYBOX, &["/bin/sleep", "600"])?;
    let running = measure::running(&node, measure::NIVAL_SHIM)?;
    pod.remove()?;
    Ok(running)
}

fn crates_of_shim(root: &Path) -> Result<usize> {
    let mut command = Command::new(env!("CARGO"));
    command.args([
        "tree",
        "--package",
        "shim",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--locked",
    ]);
    let output = host::process::run(command.args(["--target", build::TARGET]).current_dir(root))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text
        .lines()
        .filter_map(|line| line.strip_suffix(" (*)").or(Some(line)));
    Ok(names
        .filter(|line| !line.is_empty())
        .collect::<std::collections::BTreeSet<_>>()
        .len())
}
