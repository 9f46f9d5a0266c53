//! `nival-agent`: the program.

use std::process::ExitCode;

fn main() -> ExitCode {
    host::tls::install();
    agent::run()
}
