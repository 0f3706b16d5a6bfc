//! What is said when a push or a question fails.

use crate::parts::{
    TestImage, name, plain_registry, push, real, registry, registry_of, service, silent, step,
    target,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use kiln::{
    Error, ErrorKind, Secret, SecretRef, StopReason,
    port::{PushSpec, Registry},
};
use kiln_conformance::run;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// Writes a login as `docker login` does.
pub(crate) fn write_login(dir: &Path, host: &str, user: &str, password: &str) {
    let auth = STANDARD.encode(format!("{user}:{password}"));
    let json = serde_json::json!({ "auths": { host: { "auth": auth } } });
    fs::write(dir.join("config.json"), json.to_string()).unwrap();
}

#[track_caller]
fn check(e: &Error, kind: ErrorKind, hint: &str) {
    assert_eq!(e.kind(), kind, "{e:?}");
    let found = e.hint_text().unwrap_or_default();
    assert!(found.contains(hint), "{e:?}: {found}");
}

#[test]
fn without_or_with_a_wrong_password_a_registry_denies() {
    let test = "without_or_with_a_wrong_password_a_registry_denies";
    let Some(service) = service(test, "registry-auth") else { return };
    run(test, async {
        let host = service["host"].as_str().unwrap();
        let (image, to) = (TestImage::new(10).await, target(host));
        let nobody = registry().push(step().cx(), &push(&image.name, &to)).await.unwrap_err();
        check(&nobody, ErrorKind::Denied, "docker login");
        let asked = registry().digest(step().cx(), &to).await.unwrap_err();
        check(&asked, ErrorKind::Denied, "docker login");

        let logins = tempfile::tempdir().unwrap();
        write_login(logins.path(), host, "kiln", "hunter2-wrong");
        let wrong = registry_of(Some(logins.path()));
        let mut step = step();
        let e = wrong.push(step.cx(), &push(&image.name, &to)).await.unwrap_err();
        check(&e, ErrorKind::Denied, "docker login");
        let shown = format!("{e:?} {}", step.text().await);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(image.more_names().await.is_empty());
    });
}

#[test]
fn credentials_of_the_step_are_used_for_it_alone() {
    let test = "credentials_of_the_step_are_used_for_it_alone";
    let Some(service) = service(test, "registry-auth") else { return };
    run(test, async {
        let (image, to) = (TestImage::new(10).await, target(service["host"].as_str().unwrap()));
        let (user, password) =
            (service["username"].as_str().unwrap(), service["password"].as_str().unwrap());
        let login = Secret::new(format!("{user}:{password}"));
        let mut step = step().secret(SecretRef::new("hub").unwrap(), login);
        let credentials = Some(SecretRef::new("hub").unwrap());
        let spec = PushSpec { credentials, ..push(&image.name, &to) };
        let registry = registry();
        registry.push(step.cx(), &spec).await.unwrap();
        assert!(!step.text().await.contains(password));
        let after = registry.push(step.cx(), &push(&image.name, &to)).await.unwrap_err();
        assert_eq!(after.kind(), ErrorKind::Denied);
    });
}

#[test]
fn a_registry_that_is_down_is_unavailable() {
    let test = "a_registry_that_is_down_is_unavailable";
    if !real(test) {
        return;
    }
    run(test, async {
        let (image, to) = (TestImage::new(10).await, target("localhost:1"));
        let e = registry().push(step().cx(), &push(&image.name, &to)).await.unwrap_err();
        check(&e, ErrorKind::Unavailable, "Check that the registry runs");
        let e = registry().digest(step().cx(), &to).await.unwrap_err();
        check(&e, ErrorKind::Unavailable, "Check that the registry runs");
        assert!(image.more_names().await.is_empty());
    });
}

#[test]
fn a_certificate_that_the_engine_refuses_is_said_with_a_remedy() {
    let test = "a_certificate_that_the_engine_refuses_is_said_with_a_remedy";
    let Some(service) = service(test, "registry-tls") else { return };
    if service["refused_by_engine"] != true {
        println!("SKIPPED: {test}: the engine trusts what listens on this machine");
        return;
    }
    run(test, async {
        let (image, to) = (TestImage::new(10).await, target(service["host"].as_str().unwrap()));
        let e = registry().push(step().cx(), &push(&image.name, &to)).await.unwrap_err();
        check(&e, ErrorKind::Unavailable, "certs.d");
    });
}

#[test]
fn a_registry_without_tls_is_said_with_a_remedy() {
    let test = "a_registry_without_tls_is_said_with_a_remedy";
    let Some(service) = service(test, "registry-tls") else { return };
    if service["refused_by_engine"] != true {
        println!("SKIPPED: {test}: there is no address that the engine wants TLS of");
        return;
    }
    run(test, async {
        // On the same address as the one with TLS, which is not of 127.0.0.0/8.
        let host = service["host"].as_str().unwrap().rsplit_once(':').unwrap().0;
        let listener = tokio::net::TcpListener::bind((host, 0)).await.unwrap();
        let to = target(&format!("{host}:{}", listener.local_addr().unwrap().port()));
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream
                    .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                    .await;
            }
        });
        let image = TestImage::new(10).await;
        let e = registry().push(step().cx(), &push(&image.name, &to)).await.unwrap_err();
        check(&e, ErrorKind::Unavailable, "insecure-registries");
    });
}

#[test]
fn what_the_host_does_not_have_is_not_found_and_what_is_no_name_is_refused() {
    let test = "what_the_host_does_not_have_is_not_found_and_what_is_no_name_is_refused";
    let Some(host) = plain_registry(test) else { return };
    run(test, async {
        let to = target(&host);
        let missing =
            registry().push(step().cx(), &push("kiln-test/none:1", &to)).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        for bad in ["Team/App:1", "../containers/json?x=", "", "a b", "x/../../info?"] {
            let e = registry().push(step().cx(), &push(bad, &to)).await.unwrap_err();
            check(&e, ErrorKind::Invalid, "its id or by one of its names");
        }
        assert!(kiln::ImageRef::parse(&format!("{host}/Team/App:1")).is_err());
        assert_eq!(registry().digest(step().cx(), &to).await.unwrap(), None);
        let unknown = name(&format!("{host}/no/such:1"));
        assert_eq!(registry().digest(step().cx(), &unknown).await.unwrap(), None);
    });
}

#[test]
fn a_push_or_a_question_that_waits_stops_when_told() {
    let test = "a_push_or_a_question_that_waits_stops_when_told";
    if !real(test) {
        return;
    }
    run(test, async {
        let (host, _registry) = silent().await;
        let (image, to) = (TestImage::new(10).await, target(&host));
        for question in [false, true] {
            let step = step();
            let registry = registry();
            let spec = push(&image.name, &to);
            let cancel = step.cx().cancel.clone();
            let stop = async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                cancel.cancel(StopReason::Cancel);
                Instant::now()
            };
            let call = async {
                match question {
                    true => registry.digest(step.cx(), &to).await.map(drop),
                    false => registry.push(step.cx(), &spec).await.map(drop),
                }
            };
            let (result, since) = tokio::join!(call, stop);
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
            assert!(since.elapsed() < Duration::from_secs(60), "{:?}", since.elapsed());
            assert!(image.more_names().await.is_empty());
        }
    });
}
