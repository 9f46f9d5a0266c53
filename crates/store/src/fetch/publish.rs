//! Giving fetched paths their names: all of them are on the disk first, and recorded last.

use std::io;
use std::sync::Arc;

use fs_err as fs;

use super::FetchError;
use super::download::Unpacked;
use super::progress::Progress;
use crate::flight::Claim;
use crate::layout::{Key, Presence, Store};
use crate::remove::remove_tree;
use crate::unpack::seal;

/// Publishes a batch. The claims end here: who waits sees the paths.
pub(super) async fn publish(
    store: &Store,
    batch: Vec<(Unpacked, Claim)>,
    progress: &Arc<Progress>,
) -> Result<(), FetchError> {
    if batch.is_empty() {
        return Ok(());
    }
    let (store, progress) = (store.clone(), Arc::clone(progress));
    let root = store.root().to_owned();
    let published =
        tokio::task::spawn_blocking(move || publish_now(&store, batch, &progress)).await;
    let published = published.map_err(|_| FetchError::Interrupted)?;
    published.map_err(|source| FetchError::Publish { root, source })
}

fn publish_now(
    store: &Store,
    batch: Vec<(Unpacked, Claim)>,
    progress: &Progress,
) -> io::Result<()> {
    // After this a power cut can take no bytes away, so a name that lasts has all of them.
    rustix::fs::syncfs(fs::File::open(store.temporary())?)?;
    for (unpacked, claim) in batch {
        let key = Key::of(&unpacked.path);
        let presence = Presence {
            nar_size: unpacked.path.nar_size,
            source: unpacked.source.clone(),
        };
        fs::create_dir_all(store.folder_of(&key))?;
        let place = store.place_of(&key);
        if fs::symlink_metadata(&place).is_ok() {
            // Left by a process that died between name and record.
            remove_tree(&place)?;
        }
        fs::rename(unpacked.place.path(), &place)?;
        seal(&place)?;
        // A record that a power cut loses only means that the path is fetched again: no sync.
        let staged = unpacked.place.path().with_extension("json");
        fs::write(
            &staged,
            serde_json::to_vec(&presence).map_err(io::Error::other)?,
        )?;
        fs::rename(&staged, store.record_of(&key))?;
        store.registry().present.insert(key, presence);
        progress.add_published(unpacked.path.nar_size);
        drop(claim);
    }
    Ok(())
}
