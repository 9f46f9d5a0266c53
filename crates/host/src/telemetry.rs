//! Logs: one event per line on standard error, as text or JSON.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// The variable that chooses which events are logged, in the syntax of `tracing_subscriber::EnvFilter`.
pub const FILTER_VARIABLE: &str = "NIVAL_LOG";

/// Starts logging. `filter` is what the user asked for on the command line; without it `NIVAL_LOG` counts, then `info`.
///
/// A second call in one process changes nothing.
pub fn init(filter: Option<&str>, json: bool) {
    let variable = std::env::var(FILTER_VARIABLE).ok();
    let text = filter.or(variable.as_deref()).unwrap_or("info");
    let chosen = EnvFilter::try_new(text).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(chosen)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let outcome = if json {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "logging was already on");
    }
}
