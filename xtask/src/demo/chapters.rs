//! The chapters: what each one runs and what must come of it.

mod ending;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testkit::{HUB_ADDRESS, Node, PLACEHOLDER, PodSpec, Stack, publish_script};

use super::story::Story;
use crate::measure;

/// Prints numpy's version: the same command on the laptop and in the pod.
const NUMPY: &str = "import numpy; print(numpy.__version__)";

/// Everybody on the stage. The node is dropped first: programs end before their network does.
pub(crate) struct Stage {
    node: Option<Node>,
    stack: Stack,
    numpy: String,
    generations: BTreeMap<u64, String>,
    served_before: u64,
}

impl Stage {
    pub(crate) fn new(story: &mut Story) -> Result<Self> {
        let begun = Instant::now();
        let stack = Stack::start()?;
        story.took(
            "the hub runs with its defaults",
            "nival-hub serve",
            begun.elapsed(),
        );
        let (numpy, generations) = (String::new(), BTreeMap::new());
        Ok(Self {
            node: None,
            stack,
            numpy,
            generations,
            served_before: 0,
        })
    }

    pub(crate) fn declare(&self, story: &mut Story) -> Result<()> {
        story.chapter(2, "Declare: one TOML file, one lock with every NAR hash");
        story.on(
            &self.stack.laptop,
            "init",
            "mkdir ~/app && cd ~/app && nival init",
        )?;
        story.on(
            &self.stack.laptop,
            "install",
            "cd ~/app && nival install python3 numpy redis",
        )?;
        let lock: Value =
            serde_json::from_str(&self.stack.laptop.shell("cat ~/app/.nival/manifest.lock")?)?;
        let systems = lock["systems"]
            .as_object()
            .context("the lock has systems")?;
        let closure = systems["x86_64-linux"]["environment"]["closure"].as_array();
        let paths = closure.map_or(0, Vec::len);
        let hashed = closure
            .into_iter()
            .flatten()
            .all(|path| path["narHash"].is_string());
        story.check(
            "lock",
            paths > 30 && hashed && systems.len() > 1,
            &format!(
                "the lock has {} systems, and {paths} store paths with NAR hashes for x86_64-linux",
                systems.len()
            ),
        )
    }

    pub(crate) fn laptop(&mut self, story: &mut Story) -> Result<()> {
        story.chapter(3, "Laptop: activate");
        let script = format!("cd ~/app && nival activate -- python3 -c '{NUMPY}'");
        story
            .on(&self.stack.laptop, "activate", &script)?
            .trim()
            .clone_into(&mut self.numpy);
        story.check(
            "numpy on the laptop",
            !self.numpy.is_empty(),
            &format!("numpy {} was imported", self.numpy),
        )
    }

    pub(crate) fn publish(&mut self, story: &mut Story) -> Result<()> {
        story.chapter(4, "Publish: a signed, immutable generation");
        let script =
            "nival key generate demo-1 && nival key trust demo \"$(nival key show demo-1)\"";
        story.on(&self.stack.laptop, "key", script)?;
        self.push(story, "demo/app", "first")?;
        // Stock Nix takes the environment from the hub and finds nothing wrong with it.
        let path = self.environment_path()?;
        let script = format!(
            "nix copy --from http://{HUB_ADDRESS}/cache/demo --to /root/other-store --option trusted-public-keys \"$(nival key show demo-1)\" {path} \
             && nix store verify --recursive --store /root/other-store --option trusted-public-keys \"$(nival key show demo-1)\" {path}"
        );
        story.on(&self.stack.laptop, "stock nix accepts it", &script)?;
        Ok(())
    }

    fn push(&mut self, story: &mut Story, environment: &str, message: &str) -> Result<Value> {
        let script = format!("cd ~/app && nival push {environment} --public -m '{message}' --json");
        let answer: Value =
            serde_json::from_str(&story.on(&self.stack.laptop, "push", &script)?)?;
        if environment == "demo/app" {
            let number = answer["number"]
                .as_u64()
                .context("push tells the generation's number")?;
            let digest = answer["digest"].as_str().context("push tells the digest")?;
            self.generations.insert(number, digest.to_owned());
        }
        Ok(answer)
    }

