//! The object store: all bytes of the hub. Every object appears whole or not at all.

mod inspect;
pub(crate) mod layout;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, WriteMultipart};

pub(crate) use inspect::{InspectError, Inspected};

use crate::error::HubError;

/// Parts of this size are written at once: S3 takes none below 5 MiB.
const PART: usize = 8 << 20;

/// How many parts of one upload may be under way, so that a slow disk slows the client down and fills no memory.
const PARTS_UNDER_WAY: usize = 2;

/// The object store.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    store: Arc<dyn ObjectStore>,
}

/// An object that is being written. Nobody sees it before [`Upload::finish`]; dropped, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Upload {
    location: Path,
    writer: WriteMultipart,
}

impl Storage {
    /// Opens a local folder, and removes what uploads left there that were cut off by the end of the process.
    ///
    /// # Errors
    /// Fails when the folder cannot be made or read.
    pub(crate) fn local(folder: &std::path::Path) -> Result<Self, HubError> {
        let failed = |source| HubError::Storage {
            location: folder.display().to_string(),
            source,
        };
        let io = |error: std::io::Error| {
            failed(object_store::Error::Generic {
                store: "folder",
                source: Box::new(error),
            })
        };
        fs_err::create_dir_all(folder).map_err(io)?;
        remove_staged(folder).map_err(io)?;
        let store = LocalFileSystem::new_with_prefix(folder)
            .map_err(failed)?
            .with_fsync(true);
        Ok(Self {
            store: Arc::new(store),
        })
    }

    /// Writes a small object.
    pub(crate) async fn put(
        &self,
        location: &Path,
        bytes: impl Into<Bytes>,
    ) -> Result<(), HubError> {
        self.store
            .put(location, bytes.into().into())
            .await
            .map(drop)
            .map_err(|source| failed(location, source))
    }

    /// Begins to write a large object.
    pub(crate) async fn upload(&self, location: Path) -> Result<Upload, HubError> {
        let upload = self.store.put_multipart(&location).await;
        let upload = upload.map_err(|source| failed(&location, source))?;
        Ok(Upload {
            location,
            writer: WriteMultipart::new_with_chunk_size(upload, PART),
        })
    }

    /// Reads a small object; `None` where there is none.
    pub(crate) async fn get(&self, location: &Path) -> Result<Option<Bytes>, HubError> {
        match self.store.get(location).await {
            Ok(found) => found
                .bytes()
                .await
                .map(Some)
                .map_err(|source| failed(location, source)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed(location, source)),
        }
    }

    /// Tells whether there is an object.
    pub(crate) async fn has(&self, location: &Path) -> Result<bool, HubError> {
        match self.store.head(location).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(failed(location, source)),
        }
    }

    /// Reads an object, or a part of it, piece by piece.
    pub(crate) async fn stream(
        &self,
        location: &Path,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, HubError>>, HubError> {
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let found = self.store.get_opts(location, options).await;
        let found = found.map_err(|source| failed(location, source))?;
        let location = location.clone();
        Ok(found
            .into_stream()
            .map_err(move |source| failed(&location, source))
            .boxed())
    }
}

impl Upload {
    /// Adds bytes, and waits while too many are not yet on disk.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), HubError> {
        let capacity = self.writer.wait_for_capacity(PARTS_UNDER_WAY).await;
        capacity.map_err(|source| failed(&self.location, source))?;
        self.writer.put(bytes);
        Ok(())
    }

    /// Makes the object appear, durably.
    pub(crate) async fn finish(self) -> Result<(), HubError> {
        let location = self.location;
        self.writer
            .finish()
            .await
            .map(drop)
            .map_err(|source| failed(&location, source))
    }

    /// Throws away what was written.
    pub(crate) async fn abort(self) {
        if let Err(error) = self.writer.abort().await {
            tracing::warn!(location = %self.location, %error, "cannot remove an unfinished upload");
        }
    }
}

fn failed(location: &Path, source: object_store::Error) -> HubError {
    HubError::storage(location.to_string(), source)
}

/// Unfinished uploads to a folder are files named `<object>#<number>`; no object's name has a `#`.
fn remove_staged(folder: &std::path::Path) -> std::io::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_staged(&entry.path())?;
        } else if entry.file_name().to_string_lossy().contains('#') {
            fs_err::remove_file(entry.path())?;
            tracing::info!(file = %entry.path().display(), "removed an unfinished upload");
        }
    }
    Ok(())
}
