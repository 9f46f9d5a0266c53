//! All of Nival in one world: a hub, a laptop that may publish to it, and nodes that trust the laptop's key.

use fs_err as fs;
use serde_json::{Value, json};

use crate::{
    Cluster, ClusterOptions, Containerd, Failure, HUB_ADDRESS, Hub, Installation, Kind, Machine,
    Node, NodeOptions, Registry, World, setup,
};

/// The owner that the laptop publishes as.
pub const OWNER: &str = "demo";

/// The port of [`HUB_ADDRESS`].
const HUB_PORT: u16 = 7878;

/// The name of the key that the laptop signs with.
pub const KEY: &str = "demo-1";

/// A world with everything but nodes. Programs are dropped before the network they use.
#[derive(Debug)]
pub struct Stack {
    /// The developer's machine, configured for the hub and the test packages.
    pub laptop: Machine,
    /// The hub.
    pub hub: Hub,
    /// Stands in for every image registry.
    pub registry: Registry,
    /// Where all of them are.
    pub world: World,
}

impl Stack {
    /// Starts a hub with its defaults, and a laptop that has a token for it but no key yet.
    ///
    /// # Errors
    /// Fails with what did not start.
    pub fn start() -> Result<Self, Failure> {
        Self::start_with(&[])
    }

    /// Like [`Stack::start`], with a hub that the nodes of a cluster reach, and with the laptop's key made.
    ///
    /// # Errors
    /// As [`Stack::start`].
    pub fn start_for_cluster() -> Result<Self, Failure> {
        let stack = Self::start_with(&["--listen", &format!("0.0.0.0:{HUB_PORT}")])?;
        stack.make_key()?;
        Ok(stack)
    }

    fn start_with(hub: &[&str]) -> Result<Self, Failure> {
        let world = World::new()?;
        let hub = Hub::start(&world, hub)?;
        let laptop = world.machine(Kind::Laptop, "laptop")?;
        let registry = world.registry()?;
        let token = hub.token(OWNER, &["--scope", "push"])?;
        let configuration = format!(
            "hub = \"http://{HUB_ADDRESS}\"\ntoken = \"{token}\"\nsigning_key = \"{KEY}\"\n[catalog]\nrevisions = [\n  \
             {{ name = \"r2\", path = \"{}\" }},\n  {{ name = \"r1\", path = \"{}\" }},\n]\n",
            setup::revision("r2").display(),
            setup::revision("r1").display(),
        );
        let staged = laptop.shared().join("config.toml");
        fs::write(&staged, configuration)?;
        // A laptop that has Nix has its database; making it is nothing that two programs may do at once.
        laptop.shell("nix-store --init")?;
        let place = "mkdir -p ~/.config/nival && cp";
        laptop.shell(&format!(
            "{place} {} ~/.config/nival/config.toml",
            staged.display()
        ))?;
        Ok(Self {
            laptop,
            hub,
            registry,
            world,
        })
    }

    /// Makes the laptop's key and trusts it there.
    ///
    /// # Errors
    /// Fails when the command line refuses.
    pub fn make_key(&self) -> Result<(), Failure> {
        let script = format!(
            "nival key generate {KEY} && nival key trust {OWNER} \"$(nival key show {KEY})\""
        );
        self.laptop.shell(&script).map(drop)
    }

    /// Returns the laptop's public key.
    ///
    /// # Errors
    /// Fails before it is made.
    pub fn public_key(&self) -> Result<String, Failure> {
        Ok(self
            .laptop
            .shell(&format!("nival key show {KEY}"))?
            .trim()
            .to_owned())
    }

    /// Makes an environment in a folder of its name and publishes it.
    ///
    /// # Errors
    /// Fails when any of the commands does.
    pub fn publish(&self, name: &str, packages: &str, more: &str) -> Result<Value, Failure> {
        let text = self.laptop.shell(&publish_script(name, packages, more))?;
        Ok(serde_json::from_str(&text).map_err(std::io::Error::from)?)
    }

    /// Publishes an environment whose manifest is this text; `more` are further words for `nival push`.
    ///
    /// # Errors
    /// Fails when any of the commands does.
    pub fn publish_manifest(&self, name: &str, manifest: &str, more: &str) -> Result<(), Failure> {
        let staged = self.laptop.stage("manifest.toml", manifest)?;
        let script = format!(
            "mkdir -p ~/{name} && cd ~/{name} && nival init >&2 && cp {staged} .nival/manifest.toml && \
             nival lock >&2 && nival push {OWNER}/{name} {more} >&2"
        );
        self.laptop.shell(&script).map(drop)
    }

