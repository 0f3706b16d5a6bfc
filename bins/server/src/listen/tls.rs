//! Certificates.

use crate::config::Tls;
use kiln::{Error, ErrorKind, Result};
use std::{fs, path::Path, sync::Arc};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

fn wrong(what: &'static str, path: &Path) -> Error {
    Error::new(ErrorKind::Invalid, "kiln-server", what).with("file", path.display())
}

/// What accepts TLS connections: 1.2 and 1.3, HTTP/1.1.
pub(super) fn acceptor(tls: &Tls) -> Result<TlsAcceptor> {
    let read = |path: &Path| {
        fs::read(path)
            .map_err(|e| wrong("a file of the certificate cannot be read", path).source(e))
    };
    let certificates = CertificateDer::pem_slice_iter(&read(&tls.certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| wrong("the certificate is no PEM", &tls.certificate).source(e))?;
    if certificates.is_empty() {
        return Err(wrong("there is no certificate in the file", &tls.certificate));
    }
    // What is wrong with a key is not told: the words of the error could hold a part of it.
    let key = PrivateKeyDer::from_pem_slice(&read(&tls.key)?)
        .map_err(|_| wrong("there is no private key in PEM in the file", &tls.key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong("TLS cannot be used", &tls.certificate).source(e))?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|e| wrong("the certificate and its key do not fit", &tls.certificate).source(e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
