//! Many pod cycles on real containerd, failures at every step among them: nothing may be left behind.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::{build, ci, setup};

/// Sets up, builds the programs, and plays so many cycles.
pub(crate) fn run(root: &Path, cycles: usize) -> Result<()> {
    setup::run()?;
    let programs = build::programs(root)?;
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["test", "--package", "e2e", "--test", "it", "--locked", "--"])
        .args(["--exact", "leaks::pod_cycles_leave_nothing_behind"])
        .arg("--nocapture")
        .current_dir(root)
        .env("NIVAL_PROGRAMS", programs)
        .env("NIVAL_SOAK_CYCLES", cycles.to_string())
        .env("REQUIRE_ALL", "1");
    ci::status_of(&mut command)
}
