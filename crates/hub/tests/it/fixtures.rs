//! Small store paths, records and keys.

use std::collections::BTreeMap;

use api::hub::missing::PathAndHash;
use api::hub::{ClientError, HubClient};
use async_compression::tokio::bufread::ZstdEncoder;
use env_spec::activation::ActivationPlan;
use env_spec::generation::{ClosurePath, Generation, LivePointer, SystemGeneration};
use env_spec::{Digest, EnvironmentName, Record, Signed};
use nix_data::nar::Node;
use nix_data::{Compression, Hash, NarInfo, SecretKey, StorePath};
use tokio::io::AsyncReadExt as _;

/// A store path with its NAR, ready for upload.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) narinfo: NarInfo,
    pub(crate) file: Vec<u8>,
}

impl Package {
    /// A store path of this name with one file of these contents.
    pub(crate) async fn new(name: &str, contents: &[u8], references: &[&Self]) -> Self {
        let mut entries = BTreeMap::new();
        let file = Node::File {
            executable: false,
            contents: contents.to_vec(),
        };
        entries.insert(b"file".to_vec(), file);
        let nar = Node::Directory(entries).write_to(Vec::new()).unwrap();
        let path = store_path(name);
        let references = references.iter().map(|one| one.path().clone()).collect();
        Self::of_nar(path, &nar, references, Compression::Zstd).await
    }

    pub(crate) async fn of_nar(
        store_path: StorePath,
        nar: &[u8],
        references: Vec<StorePath>,
        compression: Compression,
    ) -> Self {
        let file = match compression {
            Compression::Zstd => {
                let mut file = Vec::new();
                ZstdEncoder::new(nar).read_to_end(&mut file).await.unwrap();
                file
            }
            _ => nar.to_vec(),
        };
        let hash = Hash::sha256(&file);
        let narinfo = NarInfo {
            store_path,
            url: format!("nar/{}{}", hash.digest_nix32(), compression.extension()),
            compression,
            file_hash: Some(hash),
            file_size: Some(file.len() as u64),
            nar_hash: Hash::sha256(nar),
            nar_size: nar.len() as u64,
            references,
            deriver: None,
            system: None,
            signatures: Vec::new(),
            ca: None,
        };
        Self { narinfo, file }
    }

    pub(crate) fn path(&self) -> &StorePath {
        &self.narinfo.store_path
    }

    pub(crate) fn narinfo_file(&self) -> String {
        format!("{}.narinfo", self.path().hash_part())
    }

    pub(crate) fn closure_path(&self) -> ClosurePath {
        ClosurePath {
            path: self.path().clone(),
            nar_hash: self.narinfo.nar_hash.clone(),
            nar_size: self.narinfo.nar_size,
            references: self.narinfo.references.clone(),
        }
    }

    pub(crate) fn wanted(&self) -> PathAndHash {
        PathAndHash {
            path: self.path().clone(),
            nar_hash: self.narinfo.nar_hash.clone(),
        }
    }

    pub(crate) async fn upload_nar(&self, hub: &HubClient, owner: &str) -> Result<(), ClientError> {
        hub.put_cache_file(owner, &self.narinfo.url, self.file.clone())
            .await
    }

    pub(crate) async fn upload_narinfo(
        &self,
        hub: &HubClient,
        owner: &str,
    ) -> Result<(), ClientError> {
        hub.put_cache_file(owner, &self.narinfo_file(), self.narinfo.to_string())
            .await
    }

    pub(crate) async fn upload(&self, hub: &HubClient, owner: &str) {
        self.upload_nar(hub, owner).await.unwrap();
        self.upload_narinfo(hub, owner).await.unwrap();
    }
}

/// A store path whose hash part follows from its name.
pub(crate) fn store_path(name: &str) -> StorePath {
    let hash = Hash::sha256(name.as_bytes()).digest_nix32();
    StorePath::from_base_name(&format!("{}-{name}", &hash[..32])).unwrap()
}

pub(crate) fn key() -> SecretKey {
    SecretKey::generate_from_seed("demo-1", [7; 32]).unwrap()
}

pub(crate) fn name(text: &str) -> EnvironmentName {
    text.parse().unwrap()
}

/// An environment with one library, and a bill of materials.
#[derive(Debug)]
pub(crate) struct Release {
    pub(crate) library: Package,
    pub(crate) environment: Package,
    pub(crate) sbom: Vec<u8>,
}

impl Release {
    pub(crate) async fn new(version: &str) -> Self {
        let library = Package::new("library-1", b"library", &[]).await;
        let environment = Package::new(
            &format!("environment-{version}"),
            version.as_bytes(),
            &[&library],
        )
        .await;
        Self {
            library,
            environment,
            sbom: format!("{{\"version\":{version:?}}}").into_bytes(),
        }
    }

    pub(crate) fn record(&self, name: &str, number: u64, parent: Option<Digest>) -> Generation {
        let mut closure = vec![self.library.closure_path(), self.environment.closure_path()];
        closure.sort_by(|one, other| one.path.cmp(&other.path));
        let system = SystemGeneration {
            environment: self.environment.path().clone(),
            closure,
            activation: ActivationPlan::default(),
            sboms: [("cyclonedx-1.6".to_owned(), Digest::of(&self.sbom))].into(),
        };
        Generation {
            version: 1,
            environment: self::name(name),
            number,
            parent,
            created: "2026-11-24T10:00:00Z".to_owned(),
            author: "ada".to_owned(),
            message: format!("generation {number}"),
            manifest: "version = 1\n".to_owned(),
            lock: Digest::of(b"lock"),
            systems: [("x86_64-linux".parse().unwrap(), system)].into(),
        }
    }

    /// Uploads all that the record names.
    pub(crate) async fn upload(&self, hub: &HubClient, environment: &str) {
        let name = name(environment);
        self.library.upload(hub, name.owner()).await;
        self.environment.upload(hub, name.owner()).await;
        let digest = Digest::of(&self.sbom);
        hub.put_document(&name, digest, self.sbom.clone().into())
            .await
            .unwrap();
    }

    /// Uploads and publishes everything as a push does, and returns the generation's digest.
    pub(crate) async fn push(
        &self,
        hub: &HubClient,
        environment: &str,
        number: u64,
        parent: Option<Digest>,
    ) -> Digest {
        self.upload(hub, environment).await;
        let signed = sign(&self.record(environment, number, parent));
        hub.post_generation(&name(environment), &signed)
            .await
            .unwrap();
        let digest = signed.digest();
        let pointer = sign(&pointer(environment, number, digest, number));
        hub.put_live(&name(environment), &pointer).await.unwrap();
        digest
    }
}

pub(crate) fn pointer(
    environment: &str,
    number: u64,
    digest: Digest,
    sequence: u64,
) -> LivePointer {
    LivePointer {
        environment: name(environment),
        number,
        digest,
        sequence,
        time: "2026-11-24T10:00:00Z".to_owned(),
    }
}

pub(crate) fn sign(record: &impl Record) -> Signed {
    Signed::new(record, &key()).unwrap()
}

/// Returns what a refused call says, checking its code.
pub(crate) fn refusal<T: std::fmt::Debug>(
    outcome: Result<T, ClientError>,
    code: api::hub::error::ErrorCode,
) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(error.code(), Some(code), "{error}");
    error.to_string()
}
