//! `containerd-shim-nival-v2`: runs containers with Nix environments.

mod any;
mod bootstrap;
mod cgroup;
mod cleanup;
mod console;
mod container;
mod error;
mod hook;
mod info;
mod init;
mod mount;
mod nival;
mod options;
mod process;
mod publisher;
mod reaper;
mod rootfs;
mod runtime;
mod server;
mod service;
mod spec;
mod stdio;
mod task;
mod user_namespace;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use containerd_shim::{Flags, logger, parse};

/// Runs as what the arguments ask for: an action of containerd, the server of a pod, or a container's init.
#[must_use]
pub fn run(arguments: &[OsString]) -> ExitCode {
    let (program, rest) = match arguments.split_first() {
        Some((program, rest)) => (Path::new(program), rest),
        None => (Path::new(""), arguments),
    };
    if program == Path::new(spec::INIT) {
        return init::run(rest);
    }
    if program == Path::new(user_namespace::HOLDER) {
        return user_namespace::hold();
    }
    let done = match parse(rest) {
        Ok(flags) => act(&flags),
        Err(error) => Err(io::Error::other(error)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // containerd shows standard error of an action that fails; the server has none and logs.
            log::error!("{error}");
            writeln!(io::stderr(), "nival: {}", error::one_line(&error)).ok();
            ExitCode::FAILURE
        }
    }
}

fn act(flags: &Flags) -> io::Result<()> {
    if flags.version {
        return writeln!(
            io::stdout(),
            "containerd-shim-nival-v2 {}",
            env!("CARGO_PKG_VERSION")
        );
    }
    if flags.info {
        return info::info();
    }
    match flags.action.as_str() {
        "start" => bootstrap::start(flags),
        "delete" => cleanup::delete(flags),
        "" => {
            logger::init(flags.debug, "info", &flags.namespace, &flags.id)
                .map_err(io::Error::other)?;
            // Standard error leads nowhere, so a bug would vanish.
            std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
            server::serve(flags)
        }
        other => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("unknown action {other:?}"),
        )),
    }
}
