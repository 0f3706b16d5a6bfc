//! TLS with a real engine behind it.

use crate::authority::{Authority, gate, real};
use kiln::{Error, ErrorKind, Result, Status};
use kiln_conformance::run;
use kiln_docker::{DockerClient, DockerConfig, EngineInfo};
use rustls::version::{TLS12, TLS13};
use std::{fs, path::Path};

/// Asks an engine who it is, as the variables of Docker say.
async fn ask(address: &str, certificates: Option<&Path>) -> Result<EngineInfo> {
    let config = DockerConfig::from_vars(|name| match (name, certificates) {
        ("DOCKER_HOST", _) => Some(format!("tcp://{address}")),
        ("DOCKER_TLS_VERIFY", Some(_)) => Some("1".into()),
        ("DOCKER_CERT_PATH", Some(dir)) => dir.to_str().map(str::to_owned),
        _ => None,
    });
    DockerClient::new(config.unwrap()).unwrap().info().await
}

#[track_caller]
fn check(asked: Result<EngineInfo>, kind: ErrorKind, says: &str, hint: &str) -> Error {
    let e = asked.unwrap_err();
    assert_eq!(e.kind(), kind, "{e:?}");
    assert!(e.to_string().contains(says), "{e:?}");
    assert!(e.hint_text().unwrap_or_default().contains(hint), "{e:?}: {:?}", e.hint_text());
    e
}

#[test]
fn an_engine_answers_over_tcp_and_over_tls_with_and_without_a_client_certificate() {
    let test = "an_engine_answers_over_tcp_and_over_tls_with_and_without_a_client_certificate";
    if !real(test) {
        return;
    }
    run(test, async {
        let plain = gate("127.0.0.1", None).await;
        assert!(ask(&format!("localhost:{plain}"), None).await.unwrap().is_docker);
        let ours = Authority::new();
        for (asks, client) in [(false, None), (true, Some(&ours)), (false, Some(&ours))] {
            for version in [&TLS12, &TLS13] {
                let port = gate("127.0.0.1", Some(ours.server("server", asks, &[version]))).await;
                let files = ours.cert_path(client);
                for host in ["127.0.0.1", "localhost"] {
                    let info = ask(&format!("{host}:{port}"), Some(files.path())).await;
                    assert!(info.unwrap().is_docker);
                }
            }
        }
    });
}

#[test]
fn a_context_leads_to_an_engine_over_tls() {
    let test = "a_context_leads_to_an_engine_over_tls";
    if !real(test) {
        return;
    }
    run(test, async {
        let ours = Authority::new();
        let port = gate("127.0.0.1", Some(ours.server("server", true, &[&TLS13]))).await;
        let dir = tempfile::tempdir().unwrap();
        // The SHA-256 of `remote`.
        let id = "b71199ebd070b36beab7317920c2c2f1d777df8d05e5527d8458fda57cb17a7a";
        let meta = dir.path().join("contexts/meta").join(id);
        let tls = dir.path().join("contexts/tls").join(id);
        fs::create_dir_all(&meta).unwrap();
        fs::create_dir_all(&tls).unwrap();
        fs::rename(ours.cert_path(Some(&ours)).keep(), tls.join("docker")).unwrap();
        let text = serde_json::json!({
            "Name": "remote",
            "Endpoints": { "docker": { "Host": format!("tcp://127.0.0.1:{port}") } },
        });
        fs::write(meta.join("meta.json"), text.to_string()).unwrap();
        let config = DockerConfig::from_vars(|name| match name {
            "DOCKER_CONFIG" => dir.path().to_str().map(str::to_owned),
            "DOCKER_CONTEXT" => Some("remote".into()),
            _ => None,
        });
        let info = DockerClient::new(config.unwrap()).unwrap().info().await;
        assert!(info.unwrap().is_docker);
    });
}

