//! Many who follow one long log over HTTP, each in its own way: all read the same bytes, and the
//! server needs little memory for each.
//!
//! The server is a process of its own, this binary again, so that its memory can be told apart.
//! `KILN_LONG=1` makes the log as long as the specification has it.

use bytes::Bytes;
use futures::{StreamExt, future::join_all};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Incoming, client::conn::http1, header, server, service::service_fn};
use hyper_util::rt::TokioIo;
use kiln::{
    BuildId, Engine, StepId, Submission, Timestamp,
    memory::MemoryQueue,
    port::{LogBody, LogRecord, LogSink, Offset, RECORD_BYTES_MAX, Stream},
};
use kiln_api_native::{Api, Everybody, router};
use kiln_files::FileLogs;
use std::{
    io::{BufRead, BufReader, Lines, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

/// Where the process that serves keeps its log; set for that process alone.
const SERVE: &str = "KILN_IT_FOLLOWERS";
const FOLLOWERS: usize = 200;
const MIB: usize = 1 << 20;
/// What the server may need in all: `docs/spec.md` has it.
const MEMORY_MAX: usize = 160 * MIB;

fn long() -> bool {
    std::env::var_os("KILN_LONG").is_some()
}

/// How long the log is. Its end is in the middle of a record.
fn length() -> usize {
    if long() { 1024 * MIB + 4_321 } else { 64 * MIB + 4_321 }
}

/// A text whose length is a prime number, so that no part of the log looks like one nearby.
fn text() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'!' + (state >> 33) as u8 % 90
    };
    (0..1_048_573).map(letter).collect()
}

/// Bytes of the log, from an offset on: as many as there are in one piece.
fn from(text: &[u8], at: usize) -> &[u8] {
    let rest = &text[at % text.len()..];
    &rest[..rest.len().min(length() - at)]
}

/// Writes the log, while others read it.
async fn write(logs: &FileLogs, build: &BuildId) {
    let text = text();
    let (mut at, step) = (0, StepId(0));
    while at < length() {
        let mut batch = Vec::new();
        let begin = at;
        while at < length() && batch.len() < 16 {
            let data = from(&text, at);
            let data = Bytes::copy_from_slice(&data[..data.len().min(RECORD_BYTES_MAX)]);
            let (offset, time) = (Offset(at as u64), Timestamp(0));
            at += data.len();
            let body = LogBody::Bytes { stream: Stream::Stdout, data };
            batch.push(LogRecord { at: offset, time, step, attempt: 1, body });
        }
        logs.append(build, Offset(begin as u64), &batch).await.unwrap();
    }
    logs.close(build).await.unwrap();
}

