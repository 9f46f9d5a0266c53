//! Binary caches for the tests: the real one of the set-up, and tiny ones made here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use env_spec::generation::ClosurePath;
use fs_err as fs;
use nix_data::nar::Node;
use nix_data::{Compression, Hash, NarInfo, StorePath};
use store::{FetchError, FetchOutcome, Progress, Source, Store};

/// Returns the closure of the first path with this name in a real cache.
pub(crate) fn closure_in(cache: &Path, name: &str) -> Vec<ClosurePath> {
    let mut infos = BTreeMap::new();
    for entry in fs::read_dir(cache).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "narinfo")
        {
            let info = NarInfo::parse(&fs::read_to_string(&path).unwrap()).unwrap();
            infos.insert(info.store_path.clone(), info);
        }
    }
    let root = infos
        .keys()
        .find(|path| path.name().starts_with(name))
        .unwrap_or_else(|| panic!("{name} in the cache"));
    let mut closure = BTreeMap::new();
    let mut queue = vec![root.clone()];
    while let Some(path) = queue.pop() {
        let info = &infos[&path];
        let one = ClosurePath {
            path: path.clone(),
            nar_hash: info.nar_hash.clone(),
            nar_size: info.nar_size,
            references: info.references.clone(),
        };
        if closure.insert(path, one).is_none() {
            queue.extend(info.references.iter().cloned());
        }
    }
    closure.into_values().collect()
}

/// A binary cache in a folder of its own.
pub(crate) struct Cache {
    folder: tempfile::TempDir,
}

impl Cache {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("nar")).unwrap();
        fs::write(
            folder.path().join("nix-cache-info"),
            "StoreDir: /nix/store\n",
        )
        .unwrap();
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn address(&self) -> String {
        format!("file://{}", self.folder().display())
    }

    /// Adds a path with these bytes.
    pub(crate) fn add(&self, name: &str, node: &Node, compression: Compression) -> ClosurePath {
        let nar = node.write_to(Vec::new()).unwrap();
        let nar_hash = Hash::sha256(&nar);
        let path = StorePath::source(name, &nar_hash, &Default::default(), false).unwrap();
        let file = match compression {
            Compression::Zstd => zstd::encode_all(&nar[..], 3).unwrap(),
            Compression::Xz => {
                let mut file = Vec::new();
                std::io::copy(&mut liblzma::read::XzEncoder::new(&nar[..], 1), &mut file).unwrap();
                file
            }
            _ => nar.clone(),
        };
        let url = format!(
            "nar/{}{}",
            Hash::sha256(&file).digest_nix32(),
            compression.extension()
        );
        fs::write(self.folder().join(&url), &file).unwrap();
        let info = NarInfo {
            store_path: path.clone(),
            url,
            compression,
            file_hash: Some(Hash::sha256(&file)),
            file_size: Some(file.len() as u64),
            nar_hash: nar_hash.clone(),
            nar_size: nar.len() as u64,
            references: Vec::new(),
            deriver: None,
            system: None,
            signatures: Vec::new(),
            ca: None,
        };
        fs::write(self.narinfo_of(&path), info.to_string()).unwrap();
        ClosurePath {
            path,
            nar_hash,
            nar_size: nar.len() as u64,
            references: Vec::new(),
        }
    }

    /// Adds a path with one file that compresses badly.
    pub(crate) fn add_noise(
        &self,
        name: &str,
        bytes: usize,
        compression: Compression,
    ) -> ClosurePath {
        self.add(name, &file(&noise(name, bytes)), compression)
    }

    pub(crate) fn narinfo_of(&self, path: &StorePath) -> PathBuf {
        self.folder().join(format!("{}.narinfo", path.hash_part()))
    }

    pub(crate) fn nar_of(&self, path: &StorePath) -> PathBuf {
        let info = NarInfo::parse(&fs::read_to_string(self.narinfo_of(path)).unwrap()).unwrap();
        self.folder().join(info.url)
    }
}

pub(crate) fn file(contents: &[u8]) -> Node {
    Node::File {
        executable: false,
        contents: contents.to_vec(),
    }
}

pub(crate) fn folder_with(name: &str, contents: &[u8]) -> Node {
    Node::Directory(BTreeMap::from([(name.as_bytes().to_vec(), file(contents))]))
}

/// Bytes that look random and are the same every time.
pub(crate) fn noise(seed: &str, length: usize) -> Vec<u8> {
    let mut state = u64::from_le_bytes(
        Hash::sha256(seed.as_bytes()).digest()[..8]
            .try_into()
            .unwrap(),
    );
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A store in a folder of its own.
pub(crate) struct TestStore {
    pub(crate) store: Store,
    // Dropped last: a closed store leaves its folder.
    pub(crate) folder: tempfile::TempDir,
}

impl TestStore {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            store: Store::open(&folder.path().join("store")).unwrap(),
            folder,
        }
    }

    /// Closes the store and opens it again, as another process would.
    pub(crate) fn reopened(self) -> Self {
        let Self { store, folder } = self;
        drop(store);
        Self {
            store: Store::open(&folder.path().join("store")).unwrap(),
            folder,
        }
    }

    pub(crate) async fn realise(
        &self,
        closure: &[ClosurePath],
        addresses: &[&str],
    ) -> Result<FetchOutcome, FetchError> {
        store::realise(
            &self.store,
            closure,
            &sources(addresses),
            &Arc::new(Progress::default()),
        )
        .await
    }

    pub(crate) fn record_of(&self, path: &ClosurePath) -> PathBuf {
        self.store
            .place_of(&store::Key::of(path))
            .with_extension("json")
    }

    /// Waits until these paths would last through a power cut.
    pub(crate) async fn settled(&self, paths: &[ClosurePath]) {
        let begun = std::time::Instant::now();
        let unsettled = |path| {
            fs::read_to_string(self.record_of(path))
                .unwrap()
                .contains("boot")
        };
        while paths.iter().any(unsettled) {
            assert!(
                begun.elapsed().as_secs() < 60,
                "the records never become lasting"
            );
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// Checks that nothing unfinished is left.
    pub(crate) fn assert_sound(&self) {
        // What becomes lasting in the background writes through the same folder.
        let left = || fs::read_dir(self.store.root().join("tmp")).unwrap().count();
        let begun = std::time::Instant::now();
        while left() > 0 {
            assert!(begun.elapsed().as_secs() < 30, "temporary files are left");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

pub(crate) fn sources(addresses: &[&str]) -> Vec<Source> {
    host::tls::install();
    let http = store::http_client("nival-test/0").unwrap();
    addresses
        .iter()
        .map(|address| Source::new(address, None, &http).unwrap())
        .collect()
}
