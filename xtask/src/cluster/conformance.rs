//! Kubernetes' own conformance suite, judging runc, Nival as everybody's runtime, and pods from environments.

mod environments;
mod outcome;
mod page;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use fs_err as fs;
use serde::Serialize;
use testkit::{Cluster, ClusterNode, ClusterOptions, Stack};

use crate::say;
use outcome::{Outcome, Verdict};

/// The specs about nodes that every conforming cluster has to pass.
pub(super) const FOCUS: &str = r"\[sig-node\].*\[NodeConformance\].*\[Conformance\]";
/// More workers than processors: most specs wait for a pod.
const WORKERS: u8 = 8;

/// One way to run every pod of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Run {
    /// By runc through containerd's own shim.
    Runc,
    /// By Nival's shim, the only one on the node.
    Nival,
    /// By Nival's shim, each pod from an environment with the programs of the image that it names.
    Environment,
}

const RUNS: [Run; 3] = [Run::Runc, Run::Nival, Run::Environment];

impl Run {
    fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Nival => "nival",
            Self::Environment => "environment",
        }
    }
}

/// What `--report` writes.
#[derive(Debug, Serialize)]
struct Report {
    specs: Vec<Spec>,
}

/// What came of one spec.
#[derive(Debug, Serialize)]
struct Spec {
    name: String,
    runc: Verdict,
    nival: Verdict,
    environment: Verdict,
    /// Of all runs together.
    seconds: f64,
    /// Why it did not pass somewhere.
    reason: String,
}

/// What is asked for.
pub(super) struct Wish {
    pub(super) report: Option<PathBuf>,
    pub(super) focus: String,
    /// Which of the runs; all where it is empty.
    pub(super) runs: Vec<Run>,
    /// The folder of the last cluster, where it is left running.
    pub(super) keep: Option<PathBuf>,
}

impl Wish {
    fn wants(&self, run: Run) -> bool {
        self.runs.is_empty() || self.runs.contains(&run)
    }
}

/// Judges all three, one after another.
pub(super) fn run(root: &Path, wish: &Wish) -> Result<()> {
    crate::setup::run_with_conformance()?;
    super::prepare(root)?;
    let logs = root.join("target/conformance");
    let mut outcomes = BTreeMap::new();
    let mut last = None;
    for run in RUNS.into_iter().filter(|run| wish.wants(*run)) {
        let begun = Instant::now();
        // The one before ends here, so that there is only one at a time.
        drop(last.take());
        let (outcome, cluster) = judge(run, wish, &logs.join(run.name()))?;
        last = Some(cluster);
        let passed = count(&outcome, Verdict::Passed);
        say(&format!(
            "{}: {passed} of {} specs passed ({:.0} s)",
            run.name(),
            outcome.len(),
            begun.elapsed().as_secs_f64()
        ));
        outcomes.insert(run, outcome);
    }
    let report = compare(&outcomes);
    tell(&report);
    if let Some(path) = &wish.report {
        let text = serde_json::to_vec_pretty(&report).context("writing the report")?;
        host::fs::write_atomic(path, &text)?;
        say(&format!("report: {}", path.display()));
    }
    if wish.focus == FOCUS && outcomes.len() == RUNS.len() {
        page::write(root, &report)?;
    }
    if let (Some(folder), Some((cluster, stack))) = (&wish.keep, last) {
        say("the last cluster is kept until `cargo xtask cluster down`, said elsewhere");
        super::keeper::hold_cluster(folder, cluster, stack)?;
    }
    let worse = |spec: &&Spec| {
        let nival = wish.wants(Run::Nival) && spec.nival != Verdict::Passed;
        let environment = wish.wants(Run::Environment) && spec.environment == Verdict::Failed;
        // What runc was not asked about has to hold all the same.
        let expected = !wish.wants(Run::Runc) || spec.runc == Verdict::Passed;
        expected && (nival || environment)
    };
    let worse: Vec<&Spec> = report.specs.iter().filter(worse).collect();
    if !worse.is_empty() {
        bail!("{} specs that should pass do not with Nival", worse.len());
    }
    Ok(())
}

fn count(outcome: &BTreeMap<String, Outcome>, verdict: Verdict) -> usize {
    outcome
        .values()
        .filter(|one| one.verdict == verdict)
        .count()
}

/// A cluster that the suite ran on, with what it stands on.
type Judged = (Cluster, Stack);

