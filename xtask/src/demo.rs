//! The whole story of Nival, told by the real programs on machines that are namespaces.

mod chapters;
mod kubernetes;
mod story;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::{build, images, say, setup};
use chapters::Stage;
use story::Story;

/// Tells the story, on one node or on a cluster; writes it to `report` as JSON too.
pub(crate) fn run(root: &Path, report: Option<&PathBuf>, on_kubernetes: bool) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the demo makes namespaces and mounts: run it as root");
    }
    let mut story = Story::default();
    story.chapter(1, "Set-up, in a private folder");
    let begun = Instant::now();
    setup::run()?;
    story.took(
        "set-up of the real parts",
        "cargo xtask setup",
        begun.elapsed(),
    );
    let begun = Instant::now();
    if on_kubernetes {
        images::build(root, &testkit::programs::images())?;
    } else {
        build::programs(root)?;
    }
    story.took(
        "programs, as they ship",
        "cargo xtask build",
        begun.elapsed(),
    );

    let begun = Instant::now();
    let told = if on_kubernetes {
        kubernetes::tell(&mut story)
    } else {
        tell(&mut story)
    };
    if let Some(report) = report {
        let text = serde_json::to_vec_pretty(&story).context("writing the report")?;
        host::fs::write_atomic(report, &text)?;
        say(&format!("report: {}", report.display()));
    }
    told?;
    say(&format!(
        "\nThe story took {:.0} s.",
        begun.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn tell(story: &mut Story) -> Result<()> {
    let mut stage = Stage::new(story)?;
    stage.declare(story)?;
    stage.laptop(story)?;
    stage.publish(story)?;
    stage.start_node(story)?;
    stage.pod(story)?;
    stage.no_rebuild(story)?;
    stage.rollback(story)?;
    stage.refusals(story)?;
    stage.surface(story)?;
    stage.summary(story)
}
