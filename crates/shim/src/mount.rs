//! Mounts a container's root filesystem as containerd describes it, with other owners where it has a user namespace.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use containerd_shim::mount::mount_rootfs;
use containerd_shim::protos::types::mount::Mount;
use fs_err as fs;
use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount,
    open_tree,
};
use rustix::thread::UnshareFlags;

use crate::reaper::Reaper;
use crate::user_namespace::{self, Mapping, MappingError};

/// Why a root filesystem cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MountError {
    #[error(transparent)]
    Mount(#[from] containerd_shim::Error),
    #[error(transparent)]
    Mapping(#[from] MappingError),
    #[error("cannot {step}")]
    Step {
        step: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(
        "cannot map the owners of {source_path}: its filesystem or the kernel does not support it; set hostUsers to true"
    )]
    Map {
        source_path: String,
        #[source]
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, MountError>;

fn failed<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> MountError {
    move |source| MountError::Step {
        step,
        source: source.into(),
    }
}

/// Mounts at a folder.
pub(crate) fn mount(mount: &Mount, target: &Path, reaper: &Reaper) -> Result<()> {
    let (mapping, options) = Mapping::split(&mount.options)?;
    let Some(mapping) = mapping else {
        // In a thread of its own: for many layers its working folder is changed.
        return in_thread(|| plain(mount, &options, target));
    };
    let users = user_namespace::open(&mapping, reaper)?;
    let tree = in_thread(|| mapped(mount, &options, target, users.as_fd()))?;
    move_mount(
        &tree,
        "",
        CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .map_err(failed("attach the mapped root filesystem"))
}

fn in_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| {
        std::panic::resume_unwind(panic);
    })
}

fn plain(mount: &Mount, options: &[String], target: &Path) -> Result<()> {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let (kind, source) = (some(&mount.type_), some(&mount.source));
    let mounted = mount_rootfs(kind.as_deref(), source.as_deref(), options, target);
    Ok(mounted?)
}

/// Makes a mount whose owners are mapped, and returns it unattached.
///
/// It takes shape in a mount namespace of this thread's own, which takes all that was mounted on the way with it,
/// whatever happens. `scratch` is covered there, and so must not hold what is mounted.
fn mapped(
    mount: &Mount,
    options: &[String],
    scratch: &Path,
    users: BorrowedFd<'_>,
) -> Result<OwnedFd> {
    user_namespace::unshare(UnshareFlags::NEWNS).map_err(failed("make a mount namespace"))?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(failed("set a mount namespace apart"))?;
    if mount.type_ != "overlay" {
        plain(mount, options, scratch)?;
        let tree = clone(scratch)?;
        return map(&tree, users, &mount.source).map(|()| tree);
    }
    // An overlay cannot be mapped as a whole, but its lower layers can. Those above hold what the container itself
    // has written, under the owners that it has outside.
    let layers = options
        .iter()
        .find_map(|option| option.strip_prefix("lowerdir="));
    let layers: Vec<&str> = layers.into_iter().flat_map(|all| all.split(':')).collect();
    let mut trees = Vec::new();
    for layer in &layers {
        let tree = clone(Path::new(layer))?;
        map(&tree, users, layer)?;
        trees.push(tree);
    }
    rustix::mount::mount("tmpfs", scratch, "tmpfs", MountFlags::empty(), None)
        .map_err(failed("mount a scratch folder"))?;
    let mut mapped_layers = Vec::new();
    for (number, tree) in trees.iter().enumerate() {
        let place = scratch.join(number.to_string());
        fs::create_dir(&place).map_err(failed("make a folder for a layer"))?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(tree, "", CWD, &place, flags).map_err(failed("attach a layer"))?;
        mapped_layers.push(place.display().to_string());
    }
    let others = options
        .iter()
        .filter(|option| !option.starts_with("lowerdir="));
    let mut options: Vec<String> = others.cloned().collect();
    options.push(format!("lowerdir={}", mapped_layers.join(":")));
    let whole = scratch.join("whole");
    fs::create_dir(&whole).map_err(failed("make a folder for the whole"))?;
    plain(mount, &options, &whole)?;
    clone(&whole)
}

fn clone(path: &Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, path, flags).map_err(failed("copy a mount"))
}

/// Maps the owners of an unattached mount.
fn map(tree: &OwnedFd, users: BorrowedFd<'_>, source_path: &str) -> Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(users.as_raw_fd().unsigned_abs()),
    };
    #[expect(unsafe_code, reason = "neither rustix nor libc wraps mount_setattr")]
    // SAFETY: the path is a NUL-terminated string and the attributes a struct of the stated size; both outlive the
    // call, and the kernel writes to neither.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(MountError::Map {
        source_path: source_path.chars().take(200).collect(),
        source: io::Error::last_os_error(),
    })
}
