//! The HTTP client of the command, the tests and the local stack. One TLS provider serves the whole
//! workspace: *ring*, which the functions' SDKs use too.

use std::sync::Once;

use reqwest::ClientBuilder;

/// Returns a builder for a client whose TLS uses *ring*.
pub fn builder() -> ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that the process has chosen a provider already, which is used then.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder()
}
