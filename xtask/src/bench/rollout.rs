//! From a change on the laptop to ten replicas that serve it: a push, against building, pushing and pulling an image.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use testkit::cluster::ADDRESS as CLUSTER_ADDRESS;
use testkit::{Cluster, OWNER, PLACEHOLDER, Service, Stack, setup};

use crate::measure::{median, ratio};

/// How many pods serve.
const REPLICAS: i64 = 10;
/// What each run adds, so that every run brings something to the nodes that they do not have.
const ADDED: &[&str] = &["jq", "curl", "nginx"];
/// What both begin with.
const PACKAGES: &str = "bash coreutils python3 numpy redis";
/// The environment that is rolled out.
pub(crate) const ENVIRONMENT: &str = "rollout";
const REGISTRY_PORT: u16 = 5000;

/// From the change to the last replica.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rollouts {
    pub(crate) nival_s: f64,
    pub(crate) image_s: f64,
    pub(crate) ratio: f64,
    pub(crate) runs: usize,
}

/// Measures both in turn on one cluster, with the same pods, probes and strategy.
pub(crate) fn run(stack: &Stack, cluster: &Cluster) -> Result<Rollouts> {
    stack.publish(ENVIRONMENT, PACKAGES, "--public")?;
    let images = Images::start(stack, cluster)?;
    let annotation = format!("nival.dev/environment: {OWNER}/{ENVIRONMENT}");
    cluster.apply(&deployment("own", &annotation, PLACEHOLDER))?;
    Images::lay_out(stack, "base")?;
    images.build_and_push(stack, 0)?;
    cluster.apply(&deployment("image", "", &Images::name(0)))?;
    for name in ["own", "image"] {
        cluster.kubectl(&["rollout", "status", &format!("deployment/{name}")])?;
    }
    let (mut nival, mut image) = (Vec::new(), Vec::new());
    for (number, package) in ADDED.iter().enumerate() {
        let install = format!("cd ~/{ENVIRONMENT} && nival install {package} >&2");
        stack.laptop.shell(&install)?;
        nival.push(pushed(stack, cluster)?);
        image.push(images.rolled_out(stack, cluster, number + 1)?);
    }
    for name in ["own", "image"] {
        cluster.kubectl(&["delete", "deployment", name, "--cascade=foreground"])?;
    }
    Ok(Rollouts {
        nival_s: median(&nival),
        image_s: median(&image),
        ratio: ratio(&nival, &image),
        runs: ADDED.len(),
    })
}

/// Pushes, and waits for the operator to have it rolled out.
fn pushed(stack: &Stack, cluster: &Cluster) -> Result<Duration> {
    let begun = Instant::now();
    let push = format!("cd ~/{ENVIRONMENT} && nival push {OWNER}/{ENVIRONMENT} --json");
    let answer: Value = serde_json::from_str(&stack.laptop.shell(&push)?)?;
    let pin = format!("{OWNER}/{ENVIRONMENT}:{}@", answer["number"]);
    until_served(cluster, "own", |template| {
        let annotation = &template["metadata"]["annotations"]["nival.dev/generation"];
        annotation
            .as_str()
            .is_some_and(|text| text.starts_with(&pin))
    })?;
    Ok(begun.elapsed())
}

/// Waits until every replica is of a template like this, and ready.
fn until_served(cluster: &Cluster, name: &str, is_meant: impl Fn(&Value) -> bool) -> Result<()> {
    testkit::poll_within(Duration::from_mins(3), "the rollout", || {
        let object = cluster.kubectl_json(&["get", "deployment", name])?;
        let (status, template) = (&object["status"], &object["spec"]["template"]);
        let all = |field: &str| status[field].as_i64() == Some(REPLICAS);
        let seen = status["observedGeneration"] == object["metadata"]["generation"];
        let done = seen
            && is_meant(template)
            && ["replicas", "updatedReplicas", "readyReplicas"]
                .iter()
                .all(|field| all(field));
        Ok(done.then_some(()))
    })?;
    Ok(())
}

/// What builds and serves images: buildah on the laptop, and a registry that the nodes reach.
struct Images {
    _registry: Service,
    buildah: String,
}

