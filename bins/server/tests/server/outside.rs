//! What comes from forges, and what is told to others.

use super::{Server, settings, status};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::mpsc,
    time::Duration,
};

/// A receiver that refuses the first request for now and takes the others; what it took.
fn receiver() -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (taken, told) = mpsc::channel();
    std::thread::spawn(move || {
        for (nth, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let from = head.len();
                if stream.read_line(&mut head).unwrap() == 0 {
                    break;
                }
                if let Some(value) = head[from..].to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let answer = if nth == 0 { "503 Later" } else { "204 Taken" };
            let answer = format!("HTTP/1.1 {answer}\r\nconnection: close\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            if nth > 0 && taken.send(head + &String::from_utf8(body).unwrap()).is_err() {
                return;
            }
        }
    });
    (port, told)
}

fn secret(dir: &Path, name: &str, value: &str) {
    let file = dir.join("secrets/local").join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, value).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn signed(key: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().iter().fold("sha256=".to_owned(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

const PUSH: &str = r#"{"ref": "refs/heads/main", "before": "1111111111111111111111111111111111111111",
    "after": "2222222222222222222222222222222222222222", "created": false, "deleted": false,
    "forced": false, "repository": {"full_name": "acme/app", "clone_url": "https://github.com/acme/app.git"},
    "commits": [], "head_commit": null}"#;

#[test]
fn a_push_starts_a_build_and_others_are_told_of_it_until_they_listen() {
    let dir = tempfile::tempdir().unwrap();
    let (port, told) = receiver();
    secret(dir.path(), "hook", "from the forge");
    secret(dir.path(), "notify", "to the receiver");
    let text = format!(
        "[secrets]\ndir = \"{}\"\n[hooks.app]\nforge = \"github\"\nsecret = \"hook\"\n\
         repos = [\"acme/*\"]\nsource = \"http://127.0.0.1:1/{{repo}}.git\"\n\
         [notify.ci]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/told\"\n\
         secret = \"notify\"\nallow_http = true\nallow_private_network = true\n\
         events = [\"accepted\", \"finished\"]\n",
        dir.path().join("secrets").display()
    );
    let file = settings(dir.path(), &text);
    let server = Server::start_with(dir.path(), &["--listen", "127.0.0.1:0", "--config", &file]);
    let push = |signature: &str, id: &str| {
        let headers = format!(
            "x-github-event: push\r\nx-github-delivery: {id}\r\nx-hub-signature-256: {signature}\r\n"
        );
        server.post("/hooks/app", &headers, PUSH)
    };
    let (good, id) = (signed("from the forge", PUSH), "0b989ba4-242f-11e5-81e1-c7b6966d2516");
    assert_eq!(status(&push(&signed("a guess", PUSH), id)), "401");
    let made = push(&good, id);
    assert_eq!(status(&made), "201", "{made}");
    // The same delivery again is no other build, and after the end of the server neither.
    assert_eq!(status(&push(&good, id)), "200");
    for kind in ["build.accepted", "build.finished"] {
        let notice = told.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(notice.contains(kind), "{notice}");
        assert!(notice.to_lowercase().contains("webhook-signature: v1,"), "{notice}");
        assert!(notice.contains(r#""kiln.repo":"acme/app""#), "{notice}");
    }
    // `config show` tells of both, and of no secret.
    let shown = super::run(dir.path(), &["config", "show", "--config", &file]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("[hooks.app]") && shown.contains("kind = \"webhook\""), "{shown}");
}

#[test]
fn logs_of_builds_that_are_over_move_and_stay_readable() {
    let dir = tempfile::tempdir().unwrap();
    let file = settings(dir.path(), "[logs]\narchive = true\n");
    let server = Server::start_with(dir.path(), &["--listen", "127.0.0.1:0", "--config", &file]);
    let made = server.post("/api/v1/builds", "", super::SUBMIT);
    let at = made.lines().find_map(|l| l.strip_prefix("location: ")).unwrap().to_owned();
    let read = || server.get(&format!("{at}/logs?follow=1"), "");
    let body = |answer: String| answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    let before = body(read());
    let hot = || std::fs::read_dir(dir.path().join("logs")).unwrap().count();
    assert!(before.contains("started"), "{before}");
    for _ in 0..900 {
        if hot() == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(hot(), 0, "the log is still where it was written");
    assert_eq!(body(read()), before);
}

#[test]
fn traces_go_to_a_collector_while_the_server_runs() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (taken, told) = mpsc::channel();
    // Stands in for a collector: it takes every request and keeps what was sent.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let from = head.len();
                if stream.read_line(&mut head).unwrap() == 0 {
                    break;
                }
                if let Some(value) = head[from..].to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            if taken.send((head, String::from_utf8_lossy(&body).into_owned())).is_err() {
                return;
            }
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let file = settings(dir.path(), &format!("[telemetry]\notlp = \"{endpoint}\"\n"));
    let server = Server::start_with(dir.path(), &["--listen", "127.0.0.1:0", "--config", &file]);
    assert_eq!(status(&server.post("/api/v1/builds", "", super::SUBMIT)), "201");
    let (head, body) = told.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(head.starts_with("POST /v1/traces "), "{head}");
    assert!(body.contains("kiln-server"), "{body}");
    assert_eq!(server.terminate(), Some(0));
}
