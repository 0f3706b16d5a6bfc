//! TLS by rustls, with its provider named and nothing global.

use crate::config::PgConfig;
use kiln::{Error, ErrorKind, Result};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::sync::Arc;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

const OP: &str = "PgDb::connect";

/// Refuses authorities that are none.
pub(crate) fn check(config: &PgConfig) -> Result<()> {
    config.authority.as_deref().map(authorities).transpose().map(drop)
}

/// The authorities of a PEM text.
fn authorities(pem: &[u8]) -> Result<RootCertStore> {
    let refuse = || Error::new(ErrorKind::Invalid, OP, "this is no certificate of an authority");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| refuse().source(e.to_string()))?;
        roots.add(certificate).map_err(|e| refuse().source(e))?;
    }
    if roots.is_empty() { Err(refuse()) } else { Ok(roots) }
}

/// Those of the machine.
fn native() -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // What is on a machine may hold one that rustls cannot read, beside those that count.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, OP, "this machine trusts no authority")
            .hint("Install ca-certificates, or name a file with `sslrootcert`."));
    }
    Ok(roots)
}

/// What makes connections, with TLS or without.
pub(crate) fn connector(config: &PgConfig) -> Result<MakeRustlsConnect> {
    let roots = match &config.authority {
        _ if config.session.get_ssl_mode() == SslMode::Disable => RootCertStore::empty(),
        Some(pem) => authorities(pem)?,
        None => native()?,
    };
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::new(ErrorKind::Unexpected, OP, "TLS cannot be set up").source(e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(client))
}
