//! The page that tells the last result to whoever has no time to run the suite.

use std::path::Path;

use anyhow::Result;

use super::outcome::Verdict;
use super::{Report, Spec};

const PAGE: &str = "docs/CONFORMANCE.md";

const HEAD: &str = "# Conformance

Written by `cargo xtask cluster conformance` (root; from nothing about half an hour on two processors), which builds
Kubernetes' own end-to-end suite and lets it judge, one after another, on a cluster of its own each:

- **runc**: every pod by containerd's own shim. This is the bar.
- **nival**: `containerd-shim-nival-v2` is containerd's default runtime, and no other shim is on the node.
- **environment**: the same, and an admission rule (`xtask/src/cluster/conformance/mapping.yaml`) puts every container
  of the suite's images onto the placeholder image and an environment with the same programs.

The specs are those about nodes that every conforming cluster has to pass (`[sig-node]`, `[NodeConformance]`,
`[Conformance]`). Images are made by the project under the names that the suite asks for: busybox from Debian, and
Kubernetes' own test programs from its Go module; no registry is asked.
";

/// Writes the page.
pub(super) fn write(root: &Path, report: &Report) -> Result<()> {
    let path = root.join(PAGE);
    host::fs::write_atomic(&path, text(report).as_bytes())?;
    crate::say(&format!("written: {}", path.display()));
    Ok(())
}

fn text(report: &Report) -> String {
    let total = report.specs.len();
    let row = |name: &str, of: fn(&Spec) -> Verdict| {
        let count = |verdict| {
            report
                .specs
                .iter()
                .filter(|spec| of(spec) == verdict)
                .count()
        };
        format!(
            "| {name} | {} of {total} | {} | {} |\n",
            count(Verdict::Passed),
            count(Verdict::Failed),
            count(Verdict::Skipped)
        )
    };
    let mut text = format!("{HEAD}\n| run | passed | failed | skipped |\n|---|---|---|---|\n");
    text += &row("runc", |spec| spec.runc);
    text += &row("nival", |spec| spec.nival);
    text += &row("environment", |spec| spec.environment);
    text += "\n## What did not pass everywhere\n\n";
    let mut all_passed = true;
    for spec in report.specs.iter().filter(|spec| !spec.reason.is_empty()) {
        all_passed = false;
        text += &format!("- {}\n  ({})\n", plain(&spec.name), plain(&spec.reason));
    }
    if all_passed {
        text += "Nothing.\n";
    }
    text += "\n## Specs\n\n| runc | nival | environment | spec |\n|---|---|---|---|\n";
    for spec in &report.specs {
        text += &format!(
            "| {} | {} | {} | {} |\n",
            spec.runc.name(),
            spec.nival.name(),
            spec.environment.name(),
            plain(&spec.name)
        );
    }
    text
}

/// Nothing in a name may end a cell of the table or begin a link.
fn plain(text: &str) -> String {
    text.replace('|', "\\|")
        .replace('[', "\\[")
        .replace('<', "\\<")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_counts_and_tells_what_did_not_pass() {
        let spec = |name: &str, environment, reason: &str| Spec {
            name: name.to_owned(),
            runc: Verdict::Passed,
            nival: Verdict::Passed,
            environment,
            seconds: 1.0,
            reason: reason.to_owned(),
        };
        let report = Report {
            specs: vec![
                spec("[sig-node] a", Verdict::Passed, ""),
                spec(
                    "[sig-node] b",
                    Verdict::Skipped,
                    "environment: no setuid | there",
                ),
            ],
        };
        let text = text(&report);
        assert!(text.contains("| environment | 1 of 2 | 0 | 1 |"), "{text}");
        assert!(text.contains("- \\[sig-node] b\n  (environment: no setuid \\| there)"));
        assert!(text.contains("| passed | passed | skipped | \\[sig-node] b |"));
    }
}
