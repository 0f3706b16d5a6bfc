//! What is kept, and what is forgotten.

use super::{SUBMIT, Server, settings, status};
use std::time::Duration;

#[test]
fn builds_are_forgotten_as_the_settings_say() {
    let dir = tempfile::tempdir().unwrap();
    let file = settings(dir.path(), "[retention]\nbuilds = 2\nevery_seconds = 1\n");
    let server = Server::start_with(dir.path(), &["--listen", "127.0.0.1:0", "--config", &file]);
    for _ in 0..5 {
        assert_eq!(status(&server.post("/api/v1/builds", "", SUBMIT)), "201");
    }
    let kept = || server.get("/api/v1/builds", "").matches("\"accepted_at\"").count();
    for _ in 0..1200 {
        if kept() == 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(kept(), 2);
}

#[test]
fn a_server_that_may_keep_nothing_more_takes_no_build() {
    let dir = tempfile::tempdir().unwrap();
    let file = settings(dir.path(), "[retention]\ndisk_bytes = 1\nevery_seconds = 1\n");
    let server = Server::start_with(dir.path(), &["--listen", "127.0.0.1:0", "--config", &file]);
    let mut answer = String::new();
    for _ in 0..1200 {
        answer = server.post("/api/v1/builds", "", SUBMIT);
        if status(&answer) != "201" {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(answer.contains("\"code\":\"exhausted\""), "{answer}");
    assert!(answer.contains("retention.disk_bytes"), "{answer}");
}
