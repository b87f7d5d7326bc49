//! One provider of cryptography for all HTTP clients of this crate.

/// Makes ring the process's provider, unless the program chose one: without any, making a client panics.
pub(crate) fn provide() {
    // An error says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
