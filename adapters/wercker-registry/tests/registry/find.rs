//! Looking steps up.

use crate::server::{Answer, Request, Server};
use kiln::{ErrorKind, Secret, memory::SystemClock};
use kiln_wercker::step::{StepRegistry, retried};
use kiln_wercker_registry::{Api, HttpRegistry, RegistryConfig};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

const STEP: &str =
    r#"{"step":{"summary":"s","tarballUrl":"TARBALL","version":{"number":"2.2.1"}}}"#;

fn ok(tarball: &str) -> Answer {
    Answer::Status(200, STEP.replace("TARBALL", tarball))
}

async fn error_of(answer: Answer) -> kiln::Error {
    let server = Server::start(move |_| answer.clone()).await;
    server.registry().find("wercker", "s3sync", "*").await.unwrap_err()
}

#[tokio::test]
async fn a_step_is_found_by_owner_name_and_version() {
    let server = Server::start(|_| ok("https://files.test/s3sync.tgz?sig=1")).await;
    let found = server.registry().find("wercker", "s3sync", "*").await.unwrap();
    assert_eq!(found.version, "2.2.1");
    assert_eq!(found.tarball_url, "https://files.test/s3sync.tgz?sig=1");
    assert_eq!(found.sha256, None);
    assert_eq!(server.lines(), ["GET /api/steps/wercker/s3sync/*"]);
}

