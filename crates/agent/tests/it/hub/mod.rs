//! A hub in the test's own process: it serves real signed records and a real binary cache, and every fault on demand.

mod answers;
mod package;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Bytes;
use env_spec::activation::{ActivationPlan, Variable};
use env_spec::generation::{Generation, LivePointer, RevocationList, SystemGeneration};
use env_spec::{Digest, EnvironmentName, Pin, Signed};
use nix_data::{Compression, Hash, NarInfo, SecretKey};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use package::{Package, folder, link, program};

/// The token that opens private environments.
pub(crate) const TOKEN: &str = "secret-token";

/// What the hub has and how it misbehaves.
#[derive(Default)]
pub(crate) struct Contents {
    environments: BTreeMap<String, Entry>,
    files: BTreeMap<String, Bytes>,
    /// Pause after each piece of a NAR.
    pub(crate) slow: Option<Duration>,
    /// Until when NARs are held back.
    pub(crate) held: Option<CancellationToken>,
    /// Takes questions about live pointers and never answers them.
    pub(crate) silent: bool,
    /// How many NAR requests are cut off in the middle from now on.
    pub(crate) truncate: u32,
    /// How many requests of any kind get a 500 from now on.
    pub(crate) fail: u32,
    /// The list of the owner demo.
    pub(crate) revocations: Option<Signed>,
    /// Takes questions about revocation lists and never answers them.
    pub(crate) silent_about_revocations: bool,
    /// Requests so far.
    pub(crate) requests: Vec<String>,
}

struct Entry {
    public: bool,
    live: Option<Signed>,
    generations: Vec<Signed>,
}

