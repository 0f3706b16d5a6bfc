//! A small HTTP server that keeps what it is sent, and answers as it is told.

use kiln::{
    Event, Outcome, Owner, Secret, SecretRef, Seq,
    memory::{MemorySecrets, SystemClock},
    port::{Clock, Notice, Secrets},
};
use kiln_conformance::sample::summary;
use serde_json::Value;
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What the receiver does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Status(u16, &'static str),
    /// It sends somebody elsewhere.
    Elsewhere(String),
    /// It breaks off without an answer.
    Gone,
    /// It refuses, and never ends its answer.
    Endless,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Debug, Default)]
struct State {
    answers: VecDeque<Answer>,
    requests: Vec<Request>,
}

/// A receiver. It answers 204 when it is told nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    pub(crate) async fn start(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = answers.to_vec().into();
        let state = Arc::new(Mutex::new(State { answers, requests: Vec::new() }));
        let receiver = Self { address, state };
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                // A client that went away is what some tests are about.
                tokio::spawn(async move { serving.serve(stream).await.ok() });
            }
        });
        receiver
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What came, in order.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut read = Vec::new();
        loop {
            let Some(request) = next(&mut stream, &mut read).await? else { return Ok(()) };
            let answer = {
                let mut state = self.state.lock().unwrap();
                state.requests.push(request);
                state.answers.pop_front()
            };
            let text = match answer.unwrap_or(Answer::Status(204, "")) {
                Answer::Status(204, _) => "HTTP/1.1 204 None\r\n\r\n".to_owned(),
                Answer::Status(status, body) => {
                    let length = body.len();
                    format!("HTTP/1.1 {status} Told\r\ncontent-length: {length}\r\n\r\n{body}")
                }
                Answer::Elsewhere(to) => {
                    format!("HTTP/1.1 307 There\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
                }
                Answer::Gone => return Ok(()),
                Answer::Endless => {
                    stream.write_all(b"HTTP/1.1 500 Oh\r\n\r\n").await?;
                    loop {
                        stream.write_all(&[b'x'; 4096]).await?;
                    }
                }
            };
            stream.write_all(text.as_bytes()).await?;
        }
    }
}

/// The next request of a connection; none if it ends.
async fn next(stream: &mut TcpStream, read: &mut Vec<u8>) -> std::io::Result<Option<Request>> {
    loop {
        if let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(read[..end].to_vec()).unwrap();
            let mut lines = head.lines();
            let line = lines.next().unwrap_or_default().to_owned();
            let header =
                |l: &str| l.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned()));
            let headers: BTreeMap<_, _> = lines.filter_map(header).collect();
            let length = headers.get("content-length").map_or(0, |l| l.parse().unwrap());
            if read.len() >= end + 4 + length {
                let body = read[end + 4..end + 4 + length].to_vec();
                read.drain(..end + 4 + length);
                return Ok(Some(Request { line, headers, body }));
            }
        }
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
}

pub(crate) fn secret(name: &str) -> SecretRef {
    SecretRef::new(name).unwrap()
}

/// Secrets of the local owner and of `team`: `token` is `t0ken`.
pub(crate) fn secrets() -> Arc<dyn Secrets> {
    let secrets = MemorySecrets::default();
    for owner in ["local", "team"] {
        let owner = Owner::new(owner).unwrap();
        secrets.set(owner.clone(), secret("token"), Secret::new("t0ken\n"));
        secrets.set(owner.clone(), secret("odd"), Secret::new("a\r\nx-evil: 1\nb"));
        secrets.set(owner, secret("empty"), Secret::new("\n"));
    }
    Arc::new(secrets)
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::default())
}

/// What happened to a build of the commit `f0f0…` of `acme/app`.
pub(crate) fn notice(event: Event) -> Notice {
    let mut build = summary("b1", 5);
    build.owner = Owner::new("team").unwrap();
    build.labels = [("kiln.repo", "acme/app"), ("kiln.hook", "app")]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .chain([("kiln.commit".to_owned(), "f0".repeat(20))])
        .collect();
    Notice { build, seq: Seq(7), event }
}

pub(crate) fn finished(outcome: Outcome) -> Notice {
    notice(Event::Finished { outcome })
}
