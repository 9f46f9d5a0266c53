//! The last chapters: refusals, bill of materials, surface and figures.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use fs_err as fs;
use serde_json::{Value, json};
use testkit::{Hub, PodSpec, publish_script};

use super::{Stage, Story, closure_of, measure};
use crate::say;

impl Stage {
    pub(crate) fn refusals(&mut self, story: &mut Story) -> Result<()> {
        story.chapter(8, "Refusals: the pod does not start, and one line says why");
        story.on(
            &self.stack.laptop,
            "an environment to strip of its signature",
            &publish_script("unsigned", "redis", "--public"),
        )?;
        let stripped = strip_signatures(&self.stack.hub, "unsigned")?;
        story.check(
            "signatures stripped",
            stripped > 0,
            "somebody with access to the hub's disk removed the signature",
        )?;
        self.refuse(
            story,
            "unsigned",
            &PodSpec::with_environment("app", "demo/unsigned"),
            "is not signed",
        )?;

        story.on(
            &self.stack.laptop,
            "an environment to corrupt",
            &publish_script("corrupt", "greeting", "--public"),
        )?;
        let record = self.stack.record("demo/corrupt")?;
        let greeting = closure_of(&record)
            .into_iter()
            .find(|path| path.contains("greeting"));
        flip_bit(
            &self.stack.hub,
            &greeting.context("the closure has greeting")?,
        )?;
        self.refuse(
            story,
            "one corrupted NAR",
            &PodSpec::with_environment("app", "demo/corrupt"),
            "corrupt",
        )?;

        story.on(
            &self.stack.laptop,
            "a private environment",
            &publish_script("secret", "redis", ""),
        )?;
        let spec = PodSpec::with_environment("app", "demo/secret").in_namespace("strangers");
        self.refuse(
            story,
            "a private environment from a strange namespace",
            &spec,
            "strangers",
        )
    }

    fn refuse(&self, story: &mut Story, name: &str, spec: &PodSpec, cause: &str) -> Result<()> {
        let node = self.node.as_ref().context("the node runs")?;
        let error = match node.run_pod(spec) {
            Ok(pod) => {
                pod.remove()?;
                "it started".to_owned()
            }
            Err(error) => error.to_string(),
        };
        // The runtime's own words around it are the same for every cause.
        let line = error
            .lines()
            .find(|line| line.contains(cause))
            .unwrap_or(&error);
        let line = line
            .split_once("create shim task: ")
            .map_or(line, |(_, line)| line);
        say(&format!("      {}", line.trim_end_matches('"')));
        story.check(
            name,
            error.contains(cause),
            &format!("{name}: the pod did not start"),
        )
    }

    pub(crate) fn surface(&mut self, story: &mut Story) -> Result<()> {
        story.chapter(9, "Bill of materials and surface");
        let text = story.on(
            &self.stack.laptop,
            "the running generation's SBOM",
            "nival sbom demo/app:1 --format cyclonedx",
        )?;
        let sbom: Value = serde_json::from_str(&text).context("the SBOM is JSON")?;
        let record = self.stack.record("demo/app:1")?;
        let (components, edges) = graph_of_sbom(&sbom);
        let wanted: BTreeSet<String> = closure_of(&record).into_iter().collect();
        let same = components == wanted && edges == graph_of_record(&record);
        story.check("SBOM equals closure", same, &format!(
            "{} components and {} dependency edges equal the closure and its references one to one",
            components.len(),
            edges.values().map(BTreeSet::len).sum::<usize>()
        ))?;
        story
            .figures
            .insert("sbom_components", json!(components.len()));
        let count = "import os,stat,sys\nprograms=shells=0\nfor d,_,fs in os.walk('/nix/store'):\n  for f in fs:\n    p=os.path.join(d,f)\n    s=os.lstat(p)\n    if stat.S_ISREG(s.st_mode) and s.st_mode&0o111:\n      programs+=1\n      shells+=f in('sh','bash','dash','zsh','busybox')\nprint(len(os.listdir('/nix/store')),'paths,',programs,'executables,',shells,'shells')";
        let spec = PodSpec::with_environment("app", "demo/app");
        let text = self.run(
            story,
            "what an attacker would find",
            &spec,
            &["python3", "-c", count],
        )?;
        story.check("surface is counted", text.contains("paths"), text.trim())
    }