    fn environment_path(&self) -> Result<String> {
        let lock: Value =
            serde_json::from_str(&self.stack.laptop.shell("cat ~/app/.nival/manifest.lock")?)?;
        let path = lock["systems"]["x86_64-linux"]["environment"]["path"].as_str();
        Ok(path.context("the lock has an environment")?.to_owned())
    }

    pub(crate) fn start_node(&mut self, story: &mut Story) -> Result<()> {
        story.chapter(5, "Pod: on a node that has no Nix");
        let begun = Instant::now();
        let node = self.stack.node("node", "")?;
        story.took(
            "containerd and nival-agent run",
            "containerd & nival-agent serve &",
            begun.elapsed(),
        );
        let script = "test ! -e /nix && ! command -v nix && echo 'neither /nix nor nix is here'";
        story.on(node.machine(), "no Nix on the node", script)?;
        self.node = Some(node);
        self.served_before = self.served()?;
        Ok(())
    }

    fn node(&self) -> Result<&Node> {
        self.node.as_ref().context("the node runs")
    }

    fn served(&self) -> Result<u64> {
        Ok(self.stack.hub.counter("nival_hub_nar_served_bytes_total")?)
    }

    /// Runs a pod to its end and returns what its container wrote.
    fn run(
        &self,
        story: &mut Story,
        name: &str,
        spec: &PodSpec,
        command: &[&str],
    ) -> Result<String> {
        let node = self.node()?;
        let begun = Instant::now();
        let pod = node.run_pod(spec)?;
        let (code, text) = pod.run_to_end("main", PLACEHOLDER, command)?;
        let annotations = serde_json::to_string(&spec.annotations)?;
        let command = serde_json::to_string(command)?;
        let line = format!(
            "pod=$(crictl runp --runtime {handler} pod.json)  # {{\"metadata\": {{\"name\": \"{pod}\", \"namespace\": \"{namespace}\"}}, \"annotations\": {annotations}}}\n    \
             ctr=$(crictl create $pod container.json pod.json) && crictl start $ctr && crictl logs $ctr  # {{\"image\": \"{PLACEHOLDER}\", \"command\": {command}}}",
            handler = spec.handler,
            pod = spec.name,
            namespace = spec.namespace,
        );
        story.took(name, &line, begun.elapsed());
        text.lines()
            .take(4)
            .for_each(|line| crate::say(&format!("      {line}")));
        pod.remove()?;
        story.check(name, code == 0, "the container ended with exit code 0")?;
        Ok(text)
    }

    pub(crate) fn pod(&mut self, story: &mut Story) -> Result<()> {
        let spec = PodSpec::with_environment("app", "demo/app");
        let text = self.run(story, "cold start", &spec, &["python3", "-c", NUMPY])?;
        let same = text.trim() == self.numpy;
        story.check(
            "numpy in the pod",
            same,
            &format!("the pod has numpy {}, as the laptop has", text.trim()),
        )?;
        let cold = self.served()? - self.served_before;
        story.figures.insert("cold_bytes", json!(cold));
        self.served_before = self.served()?;

        let listing = self.run(
            story,
            "what the container sees",
            &spec,
            &[
                "python3",
                "-c",
                "import os; print(*sorted(os.listdir('/nix/store')), sep='\\n')",
            ],
        )?;
        let seen: BTreeSet<&str> = listing.lines().collect();
        let record: Value = self.stack.record("demo/app:1")?;
        let closure = closure_of(&record);
        let wanted: BTreeSet<&str> = closure
            .iter()
            .filter_map(|path| path.strip_prefix("/nix/store/"))
            .collect();
        story.check(
            "exactly the closure",
            seen == wanted,
            &format!(
                "/nix/store in the container is the record's closure: {} paths, nothing else",
                wanted.len()
            ),
        )?;
        story.figures.insert("closure_paths", json!(wanted.len()));
        let write = "import os,errno\ntry:\n  f=open(os.path.realpath('/nix/store/'+sorted(os.listdir('/nix/store'))[0])+'/x','w')\nexcept OSError as e:\n  print(os.getuid(), errno.errorcode[e.errno])";
        let text = self.run(story, "root cannot write", &spec, &["python3", "-c", write])?;
        story.check(
            "root cannot write",
            text.trim() == "0 EROFS",
            "root in the container gets EROFS from the store",
        )?;
        self.two_containers(story)
    }

