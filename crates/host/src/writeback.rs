//! Telling the kernel to begin writing a file to disk, without waiting for it.

use std::os::fd::{AsFd, AsRawFd as _};

/// Begins to write what was written to an open file, so that a later sync has less left to wait for.
///
/// It is a hint: where the system does not know it, nothing happens.
#[cfg_attr(
    not(target_os = "linux"),
    expect(unused_variables, reason = "only Linux has the call")
)]
pub fn begin(file: impl AsFd) {
    #[cfg(target_os = "linux")]
    {
        let number = file.as_fd().as_raw_fd();
        #[expect(unsafe_code, reason = "neither rustix nor std wraps sync_file_range")]
        // SAFETY: the descriptor is open for as long as `file` is borrowed, and the call takes no pointers.
        let result = unsafe { libc::sync_file_range(number, 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
        if result != 0 {
            tracing::trace!("the file system writes when it likes");
        }
    }
}