#[tokio::test]
async fn the_older_form_is_asked_where_the_newer_has_no_such_step() {
    let digest = "ab".repeat(32);
    let body =
        format!(r#"{{"tarballUrl":"/files/x.tar","version":"0.1.0","checksum":"{digest}"}}"#);
    let judge = move |r: &Request| match r.line.contains("/api/v2/") {
        true => Answer::Status(200, body.clone()),
        false => Answer::Status(404, "no".into()),
    };
    let server = Server::start(judge).await;
    let found = server.registry().find("termie", "x", "0.1.0").await.unwrap();
    assert_eq!(found.tarball_url, format!("{}/files/x.tar", server.url()));
    assert_eq!(found.sha256.unwrap().to_string(), format!("sha256:{digest}"));
    assert_eq!(
        server.lines(),
        ["GET /api/steps/termie/x/0.1.0", "GET /api/v2/steps/termie/x/0.1.0"]
    );
    for (api, kind) in [(Api::V2, None), (Api::Steps, Some(ErrorKind::NotFound))] {
        let one = HttpRegistry::new(&RegistryConfig { api, ..server.config() }).unwrap();
        let found = one.find("termie", "x", "0.1.0").await;
        assert_eq!(found.err().map(|e| e.kind()), kind, "{api:?}");
    }
}

#[tokio::test]
async fn names_are_parts_of_a_path_and_no_more() {
    let server = Server::start(|_| ok("https://files.test/x.tgz")).await;
    let config = RegistryConfig { url: format!("{}/sub/", server.url()), ..server.config() };
    let registry = HttpRegistry::new(&config).unwrap();
    registry.find("a/b", "c?d#e", "^1 2%").await.unwrap();
    assert_eq!(server.lines(), ["GET /sub/api/steps/a%2Fb/c%3Fd%23e/^1%202%25"]);
    for [owner, name, version] in [["..", "x", "*"], ["a", ".", "*"], ["a", "x", ""]] {
        let error = registry.find(owner, name, version).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{owner} {name} {version}");
    }
}

#[tokio::test]
async fn what_goes_wrong_has_a_kind_and_no_word_of_the_answer() {
    let status = |status| Answer::Status(status, "hunter2".into());
    let rows = [
        (status(404), ErrorKind::NotFound),
        (status(410), ErrorKind::NotFound),
        (status(401), ErrorKind::Denied),
        (status(403), ErrorKind::Denied),
        (status(429), ErrorKind::RateLimited),
        (status(500), ErrorKind::Unavailable),
        (status(503), ErrorKind::Unavailable),
        (status(400), ErrorKind::Invalid),
        (status(200), ErrorKind::Corrupt),
        (Answer::Gone, ErrorKind::Unavailable),
        (Answer::Endless, ErrorKind::Corrupt),
        (ok("file:///etc/passwd"), ErrorKind::Corrupt),
        (ok("ftp://files.test/x.tgz"), ErrorKind::Corrupt),
        (ok("https://u:hunter2@files.test/x.tgz"), ErrorKind::Corrupt),
        (Answer::Status(200, "{}".into()), ErrorKind::Corrupt),
        (Answer::Status(200, r#"{"version":"../x","tarballUrl":"x"}"#.into()), ErrorKind::Corrupt),
        (Answer::Status(200, r#"{"version":"1"}"#.into()), ErrorKind::Corrupt),
    ];
    for (answer, kind) in rows {
        let shown = format!("{answer:?}");
        let error = error_of(answer).await;
        assert_eq!(error.kind(), kind, "{shown}: {error}");
        let all = format!("{error} {error:?} {:?}", error.hint_text());
        assert!(!all.contains("hunter2"), "{all}");
        assert!(all.contains("wercker/s3sync@*"), "{all}");
    }
}

#[tokio::test]
async fn a_registry_that_never_answers_is_given_up() {
    let server = Server::start(|_| Answer::Silent).await;
    let config = RegistryConfig { timeout_ms: 200, ..server.config() };
    let registry = HttpRegistry::new(&config).unwrap();
    let error = registry.find("wercker", "s3sync", "*").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_private_address_is_not_connected_to_unless_allowed() {
    let server = Server::start(|_| ok("https://files.test/x.tgz")).await;
    let port = server.address.port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{port}");
        let config = RegistryConfig { url, allow_private_network: false, ..server.config() };
        let registry = HttpRegistry::new(&config).unwrap();
        let error = registry.find("wercker", "s3sync", "*").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{host}: {error}");
    }
    assert!(server.lines().is_empty());
}

#[tokio::test]
async fn redirects_are_followed_without_the_token_and_not_for_ever() {
    let files = Server::start(|_| ok("https://files.test/x.tgz")).await;
    let to = format!("{}/moved", files.url());
    let server = Server::start(move |_| Answer::Elsewhere(to.clone())).await;
    let registry = server.registry().token(Secret::new("t0ken\n"));
    registry.find("wercker", "s3sync", "*").await.unwrap();
    let header = |s: &Server| s.requests()[0].headers.get("authorization").cloned();
    assert_eq!(header(&server).as_deref(), Some("Bearer t0ken"));
    assert_eq!(header(&files), None);
    assert!(!format!("{registry:?}").contains("t0ken"));
    for to in ["/again", "ftp://files.test/", "file:///etc/passwd", "http://u:p@127.0.0.1/"] {
        let error = error_of(Answer::Elsewhere(to.into())).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{to}: {error}");
    }
}

#[tokio::test]
async fn a_passing_trouble_is_tried_three_times() {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    let judge = move |_: &Request| match seen.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Answer::Status(503, String::new()),
        _ => ok("https://files.test/x.tgz"),
    };
    let server = Server::start(judge).await;
    let registry = retried(Arc::new(server.registry()), Arc::new(SystemClock::default()));
    registry.find("wercker", "s3sync", "*").await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 3);
    let server = Server::start(|_| Answer::Status(401, String::new())).await;
    let registry = retried(Arc::new(server.registry()), Arc::new(SystemClock::default()));
    registry.find("wercker", "s3sync", "*").await.unwrap_err();
    assert_eq!(server.lines().len(), 1);
}

#[test]
fn the_url_of_a_registry_is_checked() {
    for bad in [
        "",
        "steps.wercker.com",
        "http://steps.wercker.com",
        "ftp://steps.wercker.com",
        "https://u:hunter2@steps.wercker.com",
        "https://steps.wercker.com/?x=hunter2",
        "data:x",
    ] {
        let error = HttpRegistry::new(&RegistryConfig::new(bad)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    assert!(HttpRegistry::new(&RegistryConfig::new("https://steps.wercker.com")).is_ok());
}
