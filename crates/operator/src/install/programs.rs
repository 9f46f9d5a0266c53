//! The shim on a machine: a folder per version, and a link to the newest, so that running pods keep theirs.

use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use env_spec::Digest;
use fs_err as fs;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::machine::Host;

const FOLDER: &str = "/opt/nival";
const LINKS: &str = "bin";
const NAME: &str = "containerd-shim-nival-v2";
/// Of a digest in hexadecimal: enough to tell versions apart.
const DIGITS: usize = 32;

/// Why the shim cannot be placed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramsError {
    #[error("cannot read the shim {}", path.display())]
    Source {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot place the shim in {FOLDER} on the machine")]
    Place(#[from] io::Error),
}

/// Puts the shim on the machine, and returns whether the link has moved.
pub(crate) fn place(host: &Host, shim: &Path) -> Result<bool, ProgramsError> {
    let bytes = fs::read(shim).map_err(|source| ProgramsError::Source {
        path: shim.to_owned(),
        source,
    })?;
    let mut digest = Digest::of(&bytes).hex();
    digest.truncate(DIGITS);
    let folder = host.path(Path::new(FOLDER));
    let version = folder.join(&digest);
    fs::create_dir_all(&version)?;
    let program = version.join(NAME);
    // A crash or a full disk may have left half of one.
    if fs::read(&program).ok().as_ref() != Some(&bytes) {
        host::fs::write_atomic(&program, &bytes)?;
    }
    fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    link(&folder, &digest)
}

fn link(folder: &Path, digest: &str) -> Result<bool, ProgramsError> {
    let links = folder.join(LINKS);
    fs::create_dir_all(&links)?;
    let target = Path::new("..").join(digest).join(NAME);
    let path = links.join(NAME);
    if fs::read_link(&path).is_ok_and(|found| found == target) {
        return Ok(false);
    }
    let staged = links.join(format!(".{NAME}"));
    match fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    symlink(&target, &staged)?;
    // containerd starts the old one or the new one, at every moment.
    fs::rename(&staged, &path)?;
    host::fs::sync_parent(&path)?;
    Ok(true)
}

/// Removes the versions that neither the link leads to nor any process runs, and returns how many stay in use.
pub(crate) fn remove_unused(host: &Host) -> io::Result<usize> {
    let folder = host.path(Path::new(FOLDER));
    let current = fs::read_link(folder.join(LINKS).join(NAME)).ok();
    let current = current.and_then(|target| Some(target.parent()?.file_name()?.to_owned()));
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    let mut in_use = 0;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let is_version = name.to_str().is_some_and(|name| {
            name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        if !is_version || Some(&name) == current.as_ref() {
            continue;
        }
        if runs(&entry.path().join(NAME)) {
            in_use += 1;
        } else {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(in_use)
}

/// Tells whether any process runs a program, in whatever namespace: the kernel then lets nobody write to it.
fn runs(program: &Path) -> bool {
    matches!(
        open(program, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()),
        Err(Errno::TXTBSY)
    )
}

/// Takes the link away, and the versions that no process runs. What pods still run stays until the last one has gone.
pub(crate) fn remove(host: &Host) -> io::Result<()> {
    let folder = host.path(Path::new(FOLDER));
    let links = folder.join(LINKS);
    match fs::remove_file(links.join(NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::remove_dir(&links).ok();
    remove_unused(host)?;
    // Where it is empty.
    fs::remove_dir(&folder).ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_version_stays_while_a_process_runs_it() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let sleep = fs::canonicalize("/bin/sleep").unwrap();
        assert!(place(&host, &sleep).unwrap());
        assert!(!place(&host, &sleep).unwrap());
        let link = root.path().join("opt/nival/bin").join(NAME);
        let mut old = Command::new(&link).arg("60").spawn().unwrap();
        let other = root.path().join("other");
        fs::write(&other, "other").unwrap();
        assert!(place(&host, &other).unwrap());
        assert_eq!(fs::read(&link).unwrap(), b"other");
        assert_eq!(remove_unused(&host).unwrap(), 1);
        old.kill().unwrap();
        old.wait().unwrap();
        assert_eq!(remove_unused(&host).unwrap(), 0);
        assert_eq!(
            fs::read_dir(root.path().join("opt/nival")).unwrap().count(),
            2
        );
        remove(&host).unwrap();
        assert!(!root.path().join("opt/nival").exists());
    }
}
