//! Tells the cluster's stories one after another, each by the real programs, and says which held.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use cluster_stories::{Act, Stage, Story, acts};
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

/// Tells the stories, each act on a cluster of its own.
pub(super) fn run(wish: &Wish) -> Result<()> {
    let mut report = Report::default();
    let mut last = None;
    for act in choose(&wish.only)? {
        // One cluster at a time: the machine is small.
        drop(last.take());
        let begun = Instant::now();
        let mut stage = (act.begin)().with_context(|| format!("starting {}", act.name))?;
        say(&format!(
            "{}, a hub and a laptop are up ({:.1} s)",
            act.name,
            begun.elapsed().as_secs_f64()
        ));
        for story in act.stories {
            report.stories.push(tell(&mut stage, story));
        }
        last = Some(stage);
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
    if let (Some(folder), Some(stage)) = (&wish.keep, last) {
        super::keeper::hold_stage(folder, stage)?;
    }
    if failed > 0 {
        bail!("{failed} stories did not hold");
    }
    Ok(())
}

/// Returns the acts with those of their stories that are wanted.
fn choose(only: &[String]) -> Result<Vec<Act>> {
    let mut acts = acts();
    for part in only {
        let mut all = acts.iter().flat_map(|act| &act.stories);
        if !all.any(|story| story.name.contains(part)) {
            let names: Vec<&str> = names(&acts).collect();
            bail!("no story has {part:?} in its name: {}", names.join(", "));
        }
    }
    let wanted =
        |story: &Story| only.is_empty() || only.iter().any(|part| story.name.contains(part));
    for act in &mut acts {
        act.stories.retain(wanted);
    }
    acts.retain(|act| !act.stories.is_empty());
    Ok(acts)
}

fn names(acts: &[Act]) -> impl Iterator<Item = &'static str> {
    acts.iter()
        .flat_map(|act| act.stories.iter().map(|story| story.name))
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
        let all = acts();
        let different: BTreeSet<&str> = names(&all).collect();
        assert_eq!(different.len(), names(&all).count());
        let chosen = choose(&["restart".to_owned()]).unwrap();
        let told = names(&chosen).count();
        assert!(told > 0 && told < different.len());
        assert!(choose(&["no such story".to_owned()]).is_err());
    }
}
