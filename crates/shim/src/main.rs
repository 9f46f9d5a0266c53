//! `containerd-shim-nival-v2`: runs containers with Nix environments.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    shim::run(&arguments)
}
