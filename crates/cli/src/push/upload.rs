//! Uploads what an owner's cache lacks: each NAR before its narinfo, references before what refers to them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::hub::missing::{MissingRequest, PathAndHash};
use api::hub::{ClientError, HubClient};
use env_spec::generation::ClosurePath;
use futures::{StreamExt as _, TryStreamExt as _};
use nix_data::{SecretKey, StorePath};
use tokio_util::io::ReaderStream;

use crate::error::{CommandError, Outcome};
use crate::output::{Printer, bytes, count};
use crate::progress::Progress;
use crate::push::archive::Archive;

/// Compressing takes a core each; more would only wait for the network.
const AT_A_TIME: usize = 3;
/// A hub that is being restarted is back within these.
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// What was uploaded.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Uploaded {
    /// How many paths.
    pub(super) paths: usize,
    /// How many bytes, as they went over the wire.
    pub(super) bytes: u64,
}

/// The cache that paths are uploaded to, and the key that its narinfos are signed with.
pub(super) struct Target<'a> {
    pub(super) hub: &'a HubClient,
    pub(super) owner: &'a str,
    pub(super) key: &'a SecretKey,
}

impl Target<'_> {
    /// Asks which of these paths the cache lacks.
    pub(super) async fn missing(
        &self,
        paths: &BTreeMap<StorePath, ClosurePath>,
    ) -> Outcome<BTreeSet<StorePath>> {
        let asked = paths
            .values()
            .map(|one| PathAndHash {
                path: one.path.clone(),
                nar_hash: one.nar_hash.clone(),
            })
            .collect();
        let answer = self
            .hub
            .missing(self.owner, &MissingRequest { paths: asked })
            .await?;
        let Some(path) = answer.different.first() else {
            return Ok(answer.missing.into_iter().collect());
        };
        let others = match answer.different.len() {
            1 => String::new(),
            several => format!(" and {} others", several - 1),
        };
        let text = format!(
            "the cache of {} has other bytes for {path}{others}",
            self.owner
        );
        Err(CommandError::user(text)
            .hint("builds are not always the same bit by bit: have the path from the hub's cache, so that the lock names its bytes")
            .hint(format!(
                "add {} to `substituters`, then: nix store delete {path} && nival upgrade",
                self.hub.cache_url(self.owner)
            )))
    }

    /// Uploads the paths that the cache lacks.
    pub(super) async fn upload(
        &self,
        printer: Printer,
        paths: &BTreeMap<StorePath, ClosurePath>,
        missing: &BTreeSet<StorePath>,
        environments: &BTreeSet<StorePath>,
    ) -> Outcome<Uploaded> {
        let order: Vec<&ClosurePath> = references_first(paths)
            .into_iter()
            .filter(|one| missing.contains(&one.path))
            .collect();
        let total = order.iter().map(|one| one.nar_size).sum();
        if !order.is_empty() {
            let what = count(order.len(), "store path", "store paths");
            printer.say(format!("Uploading {what} ({} unpacked).", bytes(total)));
        }
        let progress = Progress::bytes(printer, "uploading", total);
        let archives = futures::stream::iter(order.into_iter().cloned())
            .map(|path| async move {
                let archive = tokio::task::spawn_blocking(move || Archive::make(&path))
                    .await
                    .expect("archiving does not panic")?;
                put_archive(self.hub, self.owner, &archive).await?;
                Ok::<_, CommandError>(archive)
            })
            // Kept in order, so that no narinfo is seen before those of its references.
            .buffered(AT_A_TIME);
        archives
            .try_fold(Uploaded::default(), |done, archive| {
                let progress = &progress;
                async move {
                    let path = &archive.path.path;
                    let hash = path.hash_part();
                    if let Some(listing) = &archive.listing {
                        self.put(&format!("{hash}.ls"), listing).await?;
                    }
                    let info = archive
                        .narinfo(self.key, environments.contains(path))
                        .to_string();
                    self.put(&format!("{hash}.narinfo"), &info).await?;
                    progress.add(archive.path.nar_size);
                    Ok(Uploaded {
                        paths: done.paths + 1,
                        bytes: done.bytes + archive.size,
                    })
                }
            })
            .await
    }

    async fn put(&self, file: &str, text: &str) -> Outcome {
        retrying(|| async {
            let put = self.hub.put_cache_file(self.owner, file, text.to_owned());
            put.await.map_err(CommandError::from)
        })
        .await
    }
}

async fn put_archive(hub: &HubClient, owner: &str, archive: &Archive) -> Outcome {
    let url = archive.url();
    retrying(|| async {
        let file = archive.reader().map(tokio::fs::File::from_std);
        let body = match file {
            Ok(file) => reqwest::Body::wrap_stream(ReaderStream::with_capacity(file, 256 << 10)),
            Err(error) => return Err(error.into()),
        };
        hub.put_cache_file(owner, &url, body)
            .await
            .map_err(CommandError::from)
    })
    .await
}

/// Tries again after what may pass by itself.
async fn retrying<F: Future<Output = Outcome>>(attempt: impl Fn() -> F) -> Outcome {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match attempt().await {
            Err(error) if error.hub_error().is_some_and(ClientError::is_transient) => {
                tracing::warn!(?error, ?pause, "trying again");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            outcome => return outcome,
        }
    }
    attempt().await
}

/// Orders paths so that each comes after those it refers to.
fn references_first(paths: &BTreeMap<StorePath, ClosurePath>) -> Vec<&ClosurePath> {
    let mut done: BTreeSet<&StorePath> = BTreeSet::new();
    let mut order = Vec::new();
    for start in paths.values() {
        // Depth first with a stack of its own: closures are up to thousands of paths deep.
        let mut stack = vec![(start, false)];
        while let Some((one, ready)) = stack.pop() {
            if ready {
                order.push(one);
                continue;
            }
            if !done.insert(&one.path) {
                continue;
            }
            stack.push((one, true));
            let below = one.references.iter().filter_map(|path| paths.get(path));
            stack.extend(
                below
                    .filter(|one| !done.contains(&one.path))
                    .map(|one| (one, false)),
            );
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use nix_data::Hash;

    use super::*;

    fn path(letter: char) -> StorePath {
        StorePath::from_base_name(&format!("{}-x", letter.to_string().repeat(32))).unwrap()
    }

    #[test]
    fn references_come_before_what_refers_to_them() {
        let edges = [('a', "bc"), ('b', "cb"), ('c', "d"), ('d', "")];
        let paths: BTreeMap<StorePath, ClosurePath> = edges
            .iter()
            .map(|(letter, below)| {
                let one = ClosurePath {
                    path: path(*letter),
                    nar_hash: Hash::sha256(b""),
                    nar_size: 1,
                    references: below.chars().map(path).collect(),
                };
                (path(*letter), one)
            })
            .collect();
        let order: Vec<String> = references_first(&paths)
            .iter()
            .map(|one| one.path.to_string())
            .collect();
        let expected: Vec<String> = "dcba"
            .chars()
            .map(|letter| path(letter).to_string())
            .collect();
        assert_eq!(order, expected);
    }
}