#[test]
fn an_engine_that_wants_to_know_its_clients_denies_others() {
    let test = "an_engine_that_wants_to_know_its_clients_denies_others";
    if !real(test) {
        return;
    }
    run(test, async {
        let (ours, other) = (Authority::new(), Authority::new());
        for version in [&TLS12, &TLS13] {
            let port = gate("127.0.0.1", Some(ours.server("server", true, &[version]))).await;
            for client in [None, Some(&other)] {
                let files = ours.cert_path(client);
                let asked = ask(&format!("127.0.0.1:{port}"), Some(files.path())).await;
                check(asked, ErrorKind::Denied, "wants a certificate", "cert.pem and key.pem");
            }
        }
    });
}

#[test]
fn an_engine_that_cannot_be_trusted_is_not_talked_to() {
    let test = "an_engine_that_cannot_be_trusted_is_not_talked_to";
    if !real(test) {
        return;
    }
    run(test, async {
        let (ours, other) = (Authority::new(), Authority::new());
        let both = [&TLS12, &TLS13];
        let (files, theirs) = (ours.cert_path(None), other.cert_path(None));
        let good = gate("127.0.0.1", Some(ours.server("server", false, &both))).await;
        let asked = ask(&format!("127.0.0.1:{good}"), Some(theirs.path())).await;
        let e = check(asked, ErrorKind::Unavailable, "not signed by the authority", "ca.pem");
        assert_eq!(e.retry_status(), Status::Permanent);

        let old = gate("127.0.0.1", Some(ours.server("expired", false, &both))).await;
        let asked = ask(&format!("127.0.0.1:{old}"), Some(files.path())).await;
        check(asked, ErrorKind::Unavailable, "has expired", "Renew it");

        let elsewhere = gate("127.0.0.2", Some(ours.server("server", false, &both))).await;
        let asked = ask(&format!("127.0.0.2:{elsewhere}"), Some(files.path())).await;
        check(asked, ErrorKind::Unavailable, "for another host", "as its certificate names it");

        let plain = gate("127.0.0.1", None).await;
        let asked = ask(&format!("127.0.0.1:{plain}"), Some(files.path())).await;
        check(asked, ErrorKind::Unavailable, "does not speak TLS", "2376");
    });
}

#[test]
fn without_tls_an_engine_that_wants_it_says_so() {
    run("without_tls_an_engine_that_wants_it_says_so", async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                // As the standard library of Go does, in which Docker is written.
                let words = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
                let _ = stream.write_all(words).await;
            }
        });
        let asked = ask(&address, None).await;
        check(asked, ErrorKind::Unavailable, "wants TLS", "DOCKER_TLS_VERIFY=1");
    });
}

#[test]
fn files_that_cannot_be_used_are_named() {
    run("files_that_cannot_be_used_are_named", async {
        let dir = tempfile::tempdir().unwrap();
        let ask = || ask("127.0.0.1:1", Some(dir.path()));
        let invalid = ErrorKind::Invalid;
        check(ask().await, invalid, "ca.pem", "DOCKER_CERT_PATH");
        fs::write(dir.path().join("ca.pem"), "nothing").unwrap();
        check(ask().await, invalid, "no certificate in PEM", "DOCKER_CERT_PATH");
        let ours = Authority::new();
        fs::copy(ours.file("ca.pem"), dir.path().join("ca.pem")).unwrap();
        check(ask().await, ErrorKind::Unavailable, "cannot be reached", "DOCKER_HOST");
        // A client certificate that is not whole is never left out.
        fs::copy(ours.file("client.pem"), dir.path().join("cert.pem")).unwrap();
        check(ask().await, invalid, "key.pem", "DOCKER_CERT_PATH");
        fs::copy(ours.file("server.key"), dir.path().join("key.pem")).unwrap();
        check(ask().await, invalid, "key.pem", "DOCKER_CERT_PATH");
        fs::copy(ours.file("client.key"), dir.path().join("key.pem")).unwrap();
        check(ask().await, ErrorKind::Unavailable, "cannot be reached", "DOCKER_HOST");
    });
}
