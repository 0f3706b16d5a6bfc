//! Certificates for tests, made by openssl, and an engine behind TLS that shows and wants them.

use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;

/// An authority, and a directory of what it signed.
pub(crate) struct Authority(tempfile::TempDir);

fn openssl(dir: &Path, args: &str) {
    let made = Command::new("openssl").current_dir(dir).args(args.split_whitespace()).output();
    let made = made.expect("openssl, which the services need too");
    assert!(made.status.success(), "{args}: {}", String::from_utf8_lossy(&made.stderr));
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
const CA: &str = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\n\
    default_md=sha256\npolicy=p\ncertificate=ca.pem\nprivate_key=ca.key\n[p]\ncommonName=supplied\n";

impl Authority {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        openssl(
            dir.path(),
            &format!("req -x509 {KEY} -subj /CN=ca -days 2 -keyout ca.key -out ca.pem"),
        );
        for (name, text) in [
            ("ca.conf", CA),
            ("index", ""),
            ("serial", "01\n"),
            ("client.ext", "extendedKeyUsage=clientAuth\n"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        fs::write(dir.path().join("server.ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n")
            .unwrap();
        let it = Self(dir);
        it.sign("client", "client", "20200101000000Z", "20990101000000Z");
        it.sign("server", "server", "20200101000000Z", "20990101000000Z");
        it.sign("expired", "server", "20200101000000Z", "20200102000000Z");
        it
    }

    fn sign(&self, name: &str, role: &str, from: &str, until: &str) {
        let dir = self.0.path();
        openssl(
            dir,
            &format!("req -new {KEY} -subj /CN={name} -keyout {name}.key -out {name}.csr"),
        );
        openssl(
            dir,
            &format!(
                "ca -batch -notext -config ca.conf -extfile {role}.ext -startdate {from} \
                 -enddate {until} -in {name}.csr -out {name}.pem"
            ),
        );
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A directory as `DOCKER_CERT_PATH` has it: the authority, and the client's files.
    pub(crate) fn cert_path(&self, client: Option<&Self>) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(self.file("ca.pem"), dir.path().join("ca.pem")).unwrap();
        if let Some(of) = client {
            fs::copy(of.file("client.pem"), dir.path().join("cert.pem")).unwrap();
            fs::copy(of.file("client.key"), dir.path().join("key.pem")).unwrap();
        }
        dir
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.file("ca.pem")).unwrap()).unwrap();
        Arc::new(roots)
    }

    /// What an engine with one of the certificates does; it wants one of its clients if `asks`.
    pub(crate) fn server(
        &self,
        certificate: &str,
        asks: bool,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ServerConfig {
        let provider = Arc::new(default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone());
        let config = config.with_protocol_versions(versions).unwrap();
        let config = match asks {
            false => config.with_no_client_auth(),
            true => config.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(self.roots(), provider)
                    .build()
                    .unwrap(),
            ),
        };
        let chain =
            CertificateDer::from_pem_file(self.file(&format!("{certificate}.pem"))).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.file(&format!("{certificate}.key"))).unwrap();
        config.with_single_cert(vec![chain], key).unwrap()
    }
}

/// Puts TLS, or nothing, in front of the engine's socket; gives the port.
pub(crate) async fn gate(ip: &str, tls: Option<ServerConfig>) -> u16 {
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let mut engine = UnixStream::connect(engine_socket()).await.unwrap();
                let _ = match tls {
                    None => tokio::io::copy_bidirectional(&mut stream, &mut engine).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(mut stream) => {
                            tokio::io::copy_bidirectional(&mut stream, &mut engine).await
                        }
                        Err(e) => Err(e),
                    },
                };
            });
        }
    });
    port
}

/// The socket of the real engine.
pub(crate) fn engine_socket() -> PathBuf {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").into()
}

/// Whether there is an engine to put a gate in front of; says so if not.
pub(crate) fn real(test: &str) -> bool {
    let there = std::env::var_os("KILN_TEST_REAL").is_some_and(|v| v == "1");
    let reason = match there {
        false => "KILN_TEST_REAL is not set",
        true if !engine_socket().exists() => "the engine has no socket on this machine",
        true => return true,
    };
    println!("SKIPPED: {test}: {reason}");
    false
}
