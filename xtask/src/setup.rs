//! Brings the real parts that demo and tests run: containerd, runc, Nix, images and a package set of real programs.

mod apt;
mod conformance;
mod containerds;
mod go;
mod guest;
mod images;
mod kubernetes;
mod nix;
mod packages;
mod prefix;
mod rival;
mod step;
mod tools;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use fs_err as fs;
use host::lock::{FileLock, LockError};

use crate::say;
use step::{Inputs, Steps};
use tools::Tools;

/// How long one clone waits for another's set-up. From nothing it takes some minutes.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Does whatever is not done yet. It is safe to run at any time, from several clones at once.
pub(crate) fn run() -> Result<()> {
    let begun = Instant::now();
    let setup = testkit::setup::dir();
    fs::create_dir_all(&setup)?;
    let _lock = lock(&setup)?;
    let steps = Steps::open(&setup)?;
    let tools = Tools::bring(&steps)?;
    // Building Go programs keeps the processor busy, the packages mostly the disk and the network.
    std::thread::scope(|scope| {
        let programs = scope.spawn(|| {
            go::bring(&steps, &tools)?;
            containerds::build(&steps, &tools)?;
            kubernetes::bring(&steps, &tools)
        });
        let packages = bring_packages(&steps, &tools);
        if let Err(error) = &packages {
            say(&format!(
                "error: {error:#}; the Go programs are still being built"
            ));
        }
        let programs = programs
            .join()
            .map_err(|_panic| anyhow!("building the Go programs panicked"))?;
        packages.and(programs)
    })?;
    step::remove(&steps.scratch())?;
    say(&format!(
        "set-up is complete in {} ({:.1?})",
        setup.display(),
        begun.elapsed()
    ));
    Ok(())
}

/// Brings what only the conformance suite needs, after everything else.
pub(crate) fn run_with_conformance() -> Result<()> {
    run()?;
    let setup = testkit::setup::dir();
    let _lock = lock(&setup)?;
    let steps = Steps::open(&setup)?;
    conformance::bring(&steps, &Tools::bring(&steps)?)?;
    step::remove(&steps.scratch())
}

/// Brings what only benchmarks need, after everything else.
pub(crate) fn run_with_rival() -> Result<()> {
    run()?;
    let setup = testkit::setup::dir();
    let _lock = lock(&setup)?;
    let steps = Steps::open(&setup)?;
    rival::bring(&steps, &Tools::bring(&steps)?)?;
    step::remove(&steps.scratch())
}

/// Takes the folder's lock, and tells the user when somebody else has it.
fn lock(setup: &Path) -> Result<FileLock> {
    let path = setup.join(".lock");
    let acquire = |patience| FileLock::acquire(&path, "the set-up folder", patience);
    match acquire(Duration::ZERO) {
        Err(LockError::Busy { .. }) => {
            say("waiting for another set-up of the same folder …");
            Ok(acquire(PATIENCE)?)
        }
        result => Ok(result?),
    }
}

fn bring_packages(steps: &Steps, tools: &Tools) -> Result<()> {
    images::bring(steps, tools)?;
    containerds::bring(steps, tools)?;
    guest::bring(steps, tools)?;
    nix::bring(steps, tools)?;
    kubernetes::bring_network(steps, tools)?;
    links(steps)?;
    packages::bring(steps, tools)
}

/// Makes `bin`, with the needed programs and no others: a whole prefix in `PATH` would shadow the system's.
fn links(steps: &Steps) -> Result<()> {
    let mut links: Vec<(String, String)> = Vec::new();
    for name in go::NODE_PROGRAMS {
        links.push(((*name).to_owned(), format!("../node/bin/{name}")));
    }
    for (suite, name) in nix::VERSIONS {
        links.push(((*name).to_owned(), format!("../nix/{suite}/usr/bin/nix")));
    }
    links.push(("nix-store".to_owned(), "nix".to_owned()));
    links.sort();
    let inputs = links
        .iter()
        .fold(Inputs::of_recipe(1), |inputs, (name, target)| {
            inputs.with(name).with(target)
        });
    steps.run("bin", inputs, |folder| {
        for (name, target) in &links {
            symlink(target, folder.join(name)).with_context(|| format!("linking {name}"))?;
        }
        Ok(())
    })
}
