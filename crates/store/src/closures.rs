//! The closures that the store knows: each is a set of paths that is presented, used and collected as one.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

use env_spec::Digest;
use env_spec::generation::ClosurePath;
use fs_err as fs;
use nix_data::{Hash, StorePath};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::layout::{Key, Store, StoreError};
use crate::remove::remove_tree;
use crate::temporary::Temporary;

/// A record of 5,000 paths is below 2 MB.
const LARGEST_RECORD: u64 = 16 << 20;

/// The name of a closure: it follows from its paths and their NAR hashes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClosureId(Digest);

/// What is written of a closure. Fields may be added, never changed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    version: u32,
    paths: Vec<RecordPath>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordPath {
    path: StorePath,
    nar_hash: Hash,
}

impl Record {
    fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

/// Removes closures without a whole record: what a power cut, or a kill in the middle of a removal, left of them.
pub(crate) fn recover(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root.join("closures"))? {
        let folder = entry?.path();
        let record = host::fs::read_bounded(&folder.join("closure.json"), LARGEST_RECORD);
        if !record.is_ok_and(|bytes| Record::parse(&bytes).is_ok()) {
            remove_tree(&folder)?;
        }
    }
    Ok(())
}

impl ClosureId {
    /// Returns the name of the closure with these paths, in whatever order they are.
    #[must_use]
    pub fn of(closure: &[ClosurePath]) -> Self {
        let sorted: BTreeMap<&StorePath, &Hash> = closure
            .iter()
            .map(|one| (&one.path, &one.nar_hash))
            .collect();
        let mut text = String::from("nival-closure-v1\n");
        for (path, hash) in sorted {
            text.push_str(&format!("{path} {hash}\n"));
        }
        Self(Digest::of(text.as_bytes()))
    }
}

impl fmt::Display for ClosureId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.hex())
    }
}

impl FromStr for ClosureId {
    type Err = env_spec::DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        format!("sha256:{text}").parse().map(Self)
    }
}

impl Serialize for ClosureId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClosureId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl Store {
    /// Writes down a closure, so that its paths are kept as long as the closure is.
    ///
    /// # Errors
    /// Fails when the disk refuses.
    pub fn record_closure(&self, closure: &[ClosurePath]) -> Result<ClosureId, StoreError> {
        let id = ClosureId::of(closure);
        let file = self.closure_file(id);
        if file.exists() {
            return Ok(id);
        }
        let paths = closure.iter().map(|one| RecordPath {
            path: one.path.clone(),
            nar_hash: one.nar_hash.clone(),
        });
        let record = Record {
            version: 1,
            paths: paths.collect(),
        };
        // No sync: what a power cut takes is written again at the next start.
        let write = || {
            fs::create_dir_all(self.closure_folder(id))?;
            let staged = Temporary::new(self);
            let bytes = serde_json::to_vec(&record).map_err(io::Error::other)?;
            fs::write(staged.path(), bytes)?;
            fs::rename(staged.path(), &file)
        };
        write().map_err(|source| self.failed(source))?;
        Ok(id)
    }

    /// Returns all closures that are written down.
    ///
    /// # Errors
    /// Fails when the disk refuses.
    pub fn closures(&self) -> Result<Vec<ClosureId>, StoreError> {
        let list = || {
            let mut found = Vec::new();
            for entry in fs::read_dir(self.root().join("closures"))? {
                let name = entry?.file_name();
                found.extend(
                    name.to_str()
                        .and_then(|name| name.parse::<ClosureId>().ok()),
                );
            }
            Ok(found)
        };
        list().map_err(|source| self.failed(source))
    }

    /// Returns the paths of a closure, or `None` where it is not written down.
    ///
    /// # Errors
    /// Fails when the disk refuses or what is there is no record.
    pub fn closure_keys(&self, id: ClosureId) -> Result<Option<Vec<Key>>, StoreError> {
        let bytes = match host::fs::read_bounded(&self.closure_file(id), LARGEST_RECORD) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let record = Record::parse(&bytes).map_err(|error| {
            let text = format!("{} is damaged: {error}", self.closure_file(id).display());
            self.failed(io::Error::new(io::ErrorKind::InvalidData, text))
        })?;
        Ok(Some(
            record
                .paths
                .into_iter()
                .map(|one| Key {
                    path: one.path,
                    nar_hash: one.nar_hash,
                })
                .collect(),
        ))
    }

    /// Notes that a closure is used now: the collector takes the longest unused ones first.
    pub fn touch_closure(&self, id: ClosureId) {
        let touched = fs::File::open(self.closure_file(id))
            .and_then(|file| file.file().set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::debug!(%id, %error, "time of last use not noted");
        }
    }

    pub(crate) fn last_used(&self, id: ClosureId) -> SystemTime {
        let modified = fs::metadata(self.closure_file(id)).and_then(|metadata| metadata.modified());
        modified.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    pub(crate) fn forget_closure(&self, id: ClosureId) -> io::Result<()> {
        // The record goes first: a closure without one is none.
        match fs::remove_file(self.closure_file(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        remove_tree(&self.closure_folder(id))
    }

    pub(crate) fn closure_folder(&self, id: ClosureId) -> PathBuf {
        self.root().join("closures").join(id.to_string())
    }

    fn closure_file(&self, id: ClosureId) -> PathBuf {
        self.closure_folder(id).join("closure.json")
    }

    pub(crate) fn lacks_record(&self, id: ClosureId) -> StoreError {
        let text = format!("{} is missing", self.closure_file(id).display());
        self.failed(io::Error::new(io::ErrorKind::NotFound, text))
    }

    pub(crate) fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Io {
            root: self.root().to_owned(),
            source,
        }
    }
}
