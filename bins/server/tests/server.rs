//! The server as a process: started, asked, told to end.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

/// A server on a port of its own, killed when the test is over.
struct Server {
    child: Child,
    address: String,
}

fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln-server"));
    command.args(["--data"]).arg(data).env_remove("KILN_CONFIG").env("KILN_LOG", "info");
    command
}

fn run(data: &Path, args: &[&str]) -> Output {
    command(data).args(args).output().unwrap()
}

impl Server {
    fn start(data: &Path) -> Self {
        let mut command = command(data);
        command.args(["--listen", "127.0.0.1:0"]).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the server ended before it was ready").unwrap();
            if let Some((_, rest)) = line.split_once("address=") {
                break rest.split_whitespace().next().unwrap().to_owned();
            }
        };
        // Whoever does not read what a process says stops it in the end.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// Sends a request as it is and returns the answer as it is.
    fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get(&self, path: &str, headers: &str) -> String {
        let host = &self.address;
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\r\n"
        ))
    }

    fn post(&self, path: &str, headers: &str, body: &str) -> String {
        let (host, length) = (&self.address, body.len());
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: \
             application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        ))
    }

    fn terminate(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A scan, which this server has nothing for: a build that ends without an engine.
const SUBMIT: &str = r#"{"labels": {"a": "b"}, "plan": {"version": 1, "steps": [{"name": "scan",
    "op": "scan", "image": {"reference": "x:1"}, "when": "success", "may_fail": false,
    "attempts": {"max": 1}}]}}"#;

fn status(answer: &str) -> &str {
    answer.split_whitespace().nth(1).unwrap_or("")
}

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
