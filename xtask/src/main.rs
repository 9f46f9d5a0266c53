//! The project's own tasks, each in a file of its name.

#![expect(clippy::print_stderr, reason = "a tool talks to its user")]

mod bench;
mod budget;
mod build;
mod ci;
mod cluster;
mod demo;
mod documents;
mod generate;
mod images;
mod layers;
mod measure;
mod metadata;
mod namespace;
mod oci;
mod setup;
mod soak;
mod tidy;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// The project's own tasks.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Bring the real parts (containerd, runc, CNI plugins, Nix, test packages) into a private folder
    Setup,
    /// Run a command where /nix is the set-up folder's
    Laptop {
        /// The command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Run a command where there is no Nix
    Node {
        /// The command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Build the programs as they ship: static and optimised
    Build,
    /// Build the images of agent, operator and hub as OCI archives, the same bytes every time
    Images {
        /// Where the archives are written
        #[arg(long, value_name = "FOLDER", default_value = "target/images")]
        out: PathBuf,
    },
    /// Set up, then tell the whole story by the real programs
    Demo {
        /// Tell it on a Kubernetes with two nodes, which Nival is installed in
        #[arg(long)]
        kubernetes: bool,
        /// Write the story as JSON too
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// Set up, then run every check and every test (the same as `ci`)
    Test,
    /// Set up, then run every check and every test
    Ci,
    /// Check that crates depend only on lower floors
    Layers,
    /// Check licences, opening sentences and other house rules
    Tidy,
    /// Write what is made from code: command reference, diagram, definitions of resources, plain manifests
    Gen {
        /// Only compare
        #[arg(long)]
        check: bool,
    },
    /// Check the size of the shim
    Budget,
    /// A real Kubernetes on this machine: start, stop, use it
    Cluster(cluster::ClusterArgs),
    /// Play many pod cycles, failures at every step among them, and look for what they leave behind
    Soak {
        /// Counted pods
        #[arg(long, default_value_t = 1000)]
        cycles: usize,
    },
    /// Measure on real parts and write docs/BENCHMARKS.md
    Bench {
        /// Counted runs of each
        #[arg(long, default_value_t = 9)]
        runs: usize,
    },
}

fn main() -> ExitCode {
    match run(Task::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    match task {
        Task::Setup => setup::run(),
        Task::Laptop { command } => namespace::run_with_nix(&command),
        Task::Node { command } => namespace::run_without_nix(&command),
        Task::Build => build::programs(root).map(|folder| say(&folder.display().to_string())),
        Task::Images { out } => images::build(root, &out),
        Task::Demo { kubernetes, report } => demo::run(root, report.as_ref(), kubernetes),
        Task::Test | Task::Ci => ci::run(root),
        Task::Layers => layers::check(root),
        Task::Tidy => tidy::check(root),
        Task::Gen { check: true } => generate::check(root),
        Task::Gen { check: false } => generate::write(root),
        Task::Budget => budget::check(root),
        Task::Cluster(arguments) => cluster::run(root, arguments),
        Task::Soak { cycles } => soak::run(root, cycles),
        Task::Bench { runs } => bench::run(root, runs),
    }
}

/// Talks to whoever runs the task.
fn say(line: &str) {
    eprintln!("{line}");
}
