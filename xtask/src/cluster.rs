//! A real Kubernetes on this machine, with Nival on its nodes: to try by hand, to test, and to be judged.

mod conformance;
mod keeper;
mod state;
mod test;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};

use crate::{build, images, say, setup};
use state::State;

/// What is done with clusters, and with which.
#[derive(Args)]
pub(crate) struct ClusterArgs {
    /// Where what is known of the running cluster is kept: with several folders there can be several clusters
    #[arg(long, global = true, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    #[command(subcommand)]
    task: ClusterTask,
}

#[derive(Subcommand)]
enum ClusterTask {
    /// Start a cluster with Nival on its nodes, a hub and a laptop beside it, and leave it running
    Up(Plan),
    /// Stop the running cluster and remove everything of it
    Down,
    /// Run a command in the running cluster's network, with `kubectl` ready to use
    Run {
        /// On one of its machines instead: laptop, hub, control-plane, node1, …
        #[arg(long, value_name = "MACHINE")]
        on: Option<String>,
        /// The command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Tell every story of Nival in a cluster, on one of its own
    Test {
        /// Write what came of each story as JSON
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
        /// Leave the cluster running afterwards, until `down`
        #[arg(long)]
        keep: bool,
        /// Only stories with one of these in their names
        only: Vec<String>,
    },
    /// Let Kubernetes' own conformance suite judge runc, Nival as the default runtime, and pods from environments
    Conformance {
        /// Write what came of each spec as JSON
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
        /// Which specs, as a regular expression on their names
        #[arg(long, default_value = conformance::FOCUS)]
        focus: String,
        /// Only these of the three runs
        #[arg(long, value_delimiter = ',')]
        runs: Vec<conformance::Run>,
        /// Leave the last cluster running afterwards, until `down`
        #[arg(long)]
        keep: bool,
    },
    /// Hold a cluster until it is told to end (what `up` leaves running)
    #[command(hide = true)]
    Hold(Plan),
}

/// What a cluster that is left running is like.
#[derive(Args)]
struct Plan {
    /// How many nodes it has
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// The runtime of pods that name no class
    #[arg(long, default_value = "runc", value_parser = ["runc", "nival"])]
    default_runtime: String,
    /// Install Nival as users do: by its chart, on nodes that have nothing of it
    #[arg(long)]
    installed: bool,
}

/// Does one of them.
pub(crate) fn run(root: &Path, arguments: ClusterArgs) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("a cluster is made of namespaces and control groups: run this as root");
    }
    let folder = arguments
        .folder
        .unwrap_or_else(|| root.join("target/cluster"));
    match arguments.task {
        ClusterTask::Up(plan) => up(root, &folder, &plan),
        ClusterTask::Down => down(&folder),
        ClusterTask::Run { on, command } => run_in(&folder, on.as_deref(), &command),
        ClusterTask::Test { report, keep, only } => test_on_its_own(
            root,
            &test::Wish {
                report,
                only,
                keep: keep.then_some(folder),
            },
        ),
        ClusterTask::Conformance {
            report,
            focus,
            runs,
            keep,
        } => conformance::run(
            root,
            &conformance::Wish {
                report,
                focus,
                runs,
                keep: keep.then_some(folder),
            },
        ),
        ClusterTask::Hold(plan) => keeper::hold(&folder, &plan),
    }
}

/// Tells all stories, for whoever has brought everything else that they need.
pub(crate) fn test(programs: &Path) -> Result<()> {
    images::write_for_cluster(programs, &testkit::programs::images())?;
    test::run(&test::Wish::default())
}

fn test_on_its_own(root: &Path, wish: &test::Wish) -> Result<()> {
    prepare(root)?;
    test::run(wish)
}

fn up(root: &Path, folder: &Path, plan: &Plan) -> Result<()> {
    if let Some(state) = State::of_running(folder)? {
        bail!(
            "a cluster with {} is running already: `cargo xtask cluster down` stops it",
            count(state.nodes)
        );
    }
    prepare(root)?;
    let begun = Instant::now();
    let state = keeper::start(folder, plan)?;
    say(&format!(
        "a cluster with {} is up ({:.1} s)\n  \
         cargo xtask cluster run -- kubectl get nodes\n  \
         cargo xtask cluster run --on laptop -- nival init\n  \
         cargo xtask cluster down",
        count(state.nodes),
        begun.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn count(nodes: u8) -> String {
    match nodes {
        1 => "one node".to_owned(),
        nodes => format!("{nodes} nodes"),
    }
}

/// Brings what a cluster is made of, and clears away what a killed one left.
fn prepare(root: &Path) -> Result<()> {
    setup::run()?;
    let programs = build::programs(root)?;
    images::write_for_cluster(&programs, &testkit::programs::images())?;
    testkit::sweep();
    Ok(())
}

fn down(folder: &Path) -> Result<()> {
    match State::of_running(folder)? {
        Some(state) => {
            keeper::stop(&state)?;
            say("the cluster is gone");
        }
        None => say("no cluster is running"),
    }
    State::forget(folder)?;
    // Also after a crash, when there is nobody left to clean up, and what was killed may still be on its way out.
    Ok(testkit::poll(
        "what a killed cluster left to be gone",
        || Ok(testkit::sweep().then_some(())),
    )?)
}

fn run_in(folder: &Path, on: Option<&str>, words: &[OsString]) -> Result<()> {
    let state = State::of_running(folder)?
        .context("no cluster is running: `cargo xtask cluster up` starts one")?;
    let place = on.unwrap_or(state::OUTSIDE);
    let prefix = state.places.get(place).with_context(|| {
        let names: Vec<&str> = state.machines().collect();
        format!(
            "the cluster has no machine {place}: it has {}",
            names.join(", ")
        )
    })?;
    let (program, arguments) = prefix.split_first().context("an empty command")?;
    let status = Command::new(program)
        .args(arguments)
        .args(words)
        .status()
        .with_context(|| format!("starting {program}"))?;
    if !status.success() {
        bail!("{} ended with {status}", words[0].display());
    }
    Ok(())
}
