//! A small HTTP server that keeps what it is sent, and answers as it is told.

use kiln_wercker_registry::{HttpRegistry, RegistryConfig};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Status(u16, String),
    /// It sends somebody elsewhere.
    Elsewhere(String),
    /// It breaks off without an answer.
    Gone,
    /// It never answers.
    Silent,
    /// It never ends its answer.
    Endless,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Such as `GET /api/steps/wercker/s3sync/*`.
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

type Judge = dyn Fn(&Request) -> Answer + Send + Sync;

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) async fn start(judge: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, requests: Arc::default() };
        let (serving, judge): (_, Arc<Judge>) = (server.clone(), Arc::new(judge));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (serving, judge) = (serving.clone(), judge.clone());
                // A client that went away is what some tests are about.
                tokio::spawn(async move { serving.serve(stream, &*judge).await.ok() });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A registry that may be on this machine.
    pub(crate) fn config(&self) -> RegistryConfig {
        RegistryConfig {
            allow_private_network: true,
            allow_http: true,
            timeout_ms: 60_000,
            ..RegistryConfig::new(self.url())
        }
    }

    pub(crate) fn registry(&self) -> HttpRegistry {
        HttpRegistry::new(&self.config()).unwrap()
    }

    /// What came, in order.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The first lines of what came.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|r| r.line).collect()
    }

    async fn serve(&self, mut stream: TcpStream, judge: &Judge) -> std::io::Result<()> {
        let mut read = Vec::new();
        loop {
            let Some(request) = next(&mut stream, &mut read).await? else { return Ok(()) };
            let answer = judge(&request);
            self.requests.lock().unwrap().push(request);
            let text = match answer {
                Answer::Status(status, body) => {
                    let length = body.len();
                    format!("HTTP/1.1 {status} Told\r\ncontent-length: {length}\r\n\r\n{body}")
                }
                Answer::Elsewhere(to) => {
                    format!("HTTP/1.1 302 There\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
                }
                Answer::Gone => return Ok(()),
                Answer::Silent => std::future::pending().await,
                Answer::Endless => {
                    stream.write_all(b"HTTP/1.1 200 Oh\r\n\r\n").await?;
                    loop {
                        stream.write_all(&[b' '; 4096]).await?;
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
            let line = lines.next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
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
