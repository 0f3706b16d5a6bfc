//! TLS: whose certificates are trusted, and that nothing is said to anybody else.

use crate::server::{PASSWORD, Server, program, skipped};
use kiln::{ErrorKind, Status, port::Fleet};
use kiln_conformance::run;
use kiln_redis::{RedisConfig, RedisDb};
use std::{net::TcpListener, path::Path, process::Command};

/// Makes a certificate for 127.0.0.1 that signs itself.
fn certificate(dir: &Path, name: &str) -> bool {
    let path = |end: &str| dir.join(format!("{name}.{end}"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=kiln test", "-addext"])
        .args(["subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(path("key"))
        .arg("-out")
        .arg(path("pem"))
        .output();
    made.is_ok_and(|output| output.status.success())
}

#[test]
fn only_who_is_trusted_gets_the_password() {
    const TEST: &str = "tls::only_who_is_trusted_gets_the_password";
    let dir = tempfile::tempdir().unwrap();
    if program("openssl").is_none() {
        return skipped(TEST, "there is no openssl");
    }
    assert!(["ours", "other"].iter().all(|name| certificate(dir.path(), name)));
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (cert, key) = (file("ours.pem"), file("ours.key"));
    let tls = ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key];
    let more = ["--tls-auth-clients", "no", "--tls-ca-cert-file", &cert];
    let Some(_server) = Server::start(&[&tls[..], &more].concat()) else { return };
    run(TEST, async {
        let url = format!("rediss://:hunter2%40%2F%25@127.0.0.1:{port}");
        let config = || RedisConfig::new(&url).unwrap();
        let trusting = |name: &str| config().authority(std::fs::read(file(name)).unwrap());
        let db = RedisDb::connect(trusting("ours.pem")).await.unwrap();
        assert_eq!(db.fleet().nodes().await.unwrap(), []);
        for config in [trusting("other.pem"), config()] {
            let error = RedisDb::connect(config).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            assert_eq!(error.retry_status(), Status::Permanent, "{error:?}");
            assert!(!format!("{error:?}").contains(PASSWORD), "{error:?}");
        }
        for bad in [
            &b""[..],
            b"no certificate",
            b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
        ] {
            let error = RedisDb::connect(config().authority(bad)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        }
    });
}
