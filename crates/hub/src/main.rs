//! `nival-hub`: the program.

use std::process::ExitCode;

fn main() -> ExitCode {
    host::tls::install();
    hub::run()
}
