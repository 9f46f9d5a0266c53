//! The machine that is installed on, seen from a container that has its root mounted somewhere.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use host::process::ProcessError;

/// As many as the kernel follows.
const MOST_LINKS: usize = 40;

/// A machine's files and programs.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    root: PathBuf,
}

impl Host {
    /// Returns the machine whose root is mounted here.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Returns where a file of the machine is for this process. Links on the way lead where they lead on the machine.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        if self.is_own() {
            return path.to_owned();
        }
        let mut resolved = PathBuf::new();
        let mut rest = words(path);
        let mut links = 0;
        while let Some(word) = rest.pop_front() {
            if word == ".." {
                resolved.pop();
                continue;
            }
            resolved.push(word);
            let Ok(target) = fs::read_link(self.root.join(&resolved)) else {
                continue;
            };
            links += 1;
            if links > MOST_LINKS {
                break;
            }
            resolved.pop();
            if target.is_absolute() {
                resolved.clear();
            }
            for word in words(&target).into_iter().rev() {
                rest.push_front(word);
            }
        }
        resolved.extend(rest);
        self.root.join(resolved)
    }

    /// Tells whether the machine has a file.
    pub(crate) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.path(path.as_ref()).exists()
    }

    /// Returns a file's text, where the file is there.
    pub(crate) fn text(&self, path: &Path) -> io::Result<Option<String>> {
        match fs::read_to_string(self.path(path)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Runs one of the machine's programs to its end, on the machine.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Result<(), ProcessError> {
        let mut command = if self.is_own() {
            Command::new(program)
        } else {
            // This program once more: it goes to the machine's root and becomes the other one.
            let mut command = Command::new("/proc/self/exe");
            command.arg("on-host").arg(&self.root).arg(program);
            command
        };
        // systemctl does nothing where it takes the place it runs in for an image that is being built.
        command.env("SYSTEMD_IGNORE_CHROOT", "1");
        host::process::run(command.args(arguments)).map(drop)
    }

    fn is_own(&self) -> bool {
        self.root == Path::new("/")
    }
}

/// Returns the names on a path, with what leads upwards.
fn words(path: &Path) -> VecDeque<OsString> {
    let word = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(word).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_where_they_lead_on_the_machine() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("data/etc")).unwrap();
        symlink("/data/etc", root.path().join("etc")).unwrap();
        symlink("../../../data", root.path().join("data/up")).unwrap();
        symlink("loop", root.path().join("loop")).unwrap();
        let host = Host::new(root.path());
        let seen = |path: &str| host.path(Path::new(path));
        assert_eq!(seen("/etc/file"), root.path().join("data/etc/file"));
        assert_eq!(seen("/data/up/x"), root.path().join("data/x"));
        assert_eq!(seen("/../../x"), root.path().join("x"));
        assert!(seen("/loop/x").starts_with(root.path()));
    }
}
