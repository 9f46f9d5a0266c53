//! What is measured, always against a baseline in the same run: this and its rival in turn, medians and their ratio.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use fs_err as fs;
use testkit::{BUSYBOX, HUB_ADDRESS, Node, PLACEHOLDER, PodSpec, Stack};

/// Nival's own.
pub(crate) const NIVAL_SHIM: &str = "containerd-shim-nival-v2";

/// Time from nothing to a container that has run `true`, with all content on the node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Starts {
    pub(crate) nival_ms: f64,
    pub(crate) runc_ms: f64,
    pub(crate) ratio: f64,
}

/// A running shim of a pod with one container.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shim {
    pub(crate) pss_kib: u64,
    pub(crate) rss_kib: u64,
    pub(crate) threads: u64,
    pub(crate) program_kib: u64,
}

/// The processes that a node runs for Nival, and the Go shim beside them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) shim: Shim,
    pub(crate) go: Shim,
    pub(crate) agent_peak_kib: u64,
}

/// Time to fetch a closure into an empty store from one and the same cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cold {
    pub(crate) nival_s: f64,
    pub(crate) nix_s: f64,
    pub(crate) ratio: f64,
}

/// Measures warm starts: sandbox, container, start and the end of `true`, by the same `crictl`.
pub(crate) fn starts(node: &Node, environment: &str, runs: usize) -> Result<Starts> {
    let nival = PodSpec::with_environment("warm", environment);
    let runc = PodSpec::plain("plain", "runc");
    let (mut nival_times, mut runc_times) = (Vec::new(), Vec::new());
    // The first of each warms the caches and is not counted.
    for run in 0..=runs {
        let plain = start(node, &runc, BUSYBOX, &["/bin/true"])?;
        let own = start(node, &nival, PLACEHOLDER, &["python3", "-c", ""])?;
        if run > 0 {
            runc_times.push(plain);
            nival_times.push(own);
        }
    }
    Ok(Starts::new(&nival_times, &runc_times))
}

/// Measures starts of one and the same ordinary pod: what the shims themselves take.
pub(crate) fn plain_starts(node: &Node, runs: usize) -> Result<Starts> {
    let nival = PodSpec::plain("same", "nival");
    let runc = PodSpec::plain("same", "runc");
    let (mut nival_times, mut runc_times) = (Vec::new(), Vec::new());
    for run in 0..=runs {
        let plain = start(node, &runc, BUSYBOX, &["/bin/true"])?;
        let own = start(node, &nival, BUSYBOX, &["/bin/true"])?;
        if run > 0 {
            runc_times.push(plain);
            nival_times.push(own);
        }
    }
    Ok(Starts::new(&nival_times, &runc_times))
}

impl Starts {
    pub(crate) fn new(nival: &[Duration], runc: &[Duration]) -> Self {
        Self {
            nival_ms: median(nival) * 1e3,
            runc_ms: median(runc) * 1e3,
            ratio: ratio(nival, runc),
        }
    }
}

/// Returns the time until the container is started; its end and removal are not counted.
fn start(node: &Node, spec: &PodSpec, image: &str, command: &[&str]) -> Result<Duration> {
    let begun = Instant::now();
    let pod = node.run_pod(spec)?;
    let container = pod.container("main", image, command)?;
    let took = begun.elapsed();
    let code = pod.wait(&container)?;
    pod.remove()?;
    if code != 0 {
        bail!("a measured container ended with exit code {code}");
    }
    Ok(took)
}

/// Measures memory while so many pods of each kind run: they share their program.
pub(crate) fn memory(node: &Node, environment: &str, pods: usize) -> Result<Memory> {
    let mut running_pods = Vec::new();
    for number in 0..pods {
        let nival = PodSpec::with_environment(&format!("own{number}"), environment);
        let nival = node.run_pod(&nival)?;
        let command = ["python3", "-c", "import time; time.sleep(600)"];
        nival.container("main", PLACEHOLDER, &command)?;
        let runc = node.run_pod(&PodSpec::plain(&format!("other{number}"), "runc"))?;
        runc.container("main", BUSYBOX, &["/bin/sleep", "600"])?;
        running_pods.extend([nival, runc]);
    }
    let shim = running(node, NIVAL_SHIM)?;
    let go = running(node, "containerd-shim-runc-v2")?;
    let agent = node.agent_process().context("the agent runs")?;
    let agent_peak_kib = field(Path::new(&format!("/proc/{agent}/status")), "VmHWM:")?;
    for pod in running_pods {
        pod.remove()?;
    }
    Ok(Memory {
        shim,
        go,
        agent_peak_kib,
    })
}

