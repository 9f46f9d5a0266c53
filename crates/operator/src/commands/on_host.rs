//! `nival-operator on-host`: becomes a program of the machine whose root is mounted somewhere. For `install` alone.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::error::Failure;

/// Where programs of a machine are.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Options of `on-host`.
#[derive(Debug, Args)]
pub(crate) struct OnHost {
    root: PathBuf,
    program: OsString,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Returns only where that cannot be.
pub(crate) fn run(wish: &OnHost) -> Result<(), Failure> {
    rustix::process::chroot(&wish.root)?;
    rustix::process::chdir("/")?;
    let mut command = Command::new(&wish.program);
    let error = command.args(&wish.arguments).env("PATH", PATH).exec();
    Err(format!("cannot run {}: {error}", wish.program.display()).into())
}
