//! The machine: how errors are said, atomic and followed files, the kernel, locks, child processes, mounts, telemetry, shutdown, TLS.

pub mod error;
pub mod followed;
pub mod fs;
pub mod kernel;
pub mod lock;
pub mod mount;
pub mod nix;
pub mod process;
pub mod shutdown;
pub mod telemetry;
#[cfg(feature = "tls")]
pub mod tls;
