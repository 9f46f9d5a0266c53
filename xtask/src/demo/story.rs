//! How the demo tells its story: each step with its commands, what came of them and the time they took.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde_json::Value;
use testkit::Machine;

use crate::say;

/// The story so far, as `--report` writes it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Story {
    steps: Vec<Step>,
    /// What was measured.
    pub(crate) figures: BTreeMap<&'static str, Value>,
}

#[derive(Debug, Serialize)]
struct Step {
    name: String,
    command: String,
    ok: bool,
    seconds: f64,
}

impl Story {
    /// Opens a chapter.
    #[expect(clippy::unused_self, reason = "the story is what tells")]
    pub(crate) fn chapter(&self, number: u32, title: &str) {
        say("");
        say(&format!("── {number}. {title} ──"));
    }

    /// Runs a command of a shell on a machine and returns what it printed.
    pub(crate) fn on(&mut self, machine: &Machine, name: &str, script: &str) -> Result<String> {
        let mut command = machine.command("sh")?;
        command.args(["-euc", script]);
        let (output, took) = timed(&mut command)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        self.tell(
            machine,
            name,
            script,
            output.status.success(),
            took,
            &format!("{text}{talk}"),
        );
        if !output.status.success() {
            bail!(
                "{name}: `{script}` on the {} failed: {text}{talk}",
                machine.kind()
            );
        }
        Ok(text)
    }

    /// Records something that was checked with no command of its own.
    pub(crate) fn check(&mut self, name: &str, holds: bool, what: &str) -> Result<()> {
        say(&format!("  {} {what}", if holds { "✓" } else { "✗" }));
        self.steps.push(Step {
            name: name.to_owned(),
            command: String::new(),
            ok: holds,
            seconds: 0.0,
        });
        if !holds {
            bail!("{name}: it does not hold that {what}");
        }
        Ok(())
    }

    /// Records a step that took some time.
    pub(crate) fn took(&mut self, name: &str, command: &str, took: Duration) {
        say(&format!("  $ {command}   ({:.2} s)", took.as_secs_f64()));
        let seconds = took.as_secs_f64();
        self.steps.push(Step {
            name: name.to_owned(),
            command: command.to_owned(),
            ok: true,
            seconds,
        });
    }

    fn tell(
        &mut self,
        machine: &Machine,
        name: &str,
        script: &str,
        ok: bool,
        took: Duration,
        text: &str,
    ) {
        let seconds = took.as_secs_f64();
        say(&format!(
            "  {}$ {script}   ({seconds:.2} s)",
            machine.kind()
        ));
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let shown = 8;
        lines
            .iter()
            .take(shown)
            .for_each(|line| say(&format!("      {line}")));
        if lines.len() > shown {
            say(&format!("      … {} more lines", lines.len() - shown));
        }
        self.steps.push(Step {
            name: name.to_owned(),
            command: script.to_owned(),
            ok,
            seconds,
        });
    }
}

fn timed(command: &mut Command) -> Result<(std::process::Output, Duration)> {
    let begun = Instant::now();
    let output = command
        .output()
        .context("starting a command on a machine")?;
    Ok((output, begun.elapsed()))
}
