//! `kubectl nival`: what runs on a cluster, as a plugin of `kubectl`; the same verbs as `nival k8s`.

use std::process::ExitCode;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    host::tls::install();
    // Silent unless asked: a command's talk goes through its printer.
    let filter = std::env::var(host::telemetry::FILTER_VARIABLE).unwrap_or_else(|_| "warn".into());
    host::telemetry::init(Some(&filter), false);
    Box::pin(cli::run_plugin(std::env::args_os())).await
}
