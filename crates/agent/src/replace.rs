//! Replacing files in one step without a sync: for what a power cut may take.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use fs_err as fs;

/// Files that were not finished end so.
const UNFINISHED: &str = "new";

/// Replaces a file: readers see the old bytes or the new ones. Several may write the same file at the same time.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let staged = path.with_extension(format!("{number}.{UNFINISHED}"));
    fs::write(&staged, bytes)?;
    fs::rename(&staged, path)
}

/// Makes a folder for such files, or removes what an earlier process left unfinished in it.
pub(crate) fn open_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == UNFINISHED)
        {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_may_write_one_file_and_leftovers_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note.json");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..100).for_each(|_| replace(&path, b"text").unwrap()));
            }
        });
        fs::write(folder.path().join("note.7.new"), "half").unwrap();
        open_folder(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read(&path).unwrap(), b"text");
    }
}
