//! What was tried on a machine and did not work: the same is not tried again at once, for each attempt restarts containerd.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::machine::Host;
use super::plan::Change;

/// Whoever removes it has the attempt made again.
pub(super) const FILE: &str = "/opt/nival/taken-back.json";
/// It holds a few configuration files.
const LARGEST: u64 = 16 << 20;
/// Something else may have been the reason.
const AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// An attempt that was taken back.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Attempt {
    /// What containerd was given, with which version, and how it was restarted and waited for.
    version: String,
    changes: Vec<Change>,
    how: String,
    /// When, in seconds since 1970.
    at: u64,
    /// What came of it.
    pub(super) reason: String,
}

impl Attempt {
    /// Returns what came of the same attempt within the last hour.
    pub(super) fn last(host: &Host, version: &str, changes: &[Change], how: &str) -> Option<Self> {
        let bytes = host::fs::read_bounded(&host.path(Path::new(FILE)), LARGEST).ok()?;
        let attempt: Self = serde_json::from_slice(&bytes).ok()?;
        let same = attempt.version == version && attempt.changes == changes && attempt.how == how;
        let recent = now().checked_sub(attempt.at)? < AGAIN_AFTER.as_secs();
        (same && recent).then_some(attempt)
    }

    /// Writes down that it did not work.
    pub(super) fn failed(
        host: &Host,
        version: &str,
        changes: Vec<Change>,
        how: String,
        reason: String,
    ) -> io::Result<()> {
        let attempt = Self {
            version: version.to_owned(),
            changes,
            how,
            at: now(),
            reason,
        };
        // Configurations may hold passwords for registries.
        let bytes = serde_json::to_vec(&attempt)?;
        host::fs::write_atomic_private(&host.path(Path::new(FILE)), &bytes)
    }

    /// Forgets what was tried.
    pub(super) fn forget(host: &Host) -> io::Result<()> {
        match fs::remove_file(host.path(Path::new(FILE))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOW: &str = "containerd.service, 90s";

    #[test]
    fn the_same_attempt_is_remembered_and_another_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("opt/nival")).unwrap();
        let host = Host::new(root.path());
        let change = |text: &str| Change {
            path: "/etc/containerd/config.toml".into(),
            before: Some("version = 2".to_owned()),
            after: Some(text.to_owned()),
        };
        let changes = vec![change("version = 3")];
        assert!(Attempt::last(&host, "2.1.0", &changes, HOW).is_none());
        Attempt::failed(
            &host,
            "2.1.0",
            changes.clone(),
            HOW.to_owned(),
            "it hung".to_owned(),
        )
        .unwrap();
        let last = Attempt::last(&host, "2.1.0", &changes, HOW).unwrap();
        assert_eq!(last.reason, "it hung");
        assert!(Attempt::last(&host, "2.1.0", &changes, "300s").is_none());
        assert!(Attempt::last(&host, "2.1.1", &changes, HOW).is_none());
        assert!(Attempt::last(&host, "2.1.0", &[change("version = 4")], HOW).is_none());
        // An hour later, and with a clock that was set back.
        for at in [now() - AGAIN_AFTER.as_secs(), now() + 60] {
            let attempt = Attempt {
                version: "2.1.0".to_owned(),
                changes: changes.clone(),
                how: HOW.to_owned(),
                at,
                reason: String::new(),
            };
            let bytes = serde_json::to_vec(&attempt).unwrap();
            fs::write(host.path(Path::new(FILE)), bytes).unwrap();
            assert!(
                Attempt::last(&host, "2.1.0", &changes, HOW).is_none(),
                "{at}"
            );
        }
        Attempt::forget(&host).unwrap();
        Attempt::forget(&host).unwrap();
        assert!(!host.has(FILE));
    }
}