    /// Starts a node that trusts the laptop's key. `more` goes into the agent's configuration.
    ///
    /// # Errors
    /// Fails with what did not start.
    pub fn node(&self, name: &str, more: &str) -> Result<Node, Failure> {
        self.node_with(name, more, Containerd::default())
    }

    /// Like [`Stack::node`], with a containerd of choice.
    ///
    /// # Errors
    /// Fails with what did not start.
    pub fn node_with(
        &self,
        name: &str,
        more: &str,
        containerd: Containerd,
    ) -> Result<Node, Failure> {
        let options = NodeOptions {
            agent_configuration: self.agent_configuration(HUB_ADDRESS, more)?,
            registry: Some(self.registry.address()),
            containerd,
            ..NodeOptions::default()
        };
        Node::start(&self.world, name, &options)
    }

    /// Starts a cluster in the stack's world, whose agents trust the laptop's key. It must be one of [`Stack::start_for_cluster`].
    ///
    /// # Errors
    /// Fails with what did not start.
    pub fn cluster(&self, mut options: ClusterOptions) -> Result<Cluster, Failure> {
        for node in &mut options.nodes {
            let hub = format!(
                "{}:{}",
                crate::cluster::ADDRESS,
                node.hub.unwrap_or(HUB_PORT)
            );
            node.agent = self.agent_configuration(&hub, &node.agent)?;
        }
        options.registry = Some(self.registry.address().port());
        Cluster::start(&self.world, &options)
    }

    /// Starts a cluster of plain nodes in the stack's world and installs Nival in it by its chart, with the stack's hub and
    /// the laptop's key, and with further values. The stack must be one of [`Stack::start_for_cluster`].
    ///
    /// # Errors
    /// Fails with what did not start or come up.
    pub fn installed_cluster(
        &self,
        options: ClusterOptions,
        values: &Value,
    ) -> Result<Cluster, Failure> {
        let cluster = self.plain_cluster(options)?;
        cluster.install(&self.installation(values)?)?;
        Ok(cluster)
    }

    /// Starts a cluster whose nodes have nothing of Nival.
    ///
    /// # Errors
    /// Fails with what did not start.
    pub fn plain_cluster(&self, mut options: ClusterOptions) -> Result<Cluster, Failure> {
        options.plain = true;
        options.registry = Some(self.registry.address().port());
        Cluster::start(&self.world, &options)
    }

    /// Returns what is installed in such a cluster, for an upgrade to start from.
    ///
    /// # Errors
    /// Fails where the laptop has no key.
    pub fn installation(&self, values: &Value) -> Result<Installation, Failure> {
        let mut all = json!({
            "hub": {"enabled": false, "url": format!("http://{}:{HUB_PORT}", crate::cluster::ADDRESS)},
            "config": {"trust": {OWNER: [self.public_key()?]}},
        });
        merge(&mut all, values);
        Ok(Installation {
            values: all,
            ..Installation::default()
        })
    }

    fn agent_configuration(&self, hub: &str, more: &str) -> Result<String, Failure> {
        let key = self.public_key()?;
        Ok(format!(
            "hub = \"http://{hub}\"\n{more}\n[trust]\n{OWNER} = [\"{key}\"]\n"
        ))
    }

    /// Returns the record of a published generation, after the laptop verified it.
    ///
    /// # Errors
    /// Fails when it is not there or not trusted.
    pub fn record(&self, reference: &str) -> Result<Value, Failure> {
        let text = self
            .laptop
            .shell(&format!("nival show {reference} --json"))?;
        Ok(serde_json::from_str(&text).map_err(std::io::Error::from)?)
    }
}

/// Puts one table's entries over another's, as Helm does with values.
fn merge(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                merge(below.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above.clone(),
    }
}

/// Returns the commands that make and publish an environment of these packages.
#[must_use]
pub fn publish_script(name: &str, packages: &str, more: &str) -> String {
    format!(
        "mkdir -p ~/{name} && cd ~/{name} && nival init >&2 && nival install {packages} >&2 && nival push {OWNER}/{name} {more} --json"
    )
}
