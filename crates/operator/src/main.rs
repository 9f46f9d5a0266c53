//! `nival-operator`: the program.

use std::process::ExitCode;

fn main() -> ExitCode {
    host::tls::install();
    operator::run()
}
