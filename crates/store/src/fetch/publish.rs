//! Giving fetched paths their names: each is whole under a temporary name first, and recorded last.

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

/// Publishes a path. The claim ends here: who waits sees the path.
pub(super) async fn publish(
    store: &Store,
    unpacked: Unpacked,
    claim: Claim,
    progress: &Arc<Progress>,
) -> Result<(), FetchError> {
    let nar_size = unpacked.path.nar_size;
    let blocking = store.clone();
    let published = tokio::task::spawn_blocking(move || publish_now(&blocking, &unpacked)).await;
    let published = published.map_err(|_| FetchError::Interrupted)?;
    published.map_err(|source| FetchError::Publish {
        root: store.root().to_owned(),
        source,
    })?;
    progress.add_published(nar_size);
    drop(claim);
    Ok(())
}

fn publish_now(store: &Store, unpacked: &Unpacked) -> io::Result<()> {
    let boot = store.boot();
    if boot.is_none() {
        // Where boots cannot be told apart, the bytes must be on the disk before their record is.
        rustix::fs::syncfs(fs::File::open(store.temporary())?)?;
    }
    let key = Key::of(&unpacked.path);
    let presence = Presence {
        nar_size: unpacked.path.nar_size,
        source: unpacked.source.clone(),
        boot: boot.map(str::to_owned),
    };
    fs::create_dir_all(store.folder_of(&key))?;
    let place = store.place_of(&key);
    if fs::symlink_metadata(&place).is_ok() {
        // Left by an attempt that failed between name and record.
        remove_tree(&place)?;
    }
    fs::rename(unpacked.place.path(), &place)?;
    seal(&place)?;
    store.write_record(&key, &presence)?;
    store.registry().present.insert(key, presence);
    Ok(())
}
