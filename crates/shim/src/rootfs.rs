//! What programs expect of a root filesystem and an empty image does not give.
//!
//! The image's files are a tenant's: every path is resolved inside the root by the kernel (`RESOLVE_IN_ROOT`), so that
//! no symbolic link in it leads out. What is there already stays.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use api::agent::PrepareResponse;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, chownat, fchmod, fchown, fstat, mkdirat, open,
    openat, openat2, symlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::spec::{ROOT, User};

const SWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n";
const NOBODY: u32 = 65534;
/// More users than any image has.
const LARGEST_USERS: u64 = 1 << 20;

/// Why the skeleton could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make {} in the container's root filesystem", path.display())]
pub(crate) struct SkeletonError {
    path: PathBuf,
    #[source]
    source: Errno,
}

type Result<T> = std::result::Result<T, SkeletonError>;

/// Lays out `/bin/sh`, `/usr/bin/env`, `/etc/passwd`, `/etc/group`, `/etc/nsswitch.conf`, `/root` and `/tmp`.
///
/// `user` is the container's, as it sees itself; `owner` is its root, as the host sees it: what is made here belongs to
/// it, also where the container has a user namespace.
pub(crate) fn lay_out(
    rootfs: &Path,
    plan: &PrepareResponse,
    user: User,
    owner: User,
) -> Result<()> {
    let root = Root::open(rootfs, owner)?;
    if !plan.shell.is_empty() {
        root.link("bin", "sh", &plan.shell)?;
    }
    if !plan.env_program.is_empty() {
        root.link("usr/bin", "env", &plan.env_program)?;
    }
    root.file("etc", "passwd", &passwd(user))?;
    root.file("etc", "group", &group(user))?;
    root.file("etc", "nsswitch.conf", SWITCH)?;
    root.folder_with_mode("root", 0o700)?;
    root.folder_with_mode("tmp", 0o1777)?;
    root.folder("var")?;
    root.folder_with_mode("var/tmp", 0o1777)
}

/// Returns a user's home, as the OCI runtime finds it in the root filesystem.
pub(crate) fn home(rootfs: &Path, uid: u32) -> String {
    const NOWHERE: &str = "/";
    let users = Root::open(rootfs, ROOT).and_then(|root| root.read("etc/passwd"));
    let users = users.unwrap_or_default();
    let home = users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let is_user = fields.get(2)?.parse() == Ok(uid);
        is_user.then(|| (*fields.get(5).unwrap_or(&NOWHERE)).to_owned())
    });
    home.unwrap_or_else(|| NOWHERE.to_owned())
}

fn passwd(user: User) -> String {
    let mut text = String::from("root:x:0:0:root:/root:/bin/sh\n");
    if user.uid != 0 && user.uid != NOBODY {
        let User { uid, gid } = user;
        text.push_str(&format!("nival:x:{uid}:{gid}:nival:/:/bin/sh\n"));
    }
    text.push_str("nobody:x:65534:65534:nobody:/:/bin/false\n");
    text
}

fn group(user: User) -> String {
    let mut text = String::from("root:x:0:\n");
    if user.gid != 0 && user.gid != NOBODY {
        text.push_str(&format!("nival:x:{}:\n", user.gid));
    }
    text.push_str("nobody:x:65534:\n");
    text
}

/// An open root filesystem.
struct Root {
    folder: OwnedFd,
    /// Whose the things are that are made in it; nobody's in particular where it is the host's root.
    owner: Option<(Uid, Gid)>,
}

