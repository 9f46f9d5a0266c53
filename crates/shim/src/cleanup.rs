//! `delete`: cleans up after a shim that is gone, or a container that it could not make.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use containerd_shim::Flags;
use containerd_shim::api::DeleteResponse;
use fs_err as fs;
use protobuf::Message as _;
use protobuf::well_known_types::timestamp::Timestamp;

use crate::bootstrap;
use crate::container::unmount_all;
use crate::options::RuntimeOptions;
use crate::runtime;

/// What a process that was killed would have returned.
const KILLED: u32 = 137;

/// Answers `delete`.
pub(crate) fn delete(flags: &Flags) -> io::Result<()> {
    let bundle = if flags.bundle.is_empty() {
        std::env::current_dir()?
    } else {
        PathBuf::from(&flags.bundle)
    };
    let options = RuntimeOptions::load(&bundle);
    let pid = read_pid(&bundle);
    let arguments = ["delete", "--force", &flags.id];
    // `--force` makes no fault of a container that the runtime does not know. A runtime that is missing has made none.
    let outcome = runtime::run_once(&options, &flags.namespace, &arguments);
    unmount_all(&bundle.join("rootfs"));
    remove_socket(&bundle);
    if let Err(error) = outcome
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let response = DeleteResponse {
        pid,
        exit_status: KILLED,
        exited_at: Some(Timestamp {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: since.subsec_nanos().cast_signed(),
            ..Timestamp::default()
        })
        .into(),
        ..DeleteResponse::default()
    };
    io::stdout().write_all(&response.write_to_bytes()?)
}

/// Removes the socket of the container's shim, unless somebody still listens on it.
fn remove_socket(bundle: &Path) {
    let address = fs::read_to_string(bundle.join(bootstrap::ADDRESS_FILE)).unwrap_or_default();
    let Some(path) = address.strip_prefix("unix://") else {
        return;
    };
    let is_dead = UnixStream::connect(path)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if is_dead {
        // Another container's deletion may have been quicker.
        fs::remove_file(path).ok();
    }
}

fn read_pid(bundle: &Path) -> u32 {
    let text = fs::read_to_string(bundle.join("init.pid")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}
