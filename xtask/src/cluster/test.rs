//! Tells the cluster's stories one after another, each by the real programs, and says which held.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use cluster_stories::{Stage, Story, stories};
use serde::Serialize;

use crate::say;

/// What `--report` writes.
#[derive(Debug, Default, Serialize)]
struct Report {
    stories: Vec<Told>,
}

#[derive(Debug, Serialize)]
struct Told {
    name: &'static str,
    ok: bool,
    seconds: f64,
    /// Why it did not hold.
    reason: String,
}

/// Which stories are told, and what is done with what came of it.
#[derive(Default)]
pub(super) struct Wish {
    pub(super) report: Option<PathBuf>,
    /// The folder of the cluster that is left running afterwards.
    pub(super) keep: Option<PathBuf>,
    pub(super) only: Vec<String>,
}

/// Tells the stories on a cluster of their own.
pub(super) fn run(wish: &Wish) -> Result<()> {
    let chosen = choose(&wish.only)?;
    let begun = Instant::now();
    let mut stage = Stage::new().context("starting the stories' cluster")?;
    say(&format!(
        "a cluster with two nodes, a hub and a laptop are up ({:.1} s)",
        begun.elapsed().as_secs_f64()
    ));
    let mut report = Report::default();
    for story in chosen {
        report.stories.push(tell(&mut stage, story));
    }
    if let Some(path) = &wish.report {
        let text = serde_json::to_vec_pretty(&report).context("writing the report")?;
        host::fs::write_atomic(path, &text)?;
        say(&format!("report: {}", path.display()));
    }
    let failed = report.stories.iter().filter(|told| !told.ok).count();
    say(&format!(
        "{} passed, {failed} failed",
        report.stories.len() - failed
    ));
    if let Some(folder) = &wish.keep {
        super::keeper::hold_stage(folder, stage)?;
    }
    if failed > 0 {
        bail!("{failed} stories did not hold");
    }
    Ok(())
}

fn choose(only: &[String]) -> Result<Vec<Story>> {
    let all = stories();
    for part in only {
        if !all.iter().any(|story| story.name.contains(part)) {
            let names: Vec<&str> = all.iter().map(|story| story.name).collect();
            bail!("no story has {part:?} in its name: {}", names.join(", "));
        }
    }
    let wanted =
        |story: &Story| only.is_empty() || only.iter().any(|part| story.name.contains(part));
    Ok(all.into_iter().filter(wanted).collect())
}

fn tell(stage: &mut Stage, story: Story) -> Told {
    let begun = Instant::now();
    let result = stage.tell(story);
    let seconds = begun.elapsed().as_secs_f64();
    let reason = result.err().map(|failure| failure.to_string());
    match &reason {
        None => say(&format!("  ✓ {} ({seconds:.1} s)", story.name)),
        Some(reason) => say(&format!("  ✗ {} ({seconds:.1} s)\n{reason}", story.name)),
    }
    Told {
        name: story.name,
        ok: reason.is_none(),
        seconds,
        reason: reason.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn stories_are_told_apart_and_chosen_by_parts_of_their_names() {
        let all = stories();
        let names: BTreeSet<&str> = all.iter().map(|story| story.name).collect();
        assert_eq!(names.len(), all.len());
        let chosen = choose(&["restart".to_owned()]).unwrap();
        assert!(!chosen.is_empty() && chosen.len() < all.len());
        assert!(choose(&["no such story".to_owned()]).is_err());
    }
}
