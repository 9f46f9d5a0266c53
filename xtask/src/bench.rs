//! Measures on real parts and writes the figures to `docs/BENCHMARKS.md`.

mod operator;
mod pods;
mod rollout;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use fs_err as fs;
use serde_json::json;
use testkit::{ClusterNode, ClusterOptions, Stack};

use crate::{images, measure, say, setup};

/// Pods of each kind whose shims are measured.
const PODS: usize = 8;
const BEGIN: &str = "<!-- written by `cargo xtask bench`: begin -->";
const END: &str = "<!-- written by `cargo xtask bench`: end -->";

/// Measures rollouts and starts of pods on a cluster of their own.
fn on_a_cluster(runs: usize) -> Result<(rollout::Rollouts, measure::Starts)> {
    let stack = Stack::start_for_cluster()?;
    let options = ClusterOptions {
        nodes: vec![ClusterNode::default(); 2],
        ..ClusterOptions::default()
    };
    let cluster = stack.installed_cluster(options, &json!({}))?;
    let rollouts = rollout::run(&stack, &cluster)?;
    let starts = pods::starts(&cluster, rollout::ENVIRONMENT, runs)?;
    Ok((rollouts, starts))
}

/// Runs all benchmarks.
pub(crate) fn run(root: &Path, runs: usize) -> Result<()> {
    setup::run_with_rival()?;
    images::build(root, &testkit::programs::images())?;
    let (rollouts, pods) = on_a_cluster(runs)?;
    let controller = operator::memory()?;
    let stack = Stack::start()?;
    stack.make_key()?;
    stack.publish("app", "python3 numpy redis", "--public")?;
    let node = stack.node("node", "")?;
    let starts = measure::starts(&node, "demo/app", runs)?;
    let plain = measure::plain_starts(&node, runs)?;
    let memory = measure::memory(&node, "demo/app", PODS)?;
    let cold = measure::cold(&stack, &node, "demo/app:1", runs)?;

    let mut table =
        String::from("| what | Nival | baseline | ratio | aim |\n|---|---|---|---|---|\n");
    writeln!(
        table,
        "| warm start (python3 in the pod against `true` of busybox with plain runc) | {:.0} ms | {:.0} ms | {:.2} | ≤ 1.10 |",
        starts.nival_ms, starts.runc_ms, starts.ratio
    )?;
    writeln!(
        table,
        "| cold fetch of python3 + numpy + redis (against `nix copy`) | {:.2} s | {:.2} s | {:.2} | ≤ 1.00 |",
        cold.nival_s, cold.nix_s, cold.ratio
    )?;
    writeln!(
        table,
        "| start of the same ordinary pod (against the Go shim) | {:.0} ms | {:.0} ms | {:.2} | ≤ 1.00 |",
        plain.nival_ms, plain.runc_ms, plain.ratio
    )?;
    writeln!(
        table,
        "| a change serving on 10 replicas (against image build + push + pull + rollout, medians of {}) | {:.1} s | {:.1} s | {:.2} | |",
        rollouts.runs, rollouts.nival_s, rollouts.image_s, rollouts.ratio
    )?;
    writeln!(
        table,
        "| pod start on the kubelet's clock (python3 in the pod against busybox with plain runc) | {:.0} ms | {:.0} ms | {:.2} | ≤ 1.10 |",
        pods.nival_ms, pods.runc_ms, pods.ratio
    )?;
    let (own, go) = (memory.shim, memory.go);
    for (what, own, go, unit, aim) in [
        ("PSS", own.pss_kib, go.pss_kib, " KiB", "≤ 0.33"),
        ("RSS", own.rss_kib, go.rss_kib, " KiB", ""),
        ("threads", own.threads, go.threads, "", ""),
        ("program", own.program_kib, go.program_kib, " KiB", ""),
    ] {
        #[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
        let ratio = own as f64 / go as f64;
        writeln!(
            table,
            "| shim: {what} (against the Go shim) | {own}{unit} | {go}{unit} | {ratio:.2} | {aim} |"
        )?;
    }
    writeln!(
        table,
        "| agent, peak after the cold fetch | {} KiB | | | |",
        memory.agent_peak_kib
    )?;
    writeln!(
        table,
        "| controller, peak with {} workloads and {} environments | {} KiB (in the end {} KiB) | | | |",
        controller.workloads, controller.environments, controller.peak_kib, controller.rss_kib
    )?;
    writeln!(
        table,
        "\nMedians of {runs} runs, baseline and Nival in turn; the ratio is the median of the pairs' ratios. Shims: the mean of {PODS} pods of each kind."
    )?;
    table.lines().for_each(say);

    let path = root.join("docs/BENCHMARKS.md");
    let text = fs::read_to_string(&path)?;
    let (before, rest) = text
        .split_once(BEGIN)
        .context("the page lacks the begin mark")?;
    let (_, after) = rest
        .split_once(END)
        .context("the page lacks the end mark")?;
    host::fs::write_atomic(
        &path,
        format!("{before}{BEGIN}\n{table}{END}{after}").as_bytes(),
    )?;
    Ok(())
}
