//! The HTTP client, for requests that the server makes: without redirects, for whoever answers at one address could choose another;
//! and with the certificate authorities that the operating system trusts. It blocks, so it is for threads that may.

use std::{sync::Arc, time::Duration};

use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

/// A client whose requests take at most so long, from the look-up of the name to the last byte. `tls`: whether they go to `https`.
///
/// # Errors
/// Without certificate authorities nobody could be trusted.
pub(crate) fn agent(timeout: Duration, tls: bool) -> Result<Agent, String> {
    let config = Agent::config_builder()
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("chat-server/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls_config(tls)?);
    Ok(config.build().new_agent())
}

/// Trusts whom the operating system trusts, or the file in the variable `SSL_CERT_FILE`.
fn tls_config(tls: bool) -> Result<TlsConfig, String> {
    let builder = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    if !tls {
        return Ok(builder.build());
    }
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(format!("this machine has no certificate authorities (install ca-certificates){why}"));
    }
    let certs: Vec<Certificate<'static>> =
        found.certs.iter().map(|cert| Certificate::from_der(cert).to_owned()).collect();
    Ok(builder.root_certs(RootCerts::Specific(Arc::new(certs))).build())
}
