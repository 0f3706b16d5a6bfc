//! A small HTTP server with archives.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// What is at a path.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Bytes(Vec<u8>),
    Status(u16),
    Redirect(String),
    /// Says that it is as long as that, and then that much comes.
    Cut(usize, Vec<u8>),
    /// Takes the request and says nothing.
    Silence,
}

type Pages = Arc<Mutex<BTreeMap<String, Answer>>>;

/// A server of this process; it serves until the tests end.
#[derive(Debug)]
pub(crate) struct Server {
    port: u16,
    pages: Pages,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let pages = Pages::default();
        let serving = pages.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let pages = serving.clone();
                std::thread::spawn(move || answer(&stream, &pages));
            }
        });
        Self { port, pages }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The same by a name.
    pub(crate) fn named(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    pub(crate) fn serve(&self, path: &str, bytes: Vec<u8>) {
        self.at(path, Answer::Bytes(bytes));
    }

    pub(crate) fn at(&self, path: &str, answer: Answer) {
        self.pages.lock().unwrap().insert(path.into(), answer);
    }
}

/// Answers one request. Whoever asks may go away at any time.
fn answer(stream: &TcpStream, pages: &Pages) {
    let mut lines = BufReader::new(stream).lines();
    let Some(Ok(first)) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap_or("").to_owned();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let answer = pages.lock().unwrap().get(&path).cloned().unwrap_or(Answer::Status(404));
    let (head, body) = match answer {
        Answer::Bytes(bytes) => (format!("200 OK\r\ncontent-length: {}", bytes.len()), bytes),
        Answer::Status(status) => (format!("{status} X\r\ncontent-length: 0"), vec![]),
        Answer::Redirect(to) => (format!("302 X\r\nlocation: {to}\r\ncontent-length: 0"), vec![]),
        Answer::Cut(length, bytes) => (format!("200 OK\r\ncontent-length: {length}"), bytes),
        Answer::Silence => {
            // Until the other side has had enough.
            lines.for_each(drop);
            return;
        }
    };
    let mut stream = stream;
    let _ = stream.write_all(format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n").as_bytes());
    let _ = stream.write_all(&body);
}
