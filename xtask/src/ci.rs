//! Everything that must hold before a change lands, in the order in which it fails fastest.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::{budget, build, cluster, generate, layers, say, setup, tidy};

/// Runs all checks and all tests.
pub(crate) fn run(root: &Path) -> Result<()> {
    let begun = Instant::now();
    step("fmt", || cargo(root, &["fmt", "--all", "--check"]))?;
    step("layers", || layers::check(root))?;
    step("tidy", || tidy::check(root))?;
    step("clippy", || {
        cargo(
            root,
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--all-features",
                "--locked",
                "--",
                "-D",
                "warnings",
            ],
        )
    })?;
    step("setup", setup::run)?;
    step("gen --check", || generate::check(root))?;
    let mut programs = None;
    step("programs", || {
        programs = Some(build::programs(root)?);
        Ok(())
    })?;
    step("budget", || budget::check(root))?;
    let programs = programs.context("the programs were built")?;
    step("tests", || test(root, &programs))?;
    step("cluster", || stories(&programs))?;
    step("doc", || doc(root))?;
    say(&format!("all green in {:.0?}", begun.elapsed()));
    Ok(())
}

/// Runs all tests against programs that are built. Where this runs as root nothing may be skipped.
pub(crate) fn test(root: &Path, programs: &Path) -> Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args([
            "test",
            "--workspace",
            "--all-features",
            "--locked",
            "--no-fail-fast",
        ])
        .current_dir(root)
        .env("NIVAL_PROGRAMS", programs);
    if rustix::process::geteuid().is_root() {
        command.env("REQUIRE_ALL", "1");
    }
    status_of(&mut command)
}

/// Tells the cluster's stories, where that is possible.
fn stories(programs: &Path) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return cluster::test(programs);
    }
    say("SKIPPED the cluster's stories: namespaces and control groups need root");
    Ok(())
}

fn doc(root: &Path) -> Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["doc", "--workspace", "--no-deps", "--locked", "--quiet"])
        .current_dir(root);
    status_of(command.env("RUSTDOCFLAGS", "-D warnings"))
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    say(&format!("== {name}"));
    let begun = Instant::now();
    work().with_context(|| format!("{name} failed"))?;
    say(&format!("== {name}: ok in {:.1?}", begun.elapsed()));
    Ok(())
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    status_of(
        Command::new(env!("CARGO"))
            .args(arguments)
            .current_dir(root),
    )
}

/// Runs a command to its end, and fails when it does.
pub(crate) fn status_of(command: &mut Command) -> Result<()> {
    let line = host::process::command_line(command);
    let status = command
        .status()
        .with_context(|| format!("starting {line}"))?;
    if !status.success() {
        bail!("{line} ended with {status}");
    }
    Ok(())
}