impl Images {
    fn start(stack: &Stack, cluster: &Cluster) -> Result<Self> {
        let laptop = &stack.laptop;
        let rival = setup::dir().join("rival/usr");
        let programs = rival.join("bin");
        laptop.write(
            "/root/registry.yml",
            &format!(
                "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /root/registry}}}}\nhttp: {{addr: \":{REGISTRY_PORT}\"}}\n"
            ),
        )?;
        laptop.write(
            "/root/storage.conf",
            "[storage]\ndriver = \"overlay\"\nrunroot = \"/run/containers\"\ngraphroot = \"/root/containers\"\n",
        )?;
        laptop.write(
            "/root/policy.json",
            "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n",
        )?;
        laptop.write(
            "/root/registries.conf",
            "unqualified-search-registries = []\n",
        )?;
        let helpers = rival.join("lib/podman");
        laptop.write(
            "/root/containers.conf",
            &format!("[engine]\nhelper_binaries_dir = [{helpers:?}]\n"),
        )?;
        let registry = programs.join("docker-registry").display().to_string();
        let registry = laptop.service("registry", &registry, &["serve", "/root/registry.yml"])?;
        let server = format!("http://{CLUSTER_ADDRESS}:{REGISTRY_PORT}");
        for (_, node) in cluster.nodes() {
            let folder = format!("/etc/containerd/certs.d/{CLUSTER_ADDRESS}:{REGISTRY_PORT}");
            let hosts = format!("server = \"{server}\"\n[host.\"{server}\"]\n");
            node.write(&format!("{folder}/hosts.toml"), &hosts)?;
        }
        let buildah = format!(
            "CONTAINERS_CONF=/root/containers.conf CONTAINERS_STORAGE_CONF=/root/storage.conf {} --signature-policy /root/policy.json --registries-conf /root/registries.conf",
            programs.join("buildah").display()
        );
        Ok(Self {
            _registry: registry,
            buildah,
        })
    }

    fn name(number: usize) -> String {
        format!("{CLUSTER_ADDRESS}:{REGISTRY_PORT}/demo/rollout:{number}")
    }

    /// Lays out the same content as the environment's newest generation has. What the first one had is a layer of its
    /// own, which builder, registry and nodes all have by then: only the change is built, pushed and pulled.
    fn lay_out(stack: &Stack, layer: &str) -> Result<()> {
        let record = stack.record(&format!("{OWNER}/{ENVIRONMENT}"))?;
        let system = &record["systems"]["x86_64-linux"];
        let environment = system["environment"].as_str();
        let environment = environment.context("the record has an environment")?;
        let closure = system["closure"].as_array();
        let closure = closure.context("the record has a closure")?;
        let paths = closure.iter().filter_map(|path| path["path"].as_str());
        let paths = paths.collect::<Vec<_>>().join(" ");
        let layers = "base/nix/store change/nix/store";
        stack.laptop.shell(&format!(
            "mkdir -p ~/image && cd ~/image && rm -rf change && mkdir -p {layers} && \
             for path in {paths}; do name=$(basename $path); \
               if [ ! -e base/nix/store/$name ]; then cp -a $path {layer}/nix/store/; fi; \
             done; \
             printf 'FROM scratch\\nCOPY base/ /\\nCOPY change/ /\\nENV PATH={environment}/bin\\n' >Dockerfile"
        ))?;
        Ok(())
    }

    fn build_and_push(&self, stack: &Stack, number: usize) -> Result<()> {
        let (buildah, name) = (&self.buildah, Self::name(number));
        stack.laptop.shell(&format!(
            "{buildah} bud --layers --isolation chroot -t {name} ~/image >&2 && {buildah} push --tls-verify=false {name} >&2"
        ))?;
        Ok(())
    }

    /// Builds, pushes, and waits until the pods run it. Laying the content out is not counted.
    fn rolled_out(&self, stack: &Stack, cluster: &Cluster, number: usize) -> Result<Duration> {
        Self::lay_out(stack, "change")?;
        let begun = Instant::now();
        self.build_and_push(stack, number)?;
        let name = Self::name(number);
        cluster.kubectl(&["set", "image", "deployment/image", &format!("main={name}")])?;
        until_served(cluster, "image", |template| {
            template["spec"]["containers"][0]["image"] == name.as_str()
        })?;
        Ok(begun.elapsed())
    }
}

/// A Deployment whose pods differ in where their programs come from, and in nothing else.
fn deployment(name: &str, annotations: &str, image: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  annotations: {{nival.dev/track: latest}}
spec:
  replicas: {REPLICAS}
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
      annotations: {{{annotations}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          image: {image}
          command: [python3, -m, http.server, \"8080\", --directory, /tmp]
          readinessProbe:
            tcpSocket: {{port: 8080}}
            periodSeconds: 1
"
    )
}
