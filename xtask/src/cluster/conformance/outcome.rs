//! What the suite's own report says of each spec.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use fs_err as fs;
use serde::{Deserialize, Serialize};

/// How a spec ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Passed,
    Failed,
    Skipped,
}

impl Verdict {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What came of a spec in one run.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) seconds: f64,
    /// In one line.
    pub(super) reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Suite {
    spec_reports: Vec<SpecReport>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SpecReport {
    #[serde(default)]
    container_hierarchy_texts: Option<Vec<String>>,
    leaf_node_type: String,
    leaf_node_text: String,
    state: String,
    run_time: u64,
    num_attempts: u64,
    #[serde(default)]
    failure: Failure,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Failure {
    message: String,
}

/// Reads a report. Specs that the focus left out are not in it.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Outcome>> {
    parse(&fs::read(path)?).with_context(|| format!("reading {}", path.display()))
}

fn parse(text: &[u8]) -> Result<BTreeMap<String, Outcome>> {
    let suites: Vec<Suite> = serde_json::from_slice(text)?;
    let reports = suites.into_iter().flat_map(|suite| suite.spec_reports);
    let chosen = reports.filter(|report| report.leaf_node_type == "It" && was_chosen(report));
    Ok(chosen.map(outcome).collect())
}

/// One that skips itself says why; one that was never to run says nothing.
fn was_chosen(report: &SpecReport) -> bool {
    report.num_attempts > 0 || !report.failure.message.is_empty()
}

fn outcome(report: SpecReport) -> (String, Outcome) {
    let mut texts = report.container_hierarchy_texts.unwrap_or_default();
    texts.push(report.leaf_node_text);
    let verdict = match &*report.state {
        "passed" => Verdict::Passed,
        "skipped" | "pending" => Verdict::Skipped,
        _ => Verdict::Failed,
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 microseconds")]
    let seconds = (report.run_time / 1_000_000) as f64 / 1_000.0;
    let words: Vec<&str> = report.failure.message.split_whitespace().collect();
    let outcome = Outcome {
        verdict,
        seconds,
        reason: words.join(" ").chars().take(300).collect(),
    };
    (texts.join(" "), outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_named_by_all_their_texts_and_left_out_ones_are_not_there() {
        let text = br#"[{"SpecReports": [
            {"ContainerHierarchyTexts": null, "LeafNodeType": "SynchronizedBeforeSuite", "LeafNodeText": "",
             "State": "passed", "RunTime": 5, "NumAttempts": 1},
            {"ContainerHierarchyTexts": ["[sig-node] Pods"], "LeafNodeType": "It", "LeafNodeText": "should start",
             "State": "passed", "RunTime": 2500000000, "NumAttempts": 1},
            {"ContainerHierarchyTexts": ["[sig-node] Pods"], "LeafNodeType": "It", "LeafNodeText": "should stop",
             "State": "timedout", "RunTime": 1, "NumAttempts": 1, "Failure": {"Message": "it\n  went on"}},
            {"ContainerHierarchyTexts": ["[sig-apps] Job"], "LeafNodeType": "It", "LeafNodeText": "is not chosen",
             "State": "skipped", "RunTime": 0, "NumAttempts": 0, "Failure": {"Message": ""}}
        ]}]"#;
        let outcomes = parse(text).unwrap();
        assert_eq!(outcomes.len(), 2);
        let started = &outcomes["[sig-node] Pods should start"];
        assert_eq!(started.verdict, Verdict::Passed);
        assert!((started.seconds - 2.5).abs() < 1e-9);
        let stopped = &outcomes["[sig-node] Pods should stop"];
        assert_eq!(
            (stopped.verdict, &*stopped.reason),
            (Verdict::Failed, "it went on")
        );
    }
}
