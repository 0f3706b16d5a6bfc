//! TLS to an engine: the configured authority alone is trusted, or the system's without one.

use super::WireError;
use crate::config::TlsFiles;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use std::{path::Path, sync::Arc};
use tokio_rustls::TlsConnector;

/// Reads the files and prepares connections.
pub(super) async fn connector(files: &TlsFiles) -> Result<TlsConnector, WireError> {
    let roots = match &files.ca {
        Some(path) => authority(path).await?,
        None => system(),
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| broken(Path::new(""), e))?
        .with_root_certificates(roots);
    let config = match &files.client {
        None => config.with_no_client_auth(),
        Some(client) => {
            let chain = certificates(&client.cert).await?;
            let key = PrivateKeyDer::from_pem_slice(&read(&client.key).await?)
                .map_err(|_| broken(&client.key, "it holds no private key in PEM"))?;
            config.with_client_auth_cert(chain, key).map_err(|e| match e {
                rustls::Error::InconsistentKeys(_) => {
                    broken(&client.key, "the key is not that of the certificate")
                }
                e => broken(&client.cert, e),
            })?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The name that the certificate of an engine has to have.
pub(super) fn name_of(address: &str) -> Result<ServerName<'static>, WireError> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned())
        .map_err(|_| broken(Path::new(address), "no certificate can be for this host"))
}

async fn authority(path: &Path) -> Result<RootCertStore, WireError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path).await? {
        roots.add(certificate).map_err(|e| broken(path, e))?;
    }
    Ok(roots)
}

fn system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // A certificate that cannot be read is one that is not trusted; the others still are.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, WireError> {
    let text = read(path).await?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| broken(path, "it is not PEM"))?;
    if found.is_empty() {
        return Err(broken(path, "it holds no certificate in PEM"));
    }
    Ok(found)
}

async fn read(path: &Path) -> Result<Vec<u8>, WireError> {
    tokio::fs::read(path).await.map_err(|e| broken(path, e))
}

fn broken(path: &Path, problem: impl std::fmt::Display) -> WireError {
    WireError::Files { path: path.into(), problem: problem.to_string() }
}