    fn two_containers(&mut self, story: &mut Story) -> Result<()> {
        story.on(
            &self.stack.laptop,
            "a second environment",
            &publish_script("web", "curl", "--public"),
        )?;
        let node = self.node()?;
        let spec = PodSpec::with_environment("pair", "demo/app")
            .annotated("environment.nival.dev/other", "demo/web");
        let begun = Instant::now();
        let pod = node.run_pod(&spec)?;
        let (first, numpy) = pod.run_to_end("main", PLACEHOLDER, &["python3", "-c", NUMPY])?;
        let (second, curl) = pod.run_to_end("other", PLACEHOLDER, &["curl", "--version"])?;
        pod.remove()?;
        story.took(
            "two containers, two environments",
            "crictl run (demo/app and, for container other, demo/web)",
            begun.elapsed(),
        );
        let good =
            first == 0 && second == 0 && numpy.trim() == self.numpy && curl.starts_with("curl ");
        story.check(
            "two environments in one pod",
            good,
            "one container has numpy, the other curl",
        )
    }

    pub(crate) fn no_rebuild(&mut self, story: &mut Story) -> Result<()> {
        story.chapter(6, "No rebuild: a new dependency is a push and a restart");
        story.on(
            &self.stack.laptop,
            "install jq",
            "cd ~/app && nival install jq",
        )?;
        self.push(story, "demo/app", "with jq")?;
        self.served_before = self.served()?;
        let spec = PodSpec::with_environment("app", "demo/app");
        let text = self.run(
            story,
            "the restarted pod has jq",
            &spec,
            &["jq", "-n", "6 * 7"],
        )?;
        story.check("jq", text.trim() == "42", "the restarted pod runs jq")?;
        let update = self.served()? - self.served_before;
        let cold = story.figures["cold_bytes"].as_u64().unwrap_or(0);
        story.figures.insert("update_bytes", json!(update));
        story.check(
            "the update is small",
            update < cold,
            &format!("the hub sent {update} bytes for the update; the first start took {cold}"),
        )?;
        let asked = self.stack.registry.asked();
        story.figures.insert("images_pulled", json!(asked));
        story.check("no image", asked == 0, "no registry was asked for anything")
    }

    pub(crate) fn rollback(&mut self, story: &mut Story) -> Result<()> {
        story.chapter(7, "Atomic rollback");
        story.on(&self.stack.laptop, "rollback", "nival rollback demo/app")?;
        let spec = PodSpec::with_environment("app", "demo/app");
        let text = self.run(
            story,
            "after the rollback",
            &spec,
            &[
                "sh",
                "-c",
                "echo $NIVAL_ENVIRONMENT; command -v jq || echo no jq",
            ],
        );
        let text = match text {
            Ok(text) => text,
            Err(_) => self.run(story, "after the rollback", &spec, &["python3", "-c",
                "import os,shutil; print(os.environ['NIVAL_ENVIRONMENT']); print(shutil.which('jq') or 'no jq')"])?,
        };
        let pin = format!(
            "demo/app:1@{}",
            self.generations
                .get(&1)
                .context("generation 1 was pushed")?
        );
        let exact = text.contains(&pin) && text.contains("no jq");
        story.check("exactly generation 1", exact, &format!("the pod is {pin}"))?;

        self.stack.hub.kill()?;
        let spec =
            PodSpec::with_environment("app", "demo/app").annotated("nival.dev/generation", &pin);
        let text = self.run(
            story,
            "pinned, with the hub stopped",
            &spec,
            &[
                "python3",
                "-c",
                "import os; print(os.environ['NIVAL_ENVIRONMENT'])",
            ],
        )?;
        self.stack.hub.resume()?;
        story.check(
            "hub stopped",
            text.trim() == pin,
            "the pinned generation starts with the hub stopped",
        )
    }
}

/// Returns the store paths of a record's closure for this machine.
pub(super) fn closure_of(record: &Value) -> Vec<String> {
    let closure = record["systems"]["x86_64-linux"]["closure"].as_array();
    let paths = closure
        .into_iter()
        .flatten()
        .filter_map(|path| path["path"].as_str());
    paths.map(str::to_owned).collect()
}