/// Runs the suite on a cluster of its own and returns what came of each spec.
fn judge(run: Run, wish: &Wish, logs: &Path) -> Result<(BTreeMap<String, Outcome>, Judged)> {
    let stack = Stack::start_for_cluster()?;
    let images = testkit::setup::dir().join("conformance/images");
    let cluster = stack.cluster(ClusterOptions {
        nodes: vec![ClusterNode {
            images: Some(images),
            only_nival: run != Run::Runc,
            ..ClusterNode::default()
        }],
        default_runtime: if run == Run::Runc { "runc" } else { "nival" },
        ..ClusterOptions::default()
    })?;
    if run == Run::Environment {
        environments::publish(&stack)?;
        environments::map_images(&cluster)?;
    }
    fs::create_dir_all(logs)?;
    let kubeconfig = logs.join("kubeconfig");
    host::fs::write_atomic_private(&kubeconfig, cluster.kubeconfig().as_bytes())?;
    let report = logs.join("report.json");
    if report.exists() {
        fs::remove_file(&report)?;
    }
    let programs = testkit::setup::dir().join("e2e/bin");
    let log = fs::File::create(logs.join("suite.log"))?.into_file();
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", stack.world.network().display()))
        .arg(programs.join("ginkgo"))
        .args([
            &format!("--procs={WORKERS}"),
            &format!("--focus={}", wish.focus),
            "--no-color",
            "--timeout=40m",
            "--json-report=report.json",
        ])
        .arg(format!("--output-dir={}", logs.display()))
        .arg(programs.join("e2e.test"))
        .args(["--", "--provider=skeleton", "--allowed-not-ready-nodes=1"])
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .current_dir(logs);
    let status = command.status().context("starting the suite")?;
    let outcome = outcome::read(&report).with_context(|| {
        format!(
            "the suite ended with {status} and no report: {}",
            logs.join("suite.log").display()
        )
    })?;
    if outcome.is_empty() {
        bail!("no spec has {:?} in its name", wish.focus);
    }
    Ok((outcome, (cluster, stack)))
}

fn compare(outcomes: &BTreeMap<Run, BTreeMap<String, Outcome>>) -> Report {
    let names: std::collections::BTreeSet<&String> =
        outcomes.values().flat_map(BTreeMap::keys).collect();
    let specs = names.into_iter().map(|name| {
        let of = |run: Run| outcomes.get(&run).and_then(|outcome| outcome.get(name));
        let verdict = |run| of(run).map_or(Verdict::Skipped, |outcome| outcome.verdict);
        let reasons = RUNS.into_iter().filter_map(|run| {
            let outcome = of(run)?;
            if outcome.verdict == Verdict::Passed {
                return None;
            }
            let explained = environments::explained(name).filter(|_| run == Run::Environment);
            let reason = explained.unwrap_or(&outcome.reason);
            Some(format!("{}: {reason}", run.name()))
        });
        let environment = match (verdict(Run::Environment), environments::explained(name)) {
            (Verdict::Failed, Some(_)) => Verdict::Skipped,
            (verdict, _) => verdict,
        };
        Spec {
            name: name.clone(),
            runc: verdict(Run::Runc),
            nival: verdict(Run::Nival),
            environment,
            seconds: RUNS
                .into_iter()
                .filter_map(of)
                .map(|outcome| outcome.seconds)
                .sum(),
            reason: reasons.collect::<Vec<_>>().join("; "),
        }
    });
    Report {
        specs: specs.collect(),
    }
}

fn tell(report: &Report) {
    say(&format!(
        "\n{:<11} {:<11} {:<11} spec",
        "runc", "nival", "environment"
    ));
    for spec in &report.specs {
        let (runc, nival) = (spec.runc.name(), spec.nival.name());
        say(&format!(
            "{runc:<11} {nival:<11} {:<11} {}",
            spec.environment.name(),
            spec.name
        ));
        if !spec.reason.is_empty() {
            say(&format!("    {}", spec.reason));
        }
    }
    let of = |verdict: fn(&Spec) -> Verdict| {
        let all = report.specs.iter();
        all.filter(|spec| verdict(spec) == Verdict::Passed).count()
    };
    say(&format!(
        "\npassed of {}: runc {}, nival {}, environment {}",
        report.specs.len(),
        of(|spec| spec.runc),
        of(|spec| spec.nival),
        of(|spec| spec.environment)
    ));
}
