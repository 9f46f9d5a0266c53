//! The machine: atomic files, locks, child processes, mounts, telemetry, shutdown, TLS.
