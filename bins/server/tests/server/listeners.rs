//! Where the server listens, and who is answered there.

use super::{SUBMIT, Server, run, settings, status};
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

#[test]
fn a_unix_socket_is_served_for_its_owner_and_taken_over_from_the_dead() {
    use std::os::unix::{fs::PermissionsExt, net::UnixStream};
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("kiln.sock");
    let listen = format!("unix:{}", socket.display());
    let ask = || {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let mut server = Server::start_with(dir.path(), &["--listen", &listen]);
    assert_eq!(status(&ask()), "200");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let second = run(&dir.path().join("other"), &["--listen", &listen]);
    assert!(String::from_utf8_lossy(&second.stderr).contains("somebody listens there"));
    assert_eq!(status(&ask()), "200", "who came second left the socket alone");
    // Killed, it leaves its socket behind.
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert!(socket.exists());
    let server = Server::start_with(dir.path(), &["--listen", &listen]);
    assert_eq!(status(&ask()), "200");
    assert_eq!(server.terminate(), Some(0));
    assert!(!socket.exists());
    std::fs::write(&socket, "mine").unwrap();
    let refused = run(dir.path(), &["--listen", &listen]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no socket"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "mine");
}

#[test]
fn metrics_are_on_a_listener_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("metrics.sock");
    let text = format!("slots = 1\n[listen]\nmetrics = \"unix:{}\"\n", socket.display());
    let file = settings(dir.path(), &text);
    let server = Server::start_with(dir.path(), &["--listen", "127.0.0.1:0", "--config", &file]);
    let made = server.post("/api/v1/builds", "", SUBMIT);
    let at = made.lines().find_map(|l| l.strip_prefix("location: ")).unwrap().to_owned();
    server.get(&format!("{at}/logs?follow=1"), "accept: text/event-stream\r\n");
    assert_eq!(status(&server.get("/metrics", "")), "404");
    let metrics = || {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    // The end of the log comes before the end of the build.
    let mut text = String::new();
    for _ in 0..1200 {
        text = metrics();
        if text.contains("kiln_builds_finished_total{") {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    for line in [
        "kiln_builds_accepted_total 1",
        "kiln_builds_finished_total{outcome=\"failed\"} 1",
        "kiln_builds_unfinished 0",
        "kiln_nodes{state=\"open\"} 1",
        "kiln_http_requests_total{method=\"POST\",route=\"/api/v1/builds\",status=\"201\"} 1",
        "kiln_port_seconds_count{op=\"Store::append\",result=\"ok\"}",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let resident = text.lines().find_map(|l| l.strip_prefix("kiln_resident_bytes ")).unwrap();
    assert!(resident.parse::<u64>().unwrap() > 1 << 20, "{resident}");
}

#[test]
fn with_a_certificate_only_tls_is_spoken() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (file("cert.pem"), file("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj"])
        .args(["/CN=localhost", "-keyout", &key, "-out", &certificate])
        .output();
    let Ok(made) = made else {
        return println!("SKIPPED: with_a_certificate_only_tls_is_spoken: there is no openssl");
    };
    assert!(made.status.success(), "{made:?}");
    let text = format!("[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n");
    let file = settings(dir.path(), &text);
    let server = Server::start_with(dir.path(), &["--listen", "127.0.0.1:0", "--config", &file]);
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-verify_return_error", "-servername", "localhost"])
        .args(["-CAfile", &certificate, "-connect", &server.address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(b"GET /healthz HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
    drop(stdin);
    client.wait().unwrap();
    assert_eq!(status(&answer), "200", "{answer}");
    // Whoever does not speak TLS gets nothing.
    let mut plain = TcpStream::connect(&server.address).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // The end may come as an alert or as a reset.
    let _ = plain.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{answer:?}");
    let swapped =
        settings(dir.path(), &format!("[tls]\ncertificate = \"{key}\"\nkey = \"{key}\"\n"));
    let refused = run(dir.path(), &["--listen", "127.0.0.1:0", "--config", &swapped]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no certificate"), "{refused:?}");
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut slow = TcpStream::connect(&server.address).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(180))).unwrap();
    slow.write_all(b"GET /healthz HTT").unwrap();
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).unwrap();
    assert!(answer.is_empty() || status(&String::from_utf8_lossy(&answer)) == "408");
}
