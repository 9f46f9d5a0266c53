//! The real operations, on Linux 5.12 or later.

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_bind, mount_change,
    move_mount, open_tree, unmount,
};

use super::table::{MountPoint, parse_table};
use super::{MountError, Mounts};

/// More than any table of mounts has: a hundred closures of the largest kind.
const LARGEST_TABLE: u64 = 256 << 20;

/// The kernel's own mounts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Linux;

fn pair(verb: &'static str, source: &Path, target: &Path) -> impl FnOnce(Errno) -> MountError {
    move |error| MountError::Pair {
        verb,
        source_path: source.to_owned(),
        target: target.to_owned(),
        source: error.into(),
    }
}

fn single(verb: &'static str, target: &Path) -> impl FnOnce(Errno) -> MountError {
    move |error| MountError::Single {
        verb,
        target: target.to_owned(),
        source: error.into(),
    }
}

impl Mounts for Linux {
    fn bind(&self, source: &Path, target: &Path) -> Result<(), MountError> {
        mount_bind(source, target).map_err(pair("bind", source, target))
    }

    fn make_private(&self, target: &Path) -> Result<(), MountError> {
        let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change(target, flags).map_err(single("make private the mount at", target))
    }

    fn protect(&self, target: &Path) -> Result<(), MountError> {
        let verb = "make read-only the mount at";
        set_attributes(target).map_err(|source| MountError::Single {
            verb,
            target: target.to_owned(),
            source,
        })
    }

    fn copy_tree(&self, source: &Path, target: &Path) -> Result<(), MountError> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE;
        let tree = open_tree(CWD, source, flags).map_err(pair("copy the mount", source, target))?;
        move_mount(
            tree,
            "",
            CWD,
            target,
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )
        .map_err(pair("attach the mount", source, target))
    }

    fn detach(&self, target: &Path) -> Result<(), MountError> {
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        unmount(target, flags).map_err(single("unmount", target))
    }

    fn is_mount_point(&self, path: &Path) -> Result<bool, MountError> {
        match rustix::fs::statx(
            CWD,
            path,
            AtFlags::SYMLINK_NOFOLLOW,
            StatxFlags::BASIC_STATS,
        ) {
            Ok(found) => Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(single("look at", path)(error)),
        }
    }

    fn list(&self) -> Result<Vec<MountPoint>, MountError> {
        // The thread's own: a thread may have a mount namespace of its own.
        let text = crate::fs::read_bounded(Path::new("/proc/thread-self/mountinfo"), LARGEST_TABLE);
        Ok(parse_table(&text.map_err(MountError::Table)?))
    }
}

/// Sets read-only, nosuid and nodev on a mount and all below it, in one step that happens whole or not at all.
fn set_attributes(target: &Path) -> io::Result<()> {
    let path = CString::new(target.as_os_str().as_bytes())?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    #[expect(unsafe_code, reason = "neither rustix nor libc wraps mount_setattr")]
    // SAFETY: the path is a NUL-terminated string and the attributes a struct of the stated size; both outlive the
    // call, and the kernel writes to neither.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            CWD.as_raw_fd(),
            path.as_ptr(),
            libc::AT_RECURSIVE | libc::AT_SYMLINK_NOFOLLOW,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
