//! The TLS provider, the same in every program.

/// Installs ring as the process's provider. Each `main` calls this first: without it the HTTP client panics.
pub fn install() {
    // The error says that one is installed already, and it can only be this one.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        tracing::debug!("the TLS provider was already installed");
    }
}