/// A running hub.
pub(crate) struct Hub {
    contents: Arc<Mutex<Contents>>,
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    serving: Option<JoinHandle<()>>,
    pub(crate) key: SecretKey,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        let mut hub = Self {
            contents: Arc::default(),
            address: ([127, 0, 0, 1], 0).into(),
            stop: CancellationToken::new(),
            serving: None,
            key: SecretKey::generate_from_seed("demo-1", [1; 32]).unwrap(),
        };
        hub.serve(tokio::net::TcpListener::bind(hub.address).await.unwrap());
        hub
    }

    /// Serves again, on the port it had before.
    pub(crate) async fn resume(&mut self) {
        // Another test's connection may have the port for a moment.
        let listener = loop {
            match tokio::net::TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        self.serve(listener);
    }

    fn serve(&mut self, listener: tokio::net::TcpListener) {
        self.address = listener.local_addr().unwrap();
        self.stop = CancellationToken::new();
        let router = answers::router(Arc::clone(&self.contents));
        let stop = self.stop.clone();
        self.serving = Some(tokio::spawn(async move {
            let serving = axum::serve(listener, router).into_future();
            tokio::select! { _ = serving => {}, () = stop.cancelled() => {} }
        }));
    }

    /// Lets nobody connect any more. Answers under way may come to their end.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(serving) = self.serving.take() {
            serving.await.unwrap();
        }
    }

    pub(crate) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap()
    }

    pub(crate) fn requests(&self, part: &str) -> usize {
        self.contents()
            .requests
            .iter()
            .filter(|one| one.contains(part))
            .count()
    }

    /// Publishes a generation with these packages, the first of them being the environment, and makes it live.
    pub(crate) fn push(&self, name: &str, packages: &[Package]) -> String {
        self.push_with(name, packages, |_| {})
    }

    pub(crate) fn push_with(
        &self,
        name: &str,
        packages: &[Package],
        change: impl FnOnce(&mut Generation),
    ) -> String {
        packages
            .iter()
            .for_each(|package| self.serve_package(package));
        let mut closure: Vec<_> = packages
            .iter()
            .map(|package| package.path.clone())
            .collect();
        closure.sort_by(|one, other| one.path.cmp(&other.path));
        let environment: EnvironmentName = name.parse().unwrap();
        let number = self
            .contents()
            .environments
            .get(name)
            .map_or(0, |entry| entry.generations.len() as u64)
            + 1;
        let one = SystemGeneration {
            environment: packages[0].path.path.clone(),
            closure,
            activation: ActivationPlan {
                variables: vec![Variable {
                    name: "GREETING".to_owned(),
                    value: "hello ${USER}".to_owned(),
                }],
                search_paths: BTreeMap::from([(
                    "PATH".to_owned(),
                    vec![format!("{}/bin", packages[0].path.path)],
                )]),
                hook: Some("echo hook".to_owned()),
                ..Default::default()
            },
            sboms: BTreeMap::new(),
        };
        let mut generation = Generation {
            version: 1,
            environment,
            number,
            parent: None,
            created: "2026-11-24T00:00:00Z".to_owned(),
            author: "test".to_owned(),
            message: String::new(),
            manifest: String::new(),
            lock: Digest::of(b""),
            systems: BTreeMap::from([("x86_64-linux".parse().unwrap(), one)]),
        };
        change(&mut generation);
        let signed = Signed::new(&generation, &self.key).unwrap();
        let pin = format!("{name}:{number}@{}", signed.digest());
        let mut contents = self.contents();
        let entry = contents
            .environments
            .entry(name.to_owned())
            .or_insert(Entry {
                public: true,
                live: None,
                generations: Vec::new(),
            });
        entry.generations.push(signed);
        drop(contents);
        self.point(name, number, number);
        pin
    }

    /// Moves the live pointer.
    pub(crate) fn point(&self, name: &str, number: u64, sequence: u64) {
        let digest = self.contents().environments[name].generations[number as usize - 1].digest();
        let pointer = LivePointer {
            environment: name.parse().unwrap(),
            number,
            digest,
            sequence,
            time: String::new(),
        };
        let signed = Signed::new(&pointer, &self.key).unwrap();
        self.contents().environments.get_mut(name).unwrap().live = Some(signed);
    }

    /// Serves a list with these generations on it.
    pub(crate) fn revoke(&self, sequence: u64, pins: &[(&str, &str)]) {
        let list = list(sequence, pins);
        self.contents().revocations = Some(Signed::new(&list, &self.key).unwrap());
    }

    pub(crate) fn make_private(&self, name: &str) {
        self.contents().environments.get_mut(name).unwrap().public = false;
    }

    /// Changes a generation's record as somebody with access to the hub's disk could.
    pub(crate) fn tamper(&self, name: &str, number: usize, change: impl FnOnce(&mut Signed)) {
        change(
            &mut self
                .contents()
                .environments
                .get_mut(name)
                .unwrap()
                .generations[number - 1],
        );
    }

    /// Changes the bytes of a package's NAR.
    pub(crate) fn tamper_nar(&self, package: &Package, change: impl FnOnce(&mut Vec<u8>)) {
        let mut contents = self.contents();
        let file = format!("nar/{}.nar.zst", package.path.nar_hash.digest_nix32());
        let mut bytes = contents.files[&file].to_vec();
        change(&mut bytes);
        contents.files.insert(file, bytes.into());
    }

    pub(crate) fn serve_package(&self, package: &Package) {
        let nar = package.node.write_to(Vec::new()).unwrap();
        let file = zstd::encode_all(&nar[..], 1).unwrap();
        let url = format!("nar/{}.nar.zst", package.path.nar_hash.digest_nix32());
        let info = NarInfo {
            store_path: package.path.path.clone(),
            url: url.clone(),
            compression: Compression::Zstd,
            file_hash: Some(Hash::sha256(&file)),
            file_size: Some(file.len() as u64),
            nar_hash: package.path.nar_hash.clone(),
            nar_size: package.path.nar_size,
            references: Vec::new(),
            deriver: None,
            system: None,
            signatures: Vec::new(),
            ca: None,
        };
        let mut contents = self.contents();
        contents.files.insert(url, file.into());
        let narinfo = format!("{}.narinfo", package.path.path.hash_part());
        contents.files.insert(narinfo, info.to_string().into());
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Returns a list of demo with the reasons of these pins.
pub(crate) fn list(sequence: u64, pins: &[(&str, &str)]) -> RevocationList {
    let one = |(pin, reason): &(&str, &str)| {
        let pin: Pin = pin.parse().unwrap();
        (pin.digest, (*reason).to_owned())
    };
    RevocationList {
        owner: "demo".to_owned(),
        revoked: pins.iter().map(one).collect(),
        sequence,
        time: String::new(),
    }
}
