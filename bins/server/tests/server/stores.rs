//! The same server over every store, and several servers over one.

use super::{SUBMIT, Server, settings, status};
use std::{path::Path, time::Duration};

/// The settings for a service of the tests, in a place of its own; says so if there is none.
fn service(test: &str, name: &str) -> Option<String> {
    let skip = |why: &str| println!("SKIPPED: {test}: {why}");
    if std::env::var_os("KILN_TEST_REAL").is_none_or(|v| v != "1") {
        skip("KILN_TEST_REAL is not set");
        return None;
    }
    let Some(path) = std::env::var_os("KILN_TEST_SERVICES") else {
        skip("KILN_TEST_SERVICES is not set");
        return None;
    };
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let service = &all["services"][name];
    let Some(url) = service["url"].as_str() else {
        skip("the service does not run");
        return None;
    };
    let own = kiln::BuildId::random().as_str()[..16].to_owned();
    let field = |name: &str| service[name].as_str().unwrap().to_owned();
    Some(match name {
        "postgres" => format!("[store]\nurl = \"{url}\"\n[postgres]\nschema = \"t_{own}\"\n"),
        "redis" => {
            format!("[store]\nurl = \"{url}?prefix=t{own}:\"\n[redis]\ndurability = \"nothing\"\n")
        }
        _ => format!(
            "[artifacts]\nurl = \"s3://{}/t{own}?endpoint={url}&region={}\"\n",
            field("bucket"),
            field("region")
        ),
    })
}

fn start(dir: &Path, settings_text: &str) -> Server {
    std::fs::create_dir_all(dir).unwrap();
    let file = settings(dir, settings_text);
    Server::start_with(dir, &["--listen", "127.0.0.1:0", "--config", &file])
}

fn submit(server: &Server) -> String {
    let made = server.post("/api/v1/builds", "", SUBMIT);
    assert_eq!(status(&made), "201", "{made}");
    made.lines().find_map(|l| l.strip_prefix("location: ")).unwrap().to_owned()
}

/// Waits for the end of a build, as long as a test may take.
pub(super) fn finished(server: &Server, at: &str) {
    let mut view = String::new();
    for _ in 0..600 {
        view = server.get(at, "");
        if view.contains(r#""phase":"finished""#) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("not finished: {view}");
}

/// Two servers on one store: what one takes the other knows, drives if it must, and tells of.
fn two_servers_share(text: &str) {
    let dir = tempfile::tempdir().unwrap();
    let named = |name: &str, slots: u16| format!("name = \"{name}\"\nslots = {slots}\n{text}");
    let idle = start(&dir.path().join("a"), &named("a", 0));
    let busy = start(&dir.path().join("b"), &named("b", 2));
    let at = submit(&idle);
    let log = busy.get(&format!("{at}/logs?follow=1"), "accept: text/event-stream\r\n");
    assert!(log.contains("event: end"), "{log}");
    finished(&idle, &at);
    assert!(idle.get(&format!("{at}/journal"), "").contains(r#""node":"b""#));
    assert!(busy.get("/api/v1/nodes", "").contains(r#""id":"b""#));
    // The one that took it ends; the other one knows.
    assert_eq!(idle.terminate(), Some(0));
    assert!(busy.get("/api/v1/builds?label=a=b", "").contains(r#""a":"b""#));
}

#[test]
fn servers_share_a_postgresql() {
    if let Some(text) = service("servers_share_a_postgresql", "postgres") {
        two_servers_share(&text);
    }
}

#[test]
fn servers_share_a_redis() {
    if let Some(text) = service("servers_share_a_redis", "redis") {
        two_servers_share(&text);
    }
}

/// A Redis that keeps nothing, ended when the test is over.
struct Forgetful(std::process::Child, u16);

impl Forgetful {
    fn start(dir: &Path) -> Option<Self> {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let port = free.port();
        let mut command = std::process::Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        let child = command.current_dir(dir).stdout(std::process::Stdio::null()).spawn().ok()?;
        let it = Self(child, port);
        for _ in 0..1200 {
            if std::net::TcpStream::connect(free).is_ok() {
                return Some(it);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("redis-server does not listen");
    }
}

impl Drop for Forgetful {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_redis_that_keeps_nothing_is_refused_for_journals() {
    let dir = tempfile::tempdir().unwrap();
    let Some(redis) = Forgetful::start(dir.path()) else {
        let test = "a_redis_that_keeps_nothing_is_refused_for_journals";
        return println!("SKIPPED: {test}: there is no redis-server");
    };
    let text = format!("[store]\nurl = \"redis://127.0.0.1:{}\"\n", redis.1);
    let file = settings(dir.path(), &text);
    let refused = super::run(dir.path(), &["--listen", "127.0.0.1:0", "--config", &file]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("appendonly"), "{said}");
}

#[test]
fn artifacts_may_be_in_s3() {
    let Some(text) = service("artifacts_may_be_in_s3", "s3") else { return };
    let path = std::env::var("KILN_TEST_SERVICES").unwrap();
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let s3 = &all["services"]["s3"];
    let dir = tempfile::tempdir().unwrap();
    let file = settings(dir.path(), &text);
    let key = |name: &str| s3[name].as_str().unwrap().to_owned();
    let vars =
        [("AWS_ACCESS_KEY_ID", key("access_key")), ("AWS_SECRET_ACCESS_KEY", key("secret_key"))];
    let args = ["--listen", "127.0.0.1:0", "--config", &file];
    let server = Server::start_with_vars(dir.path(), &args, &vars);
    let tar = "x".repeat(3 << 20);
    let kept = server.post_as("/api/v1/contexts", "application/x-tar", &tar);
    assert_eq!(status(&kept), "201", "{kept}");
    drop(server);
    // A wrong key is told at the start, and not shown.
    let wrong =
        [("AWS_ACCESS_KEY_ID", "nobody".to_owned()), ("AWS_SECRET_ACCESS_KEY", "s3cret".into())];
    let refused = super::command(dir.path()).args(args).envs(wrong).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && !said.contains("s3cret"), "{said}");
}
