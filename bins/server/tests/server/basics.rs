//! Builds taken, tokens, settings.

use super::{SUBMIT, Server, run, status};

#[test]
fn a_server_takes_a_build_and_knows_of_it_after_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    assert_eq!(status(&server.get("/healthz", "")), "200");
    assert_eq!(status(&server.get("/readyz", "")), "200");
    let made = server.post("/api/v1/builds", "", SUBMIT);
    assert_eq!(status(&made), "201", "{made}");
    let at = made.lines().find_map(|l| l.strip_prefix("location: ")).unwrap().to_owned();
    let log = server.get(&format!("{at}/logs?follow=1"), "accept: text/event-stream\r\n");
    assert!(log.contains("event: end"), "{log}");
    assert_eq!(server.terminate(), Some(0));
    let server = Server::start(dir.path());
    let view = server.get(&at, "");
    assert!(view.contains(r#""phase":"finished""#), "{view}");
    assert!(server.get("/api/v1/builds?label=a=b", "").contains(r#""a":"b""#));
}

#[test]
fn without_tokens_only_this_machine_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let get = |headers: &str| {
        server.send(&format!("GET /api/v1/builds HTTP/1.1\r\nconnection: close\r\n{headers}\r\n"))
    };
    assert_eq!(status(&get("host: 127.0.0.1:1\r\n")), "200");
    assert_eq!(status(&get("host: rebound.test\r\n")), "403");
    assert_eq!(status(&get("host: localhost\r\norigin: http://evil.test\r\n")), "403");
    let refused = run(dir.path(), &["--listen", "0.0.0.0:0"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("token create"), "{said}");
}

#[test]
fn with_tokens_nobody_else_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let create = |name: &str, scope: &str| {
        let args = ["token", "create", name, "--owner", "ann", "--scope", scope];
        let made = run(dir.path(), &args);
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    };
    let (submit, read) = (create("ci", "submit"), create("eyes", "read"));
    let list = String::from_utf8(run(dir.path(), &["token", "list"]).stdout).unwrap();
    assert_eq!(list, "ci\tann\tsubmit\neyes\tann\tread\n");
    let server = Server::start(dir.path());
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    for (headers, expected) in [
        (bearer(&submit), "200"),
        (bearer(&read), "200"),
        (String::new(), "401"),
        (bearer("kiln_guess"), "401"),
        (format!("authorization: Basic {submit}\r\n"), "401"),
    ] {
        assert_eq!(status(&server.get("/api/v1/builds", &headers)), expected, "{headers}");
    }
    assert_eq!(status(&server.post("/api/v1/builds", &bearer(&read), SUBMIT)), "403");
    assert_eq!(status(&server.post("/api/v1/builds", &bearer(&submit), SUBMIT)), "201");
    // A server that began without tokens needs them from the first one on.
    let other = tempfile::tempdir().unwrap();
    let began_open = Server::start(other.path());
    assert_eq!(status(&began_open.get("/api/v1/builds", "")), "200");
    let made = run(other.path(), &["token", "create", "first", "--scope", "admin"]);
    assert_eq!(status(&began_open.get("/api/v1/builds", "")), "401");
    let first = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert_eq!(status(&began_open.get("/api/v1/builds", &bearer(&first))), "200");
    // A removed token is refused at once.
    assert!(run(dir.path(), &["token", "remove", "ci"]).status.success());
    assert_eq!(status(&server.get("/api/v1/builds", &bearer(&submit))), "401");
}

#[test]
fn settings_are_checked_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kiln.toml");
    std::fs::write(&file, "slts = 3\n").unwrap();
    let file = file.to_str().unwrap();
    let refused = run(dir.path(), &["config", "check", "--config", file]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("Did you mean `slots`?"), "{said}");
    std::fs::write(file, "slots = 3\n").unwrap();
    let shown = run(dir.path(), &["config", "show", "--config", file]);
    assert!(String::from_utf8(shown.stdout).unwrap().contains("slots = 3"));
}
