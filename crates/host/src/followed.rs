//! A file that somebody else rewrites under way, as a kubelet does with a ConfigMap's.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fs::read_bounded;

/// How often the file is looked at. A kubelet renews a ConfigMap's files within a minute or two.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file with what it held when it was last looked at.
#[derive(Debug)]
pub struct Followed {
    path: PathBuf,
    limit: u64,
    text: String,
    /// What it held at the last look, where that was something else.
    next: Option<String>,
}

impl Followed {
    /// Reads a file of at most so many bytes for the first time.
    ///
    /// # Errors
    /// Fails when it cannot be read or is too large.
    pub fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let mut file = Self::absent(path, limit);
        file.text = file.read()?;
        Ok(file)
    }

    /// Returns a file that need not be there.
    #[must_use]
    pub fn absent(path: &Path, limit: u64) -> Self {
        Self {
            path: path.to_owned(),
            limit,
            text: String::new(),
            next: None,
        }
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what it held when it was last looked at; nothing where it was not there.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Waits until it holds something else. While it cannot be read, it counts as it was; and what it holds counts at the
    /// second look, since whoever rewrites it in place is not done at once.
    pub async fn changed(&mut self) {
        while !self.has_changed() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn has_changed(&mut self) -> bool {
        let next = self.read().ok().filter(|next| *next != self.text);
        match next {
            Some(next) if self.next.as_ref() == Some(&next) => {
                self.text = next;
                self.next = None;
                true
            }
            next => {
                self.next = next;
                false
            }
        }
    }

    fn read(&self) -> io::Result<String> {
        let bytes = read_bounded(&self.path, self.limit)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    #[tokio::test]
    async fn a_file_has_changed_when_it_holds_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        Followed::open(&path, 9).unwrap_err();
        let mut file = Followed::absent(&path, 9);
        assert!(!file.has_changed());
        fs::write(&path, "o").unwrap();
        assert!(!file.has_changed(), "written in part");
        fs::write(&path, "one").unwrap();
        assert!(!file.has_changed(), "the first look");
        assert!(file.has_changed());
        assert_eq!(file.text(), "one");
        let mut file = Followed::open(&path, 9).unwrap();
        for same in ["one", "more than it may hold"] {
            fs::write(&path, same).unwrap();
            assert!(!file.has_changed(), "{same}");
        }
        fs::remove_file(&path).unwrap();
        assert!(!file.has_changed(), "gone");
        fs::write(&path, "two").unwrap();
        file.changed().await;
        assert_eq!(file.text(), "two");
    }
}