/// Measures the shims of a node's pods that this program serves: the mean of all.
pub(crate) fn running(node: &Node, program: &str) -> Result<Shim> {
    let processes = node.machine().processes(program);
    let count = u64::try_from(processes.len())?;
    if count == 0 {
        bail!("{program} does not run");
    }
    let mut sum = Shim::default();
    for process in processes {
        let folder = Path::new("/proc").join(process.to_string());
        let rollup = folder.join("smaps_rollup");
        sum.pss_kib += field(&rollup, "Pss:")?;
        sum.rss_kib += field(&rollup, "Rss:")?;
        sum.threads += field(&folder.join("status"), "Threads:")?;
        sum.program_kib += fs::metadata(folder.join("exe"))?.len() >> 10;
    }
    Ok(Shim {
        pss_kib: sum.pss_kib / count,
        rss_kib: sum.rss_kib / count,
        threads: sum.threads.div_ceil(count),
        program_kib: sum.program_kib / count,
    })
}

fn field(path: &Path, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path)?;
    let value = text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    });
    value.with_context(|| format!("{} has no {name}", path.display()))
}

/// Measures cold fetches: `nival-agent` into an empty store, `nix copy` into an empty store, in turn.
pub(crate) fn cold(stack: &Stack, node: &Node, reference: &str, runs: usize) -> Result<Cold> {
    let (laptop, hub) = (&stack.laptop, HUB_ADDRESS);
    let record = stack.record(reference)?;
    let environment = record["systems"]["x86_64-linux"]["environment"].as_str();
    let environment = environment.context("the record has an environment")?;
    let owner = reference
        .split('/')
        .next()
        .context("a reference has an owner")?;
    let (mut nival_times, mut nix_times) = (Vec::new(), Vec::new());
    for run in 0..=runs {
        // Each run has a folder of its own, and none is removed before the end: for five seconds after many files were
        // removed, ext4 looks long for numbers for new ones, and whoever comes next would pay.
        let nix = laptop.shell(&format!(
            "begun=$(date +%s%N); nix copy --from http://{hub}/cache/{owner} --to /root/cold-{run} --no-check-sigs {environment} >&2; \
             echo $(( $(date +%s%N) - begun ))"
        ))?;
        let nival = node.machine().shell(&format!(
            "sed '/^state\\|^socket/d' /etc/nival/agent.toml > /run/cold.toml; \
             nival-agent serve --config /run/cold.toml --state /var/lib/cold-{run} --socket /run/cold.sock 2>/run/cold.log & agent=$!; \
             until [ -S /run/cold.sock ] && nival-agent status --socket /run/cold.sock >/dev/null 2>&1; do :; done; \
             begun=$(date +%s%N); nival-agent prefetch --socket /run/cold.sock {reference} >&2; echo $(( $(date +%s%N) - begun )); \
             kill $agent; wait $agent || true"
        ))?;
        if run > 0 {
            nix_times.push(nanoseconds(&nix)?);
            nival_times.push(nanoseconds(&nival)?);
        }
    }
    laptop.shell("chmod -R u+w /root/cold-*; rm -rf /root/cold-*")?;
    node.machine().shell("rm -rf /var/lib/cold-*")?;
    let (nival_s, nix_s) = (median(&nival_times), median(&nix_times));
    Ok(Cold {
        nival_s,
        nix_s,
        ratio: ratio(&nival_times, &nix_times),
    })
}

fn nanoseconds(text: &str) -> Result<Duration> {
    let number = text.split_whitespace().find_map(|word| word.parse().ok());
    Ok(Duration::from_nanos(
        number.with_context(|| format!("no time in {text:?}"))?,
    ))
}

/// Returns the median in seconds.
pub(crate) fn median(times: &[Duration]) -> f64 {
    middle(times.iter().map(Duration::as_secs_f64).collect())
}

/// Returns the median of the ratios pair by pair: it holds when the machine's speed drifts.
pub(crate) fn ratio(own: &[Duration], other: &[Duration]) -> f64 {
    middle(
        own.iter()
            .zip(other)
            .map(|(own, other)| own.as_secs_f64() / other.as_secs_f64())
            .collect(),
    )
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_taken_pair_by_pair() {
        let times = |values: &[u64]| {
            values
                .iter()
                .map(|one| Duration::from_millis(*one))
                .collect::<Vec<_>>()
        };
        assert!((ratio(&times(&[10, 100, 30]), &times(&[10, 50, 10])) - 2.0).abs() < 1e-9);
        assert!((median(&times(&[30, 10, 20])) - 0.02).abs() < 1e-9);
    }
}