impl Root {
    fn open(path: &Path, owner: User) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = open(path, flags, Mode::empty());
        Ok(Self {
            folder: opened.map_err(failed(path))?,
            owner: (owner != ROOT).then(|| (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid))),
        })
    }

    fn give(&self, to: impl AsFd) -> std::result::Result<(), Errno> {
        match self.owner {
            Some((uid, gid)) => fchown(to, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }

    /// Opens a folder, making it and those above it where they are missing.
    fn folder(&self, path: &str) -> Result<(OwnedFd, bool)> {
        let mut made = false;
        let mut reached = String::new();
        let mut current: Option<OwnedFd> = None;
        for part in path.split('/') {
            let parent = current.as_ref().map_or(self.folder.as_fd(), AsFd::as_fd);
            made = match mkdirat(parent, part, Mode::from(0o755)) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(failed(path)(error)),
            };
            if !reached.is_empty() {
                reached.push('/');
            }
            reached.push_str(part);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let opened = openat2(&self.folder, &reached, flags, Mode::empty(), resolve);
            let opened = opened.map_err(failed(path))?;
            if made {
                self.give(&opened).map_err(failed(path))?;
            }
            current = Some(opened);
        }
        let folder = current.ok_or_else(|| failed(path)(Errno::INVAL))?;
        Ok((folder, made))
    }

    fn read(&self, path: &str) -> Result<String> {
        // An image may hold a device or a pipe in the place of the file, and opening a device is an act in itself:
        // what is there is looked at first, and only a regular file is opened.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let found = openat2(&self.folder, path, flags, Mode::empty(), resolve);
        let found = found.map_err(failed(path))?;
        let kind = FileType::from_raw_mode(fstat(&found).map_err(failed(path))?.st_mode);
        if kind != FileType::RegularFile {
            return Err(failed(path)(Errno::INVAL));
        }
        let again = format!("/proc/self/fd/{}", found.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = open(again, flags, Mode::empty()).map_err(failed(path))?;
        let mut bytes = Vec::new();
        let read = fs_err::File::from_parts(file.into(), path)
            .take(LARGEST_USERS)
            .read_to_end(&mut bytes);
        read.map_err(|error| failed(path)(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn folder_with_mode(&self, path: &str, mode: u32) -> Result<()> {
        let (folder, made) = self.folder(path)?;
        if made {
            // The mode of mkdir is cut by the process's mask.
            fchmod(folder, Mode::from(mode)).map_err(failed(path))?;
        }
        Ok(())
    }

    fn link(&self, folder: &str, name: &str, target: &str) -> Result<()> {
        let (parent, _) = self.folder(folder)?;
        let made = match (symlinkat(target, &parent, name), self.owner) {
            (Ok(()), Some((uid, gid))) => {
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                chownat(&parent, name, Some(uid), Some(gid), flags)
            }
            (Ok(()) | Err(Errno::EXIST), _) => Ok(()),
            (Err(error), _) => Err(error),
        };
        made.map_err(failed(format!("{folder}/{name}")))
    }

    fn file(&self, folder: &str, name: &str, text: &str) -> Result<()> {
        let failed = failed(format!("{folder}/{name}"));
        let (parent, _) = self.folder(folder)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(parent, name, flags, Mode::from(0o644)) {
            Ok(file) => file,
            Err(Errno::EXIST) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        if let Err(error) = self.give(&file) {
            return Err(failed(error));
        }
        let mut file = std::io::BufWriter::new(fs_err::File::from_parts(file.into(), name));
        let written = file.write_all(text.as_bytes()).and_then(|()| file.flush());
        written.map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    }
}

fn failed(path: impl AsRef<Path>) -> impl FnOnce(Errno) -> SkeletonError {
    let path = Path::new("/").join(path);
    move |source| SkeletonError { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use fs_err as fs;

    use super::*;

    fn plan() -> PrepareResponse {
        PrepareResponse {
            shell: "/nix/store/b-bash/bin/bash".into(),
            env_program: "/nix/store/c-coreutils/bin/env".into(),
            ..PrepareResponse::default()
        }
    }

    #[test]
    fn an_empty_root_gets_what_programs_expect() {
        let root = tempfile::tempdir().unwrap();
        let user = User {
            uid: 1000,
            gid: 2000,
        };
        lay_out(root.path(), &plan(), user, ROOT).unwrap();
        let at = |path: &str| root.path().join(path);
        assert_eq!(
            fs::read_link(at("bin/sh")).unwrap(),
            Path::new("/nix/store/b-bash/bin/bash")
        );
        assert_eq!(
            fs::read_link(at("usr/bin/env")).unwrap(),
            Path::new("/nix/store/c-coreutils/bin/env")
        );
        let passwd = fs::read_to_string(at("etc/passwd")).unwrap();
        assert!(
            passwd.contains("nival:x:1000:2000:nival:/:/bin/sh\n"),
            "{passwd}"
        );
        assert!(
            fs::read_to_string(at("etc/group"))
                .unwrap()
                .contains("nival:x:2000:\n")
        );
        let tmp = fs::metadata(at("tmp")).unwrap();
        assert_eq!(tmp.permissions().mode() & 0o7777, 0o1777);
        assert_eq!(home(root.path(), 0), "/root");
        assert_eq!(home(root.path(), 1000), "/");
        assert_eq!(home(root.path(), 7), "/", "a user that is not listed");
        // A container that starts again finds it all there.
        lay_out(root.path(), &plan(), user, ROOT).unwrap();
    }

    #[test]
    fn what_the_image_has_stays() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/passwd"), "own").unwrap();
        lay_out(root.path(), &plan(), ROOT, ROOT).unwrap();
        assert_eq!(
            fs::read_to_string(root.path().join("etc/passwd")).unwrap(),
            "own"
        );
    }

    #[test]
    fn links_in_the_image_do_not_lead_out_of_it() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        symlink(outside.path(), root.path().join("etc")).unwrap();
        symlink("../../../../../../..", root.path().join("bin")).unwrap();
        // The link's target does not exist inside of the root, so this fails or stays inside; never outside.
        lay_out(root.path(), &plan(), ROOT, ROOT).ok();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        let shell = fs::symlink_metadata(root.path().join("sh"));
        assert!(
            shell.is_ok_and(|shell| shell.nlink() == 1),
            "\"/..\" is the root itself"
        );
    }

    #[test]
    fn links_in_the_image_that_stay_inside_are_followed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        symlink("usr/bin", root.path().join("bin")).unwrap();
        lay_out(root.path(), &plan(), ROOT, ROOT).unwrap();
        assert!(fs::symlink_metadata(root.path().join("usr/bin/sh")).is_ok());
    }

    #[test]
    fn a_pipe_or_device_in_the_place_of_the_users_is_not_opened() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        let path = root.path().join("etc/passwd");
        let file_type = FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, file_type, Mode::from(0o644), 0).unwrap();
        let error = Root::open(root.path(), ROOT)
            .unwrap()
            .read("etc/passwd")
            .unwrap_err();
        assert_eq!(error.source.kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(home(root.path(), 0), "/");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        assert_eq!(home(root.path(), 0), "/root");
    }
}
