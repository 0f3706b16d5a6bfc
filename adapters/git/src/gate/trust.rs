use crate::{GitConfig, error};
use kiln::Result;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::sync::{Arc, OnceLock};

/// Whose certificates are trusted; read when first needed.
#[derive(Debug, Default)]
pub(crate) struct Trust(OnceLock<Arc<ClientConfig>>);

impl Trust {
    /// The settings for a TLS connection.
    pub(super) fn tls(&self, op: &'static str, config: &GitConfig) -> Result<Arc<ClientConfig>> {
        if let Some(tls) = self.0.get() {
            return Ok(tls.clone());
        }
        let mut roots = RootCertStore::empty();
        // A system store may hold certificates that are not well formed; they are passed over.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for file in &config.ca_files {
            let wrong = |e: &dyn std::fmt::Display| {
                kiln::Error::new(
                    kiln::ErrorKind::Invalid,
                    op,
                    format!("the certificates cannot be read: {e}"),
                )
                .with("file", file.display())
            };
            for cert in CertificateDer::pem_file_iter(file).map_err(|e| wrong(&e))? {
                let cert = cert.map_err(|e| wrong(&e))?;
                roots.add(cert).map_err(|e| wrong(&e))?;
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| error::io(op, "setting up TLS", std::io::Error::other(e)))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(self.0.get_or_init(|| Arc::new(tls)).clone())
    }
}