    pub(crate) fn summary(&mut self, story: &mut Story) -> Result<()> {
        story.chapter(10, "Figures");
        let node = self.node.as_ref().context("the node runs")?;
        let starts = measure::starts(node, "demo/app", 7)?;
        let memory = measure::memory(node, "demo/app", 1)?;
        let cold = measure::cold(&self.stack, node, "demo/app:1", 3)?;
        let rows = [
            ("warm start", format!("{:.0} ms", starts.nival_ms)),
            (
                "the same with plain runc",
                format!("{:.0} ms", starts.runc_ms),
            ),
            ("warm ratio", format!("{:.2}", starts.ratio)),
            ("cold fetch", format!("{:.2} s", cold.nival_s)),
            ("the same with nix copy", format!("{:.2} s", cold.nix_s)),
            ("cold ratio", format!("{:.2}", cold.ratio)),
            (
                "bytes of the first start",
                story.figures["cold_bytes"].to_string(),
            ),
            (
                "bytes of the update",
                story.figures["update_bytes"].to_string(),
            ),
            (
                "shim memory (PSS / RSS)",
                format!("{} / {} KiB", memory.shim.pss_kib, memory.shim.rss_kib),
            ),
            (
                "Go shim memory (PSS / RSS)",
                format!("{} / {} KiB", memory.go.pss_kib, memory.go.rss_kib),
            ),
            (
                "agent memory, peak",
                format!("{} KiB", memory.agent_peak_kib),
            ),
        ];
        rows.iter()
            .for_each(|(name, value)| say(&format!("  {name:<28} {value}")));
        story.figures.extend([
            ("warm_ratio", json!(starts.ratio)),
            ("cold_ratio", json!(cold.ratio)),
            ("shim_pss_kib", json!(memory.shim.pss_kib)),
            ("shim_rss_kib", json!(memory.shim.rss_kib)),
            ("agent_peak_kib", json!(memory.agent_peak_kib)),
        ]);
        Ok(())
    }
}

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Returns the store paths that an SBOM lists and the edges between them.
fn graph_of_sbom(sbom: &Value) -> (BTreeSet<String>, Graph) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let root = text(&sbom["metadata"]["component"]["bom-ref"]);
    let components = sbom["components"].as_array().into_iter().flatten();
    let components: BTreeSet<String> = components.map(|one| text(&one["bom-ref"])).collect();
    let dependencies = sbom["dependencies"].as_array().into_iter().flatten();
    let edges = dependencies
        .filter(|one| one["ref"] != root.as_str())
        .map(|one| {
            (
                text(&one["ref"]),
                one["dependsOn"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(text)
                    .collect(),
            )
        });
    let edges = edges.collect();
    (components, edges)
}

fn graph_of_record(record: &Value) -> Graph {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let closure = record["systems"]["x86_64-linux"]["closure"]
        .as_array()
        .into_iter()
        .flatten();
    let edges = closure.map(|path| {
        let own = text(&path["path"]);
        let references = path["references"]
            .as_array()
            .into_iter()
            .flatten()
            .map(text);
        let others = references.filter(|reference| *reference != own).collect();
        (own, others)
    });
    edges.collect()
}

/// Removes the signatures of an environment's generations from the hub's disk.
fn strip_signatures(hub: &Hub, environment: &str) -> Result<usize> {
    let mut stripped = 0;
    for path in hub.files_ending(".json")? {
        if !path
            .to_string_lossy()
            .contains(&format!("/{environment}/generations/"))
        {
            continue;
        }
        let mut signed: Value = serde_json::from_slice(&fs::read(&path)?)?;
        signed["signatures"] = json!([]);
        fs::write(&path, serde_json::to_vec(&signed)?)?;
        stripped += 1;
    }
    Ok(stripped)
}

/// Flips one bit in the middle of a store path's NAR on the hub's disk.
fn flip_bit(hub: &Hub, store_path: &str) -> Result<()> {
    let (_, nar) = hub.cache_files(store_path)?;
    let mut bytes = fs::read(&nar)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(nar, bytes)?;
    Ok(())
}
