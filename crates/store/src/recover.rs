//! What an earlier process left: the unfinished goes, the recorded is taken over.

use std::io;
use std::path::Path;

use fs_err as fs;
use nix_data::{Hash, HashAlgorithm, StorePath};

use crate::closures;
use crate::layout::{Key, Presence, Registry};
use crate::remove::remove_tree;

/// A record of presence is a few lines.
const LARGEST_RECORD: u64 = 64 << 10;

/// Removes what is not finished, and reads what is there. `boot` is the machine's present one.
pub(crate) fn recover(root: &Path, boot: Option<&str>) -> io::Result<Registry> {
    for entry in fs::read_dir(root.join("tmp"))? {
        remove_tree(&entry?.path())?;
    }
    closures::recover(root)?;
    let mut registry = Registry::default();
    for entry in fs::read_dir(root.join("paths"))? {
        let folder = entry?.path();
        let base_name = folder.file_name().and_then(|name| name.to_str());
        let path = base_name.and_then(|name| StorePath::from_base_name(name).ok());
        let Some(path) = path else {
            tracing::warn!(folder = %folder.display(), "something in the store is no store path: left alone");
            continue;
        };
        recover_path(&path, &folder, boot, &mut registry)?;
    }
    Ok(registry)
}

fn recover_path(
    path: &StorePath,
    folder: &Path,
    boot: Option<&str>,
    registry: &mut Registry,
) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name());
    }
    let mut kept = false;
    for name in &names {
        let Some(name) = name.to_str() else { continue };
        let place = folder.join(name);
        match name.strip_suffix(".json") {
            // The record without the bytes.
            Some(hash) if !names.iter().any(|one| one == hash) => fs::remove_file(&place)?,
            Some(_) => {}
            None => {
                let record = folder.join(format!("{name}.json"));
                match (read_presence(&record, boot), parse_hash(name)) {
                    (Some(presence), Some(nar_hash)) => {
                        let path = path.clone();
                        registry.present.insert(Key { path, nar_hash }, presence);
                        kept = true;
                    }
                    _ => {
                        tracing::info!(place = %place.display(), "removing what was never finished");
                        remove_tree(&place)?;
                        if record.exists() {
                            fs::remove_file(&record)?;
                        }
                    }
                }
            }
        }
    }
    if !kept && fs::read_dir(folder)?.next().is_none() {
        fs::remove_dir(folder)?;
    }
    Ok(())
}

/// A record that was cut short by a power cut counts as none, as does one of an earlier boot.
fn read_presence(record: &Path, boot: Option<&str>) -> Option<Presence> {
    let bytes = host::fs::read_bounded(record, LARGEST_RECORD).ok()?;
    let presence: Presence = serde_json::from_slice(&bytes).ok()?;
    (presence.boot.is_none() || presence.boot.as_deref() == boot).then_some(presence)
}

fn parse_hash(digest: &str) -> Option<Hash> {
    Hash::from_unprefixed(HashAlgorithm::Sha256, digest).ok()
}
