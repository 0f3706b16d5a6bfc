//! Logs over a websocket, by a client of a few lines (RFC 6455).

use crate::server::{Server, say};
use axum::http::StatusCode;
use kiln::{CancelToken, StopReason};
use kiln_api_native::{Everybody, Settings};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

struct Client(TcpStream);

impl Client {
    async fn open(address: std::net::SocketAddr, path: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self(stream)
    }

    /// The next message: what it is and what it holds.
    async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.0.read_u8().await.ok()?;
        assert_eq!(first & 0x80, 0x80, "in one piece");
        let length = match self.0.read_u8().await.unwrap() {
            126 => u64::from(self.0.read_u16().await.unwrap()),
            127 => self.0.read_u64().await.unwrap(),
            short => u64::from(short),
        };
        let mut bytes = vec![0; length as usize];
        self.0.read_exact(&mut bytes).await.unwrap();
        Some((first & 0x0f, bytes))
    }

    async fn say(&mut self, what: u8, bytes: &[u8]) {
        // Masked by zeros, which changes nothing.
        let head = [0x80 | what, 0x80 | bytes.len() as u8, 0, 0, 0, 0];
        self.0.write_all(&[&head, bytes].concat()).await.unwrap();
    }

    /// All records and the code it was closed with.
    async fn rest(&mut self) -> (Vec<Value>, u16) {
        let mut records = Vec::new();
        loop {
            match self.next().await.unwrap() {
                (TEXT, json) => records.push(serde_json::from_slice(&json).unwrap()),
                (CLOSE, why) => return (records, u16::from_be_bytes([why[0], why[1]])),
                (PING, what) => self.say(PONG, &what).await,
                other => panic!("{other:?}"),
            }
        }
    }
}

async fn listen(server: &Server) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = server.routes.clone();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

#[test]
fn a_log_comes_record_by_record_from_any_offset_on() {
    kiln_conformance::run("socket", async {
        let server = Server::new(Everybody);
        let address = listen(&server).await;
        let path = format!("/api/v1/builds/{}/logs", server.submit(say("one two")).await);
        let (records, code) = Client::open(address, &format!("{path}/ws")).await.rest().await;
        assert_eq!(code, 1000);
        let lines = server.text(&path, "", None).await;
        let lines: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(records, lines);
        for (i, record) in records.iter().enumerate() {
            let path = format!("{path}/ws?after={}", record["next"]);
            let (rest, _) = Client::open(address, &path).await.rest().await;
            assert_eq!(rest, records[i + 1..]);
        }
        let (status, _) = server.ask("GET", &format!("{path}/ws"), "", Value::Null).await;
        assert_eq!(status, StatusCode::UPGRADE_REQUIRED);
        server.end().await;
    });
}

#[test]
fn a_server_that_ends_says_so() {
    kiln_conformance::run("socket", async {
        let stop = CancelToken::new();
        let server = Server::with(Everybody, |api| api.until(stop.clone()));
        let address = listen(&server).await;
        let hang = json!({"run": {"image": "busybox", "command": {"argv": ["hang"]}}});
        let build = server.submit(hang).await;
        let path = format!("/api/v1/builds/{build}");
        let mut client = Client::open(address, &format!("{path}/logs/ws")).await;
        let first = client.next().await.unwrap();
        assert_eq!(first.0, TEXT);
        // Another one follows line by line: it has to see that this is not the log's end.
        let mut lines = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path}/logs?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n");
        lines.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(lines.read_u8().await.unwrap(), b'H');
        stop.cancel(StopReason::Cancel);
        assert_eq!(client.rest().await.1, 1001);
        let mut rest = Vec::new();
        lines.read_to_end(&mut rest).await.unwrap();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
        let force = json!({"force": true});
        server.ask("POST", &format!("{path}/cancel"), "", force).await;
        server.end().await;
    });
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    kiln_conformance::run("socket", async {
        let mut settings = Settings::default();
        settings.ping = Duration::from_millis(20);
        let server = Server::with(Everybody, |api| api.settings(settings));
        let address = listen(&server).await;
        let hang = json!({"run": {"image": "busybox", "command": {"argv": ["hang"]}}});
        let build = server.submit(hang).await;
        let path = format!("/api/v1/builds/{build}");
        let mut dead = Client::open(address, &format!("{path}/logs/ws")).await;
        let mut pings = 0;
        while let Some((what, _)) = dead.next().await {
            pings += u32::from(what == PING);
        }
        assert!((1..=4).contains(&pings), "{pings}");
        let mut alive = Client::open(address, &format!("{path}/logs/ws")).await;
        // Whoever answers is kept for as long as it likes.
        for _ in 0..20 {
            if let (PING, what) = alive.next().await.unwrap() {
                alive.say(PONG, &what).await;
            }
        }
        let force = json!({"force": true});
        server.ask("POST", &format!("{path}/cancel"), "", force).await;
        assert_eq!(alive.rest().await.1, 1000);
        server.end().await;
    });
}