/// The server: says where it listens and which build it has, and writes the log once it is told.
async fn serve(directory: PathBuf) {
    let logs = FileLogs::open(directory).unwrap();
    let (sink, reader) = (Arc::new(logs.clone()), Arc::new(logs.clone()));
    let engine = Engine::builder().log_sink(sink).log_reader(reader).build();
    let plan = crate::machine::commands(&["true"]);
    let build = engine.accept(Submission::new(plan)).await.unwrap();
    let routes = router(Api::new(engine, Arc::new(MemoryQueue::default()), Arc::new(Everybody)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let said = format!("\nserves {} {build}\n", listener.local_addr().unwrap());
    std::io::stdout().write_all(said.as_bytes()).unwrap();
    tokio::spawn(listen(listener, routes));
    write(&logs, &build).await;
    std::future::pending().await
}

/// Serves as `kiln-server` does.
async fn listen(listener: TcpListener, routes: axum::Router) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let routes = routes.clone();
        let service = service_fn(move |request: Request<Incoming>| routes.clone().oneshot(request));
        let connection = server::conn::http1::Builder::new()
            .max_buf_size(64 << 10)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

/// No test of its own: what the server process runs.
#[test]
fn followers_server() {
    let Some(directory) = std::env::var_os(SERVE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(serve(directory.into()));
}

struct Server {
    process: Child,
    /// Where the test of that process goes on to tell how it is.
    _said: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
    path: String,
}

impl Server {
    fn start(directory: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "followers::followers_server", "--nocapture"])
            .env(SERVE, directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let said =
            lines.by_ref().find_map(|l| l.unwrap().strip_prefix("serves ").map(str::to_owned));
        let said = said.unwrap();
        let (address, build) = said.split_once(' ').unwrap();
        let path = format!("/api/v1/builds/{build}/logs?follow=1");
        Self { process, address: address.parse().unwrap(), path, _said: lines }
    }

    /// The most memory the process ever had, in bytes.
    fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    async fn ask(&self, after: usize, accept: &str) -> Incoming {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(format!("{}&after={after}", self.path))
            .header(header::HOST, "server")
            .header(header::ACCEPT, accept);
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap());
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// How a follower reads.
#[derive(Clone, Copy, Debug)]
enum Way {
    Steady,
    /// It rests after each so many bytes.
    Slow,
    /// It hangs up at random places and comes again.
    Restless,
    /// As JSON, a record a line.
    Lines,
}

/// Reads all of the log, and compares every byte.
async fn follow(server: &Server, text: &[u8], who: usize) {
    let way = match who % 20 {
        0 => Way::Lines,
        n if n < 8 => Way::Steady,
        n if n < 14 => Way::Slow,
        _ => Way::Restless,
    };
    let mut state = who as u64 + 1;
    let mut random = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    if matches!(way, Way::Lines) {
        return follow_lines(server, text).await;
    }
    let (mut at, mut rest) = (0, 0);
    while at < length() {
        let mut body = server.ask(at, "text/plain").await;
        let hang_up = match way {
            Way::Restless => at + 1 + random(length() / 8),
            _ => usize::MAX,
        };
        while let Some(frame) = body.frame().await {
            let mut data = &frame.unwrap().into_data().unwrap()[..];
            while !data.is_empty() {
                assert!(at < length(), "follower {who} got more than there is");
                let expected = from(text, at);
                let n = expected.len().min(data.len());
                assert!(data[..n] == expected[..n], "follower {who} got something else at {at}");
                (data, at) = (&data[n..], at + n);
            }
            if matches!(way, Way::Slow) && at >= rest {
                rest = at + length() / 50;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if at >= hang_up {
                break;
            }
        }
        assert!(at >= hang_up || at == length(), "follower {who} was let go at {at}");
    }
}

async fn follow_lines(server: &Server, text: &[u8]) {
    let body = server.ask(0, "application/x-ndjson").await;
    let mut pieces = body.into_data_stream();
    let (mut at, mut line) = (0, Vec::new());
    while let Some(piece) = pieces.next().await {
        for part in piece.unwrap().split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if !line.ends_with(b"\n") {
                continue;
            }
            let record: serde_json::Value = serde_json::from_slice(&line).unwrap();
            line.clear();
            assert_eq!(record["at"], at);
            let mut data = record["text"].as_str().unwrap().as_bytes();
            while !data.is_empty() {
                let expected = from(text, at);
                let n = expected.len().min(data.len());
                assert!(data[..n] == expected[..n], "a line has something else at {at}");
                (data, at) = (&data[n..], at + n);
            }
        }
    }
    assert_eq!(at, length());
}

#[test]
fn all_followers_of_a_long_log_read_the_same_and_cost_little() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let before = server.memory();
    let text = text();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let started = std::time::Instant::now();
    runtime.block_on(async {
        join_all((0..FOLLOWERS).map(|who| follow(&server, &text, who))).await;
    });
    let (after, took) = (server.memory(), started.elapsed());
    eprintln!(
        "{FOLLOWERS} followers of {} MiB in {took:?}: {} MiB of memory, {} MiB before",
        length() / MIB,
        after / MIB,
        before / MIB,
    );
    assert!(after <= MEMORY_MAX, "{} MiB", after / MIB);
}
