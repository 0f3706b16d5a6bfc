//! A server that has its answers by heart, and takes only the questions that belong to them.

use serde::Deserialize;
use serde_json::Value;
use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    thread::JoinHandle,
};

/// A request and its answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Exchange {
    request: Asked,
    pub(crate) response: Answered,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Asked {
    method: String,
    path: String,
    lease: Option<String>,
    json: Option<Value>,
    hex: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Answered {
    status: u16,
    kind: Option<String>,
    log: Option<(String, String)>,
    pub(crate) json: Option<Value>,
    hex: Option<String>,
}

pub(crate) fn read(version: &str) -> Vec<Exchange> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/agent");
    let text = std::fs::read(root.join(format!("{version}.json"))).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Adds to every object what a newer version could have in it; not to maps of anybody's texts.
pub(crate) fn newer(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                let whose = matches!(key.as_str(), "labels" | "limits" | "env" | "boxes" | "plan");
                if !whose {
                    newer(value);
                }
            }
            object.insert("since_1_2".into(), serde_json::json!({ "new": [1] }));
        }
        Value::Array(all) => all.iter_mut().for_each(newer),
        _ => {}
    }
}

pub(crate) struct Server {
    pub(crate) url: String,
    thread: JoinHandle<()>,
}

impl Server {
    /// Expects that all questions were asked.
    pub(crate) fn end(self) {
        self.thread.join().unwrap();
    }
}

/// Answers the exchanges in their order, each on a connection of its own.
pub(crate) fn play(version: &'static str, exchanges: Vec<Exchange>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        for exchange in exchanges {
            let (stream, _) = listener.accept().unwrap();
            let asked = question(&mut BufReader::new(&stream));
            // Not an assertion alone: the client should not wait for the answer of a dead thread.
            let expected = asked == exchange.request;
            let said = if expected {
                answer(version, &exchange.response)
            } else {
                b"HTTP/1.1 500 x\r\n\r\n".to_vec()
            };
            (&stream).write_all(&said).unwrap();
            assert!(expected, "asked: {asked:?}, expected: {:?}", exchange.request);
        }
    });
    Server { url, thread }
}

fn question(stream: &mut BufReader<&TcpStream>) -> Asked {
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let first = line();
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let headers: Vec<String> =
        std::iter::from_fn(|| Some(line()).filter(|l| !l.is_empty())).collect();
    let header = |name: &str| {
        headers.iter().find_map(|h| Some(h.strip_prefix(name)?.strip_prefix(": ")?.to_owned()))
    };
    assert_eq!(header("kiln-agent-version").as_deref(), Some("1.1"));
    if let Some(token) = header("authorization") {
        assert_eq!(token, "Bearer kiln_golden");
    }
    let body = match (header("content-length"), header("transfer-encoding")) {
        (Some(length), _) => {
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            body
        }
        (None, Some(_)) => chunks(stream),
        (None, None) => Vec::new(),
    };
    let json = header("content-type").as_deref() == Some("application/json");
    Asked {
        method,
        path,
        lease: header("kiln-lease"),
        json: json.then(|| serde_json::from_slice(&body).unwrap()),
        hex: (!json && !body.is_empty()).then(|| hex(&body)),
    }
}

fn chunks(stream: &mut BufReader<&TcpStream>) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut length = String::new();
        stream.read_line(&mut length).unwrap();
        let length = usize::from_str_radix(length.trim_end(), 16).unwrap();
        let mut chunk = vec![0; length + 2];
        stream.read_exact(&mut chunk).unwrap();
        body.extend_from_slice(&chunk[..length]);
        if length == 0 {
            return body;
        }
    }
}

fn answer(version: &str, answered: &Answered) -> Vec<u8> {
    let body = match (&answered.json, &answered.hex) {
        (Some(json), _) => serde_json::to_vec(json).unwrap(),
        (None, Some(hex)) => bytes(hex),
        (None, None) => Vec::new(),
    };
    let mut head = format!(
        "HTTP/1.1 {} x\r\nkiln-agent-version: {version}\r\nconnection: close\r\n",
        answered.status
    );
    if let Some(kind) = &answered.kind {
        write!(head, "content-type: {kind}\r\n").unwrap();
    }
    if let Some((next, closed)) = &answered.log {
        write!(head, "kiln-log-next: {next}\r\nkiln-log-closed: {closed}\r\n").unwrap();
    }
    if answered.status != 204 {
        write!(head, "content-length: {}\r\n", body.len()).unwrap();
    }
    head.push_str("\r\n");
    [head.into_bytes(), body].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}
