//! Logs of builds that a server has.

use super::Client;
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Buf, Bytes, BytesMut};
use futures::{FutureExt, StreamExt, stream::BoxStream};
use kiln::{
    BuildId, Error, ErrorKind, Result, StepId, Timestamp,
    port::{LogBody, LogPage, LogReader, LogRecord, Offset, Progress, StepEnd, Stream},
};
use reqwest::{Method, header};
use serde::Deserialize;
use std::time::Duration;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

const OP: &str = "LogReader::read";
/// The longest line that a server may send: a record whose every byte is escaped.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Reads logs as server-sent events, since only those say that a log is over: any other answer
/// that ends could as well be one that broke.
///
/// The answer for one log stays open between two calls. Whatever breaks it, the next call begins a
/// new one at just the offset that was asked for.
#[derive(Debug)]
pub(crate) struct ServerLogs {
    client: Client,
    open: Mutex<Option<Open>>,
}

/// An answer that is read.
struct Open {
    build: BuildId,
    at: Offset,
    follow: bool,
    events: Events,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("build", &self.build).field("at", &self.at).finish()
    }
}

impl ServerLogs {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, open: Mutex::default() }
    }

    async fn begin(&self, build: &BuildId, at: Offset, follow: bool) -> Result<Open> {
        let path = ["builds", build.as_str(), "logs"];
        let request = self.client.request(Method::GET, &path);
        let request = request.query(&[("after", at.0), ("follow", u64::from(follow))]);
        let request = request.header(header::ACCEPT, "text/event-stream");
        let response = self.client.send(OP, request).await?;
        let client = self.client.clone();
        let pieces = response.bytes_stream();
        let pieces = pieces.map(move |piece| piece.map_err(|e| client.unreachable(OP, e)));
        let events = Events { pieces: pieces.boxed(), rest: BytesMut::new(), seen: 0 };
        Ok(Open { build: build.clone(), at, follow, events })
    }
}

#[async_trait]
impl LogReader for ServerLogs {
    async fn read(
        &self,
        build: &BuildId,
        from: Offset,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<LogPage> {
        let (until, follow) = (Instant::now() + patience, !patience.is_zero());
        let mut slot = self.open.lock().await;
        let same = |o: &Open| (&o.build, o.at, o.follow) == (build, from, follow);
        let mut open = match slot.take().filter(same) {
            Some(open) => open,
            None => self.begin(build, from, follow).await?,
        };
        let mut page = LogPage { records: Vec::new(), next: from, closed: false };
        let mut bytes = 0;
        while page.records.is_empty() || bytes < bytes_max {
            let next = open.events.next();
            let said = match (page.records.is_empty(), follow) {
                // What is there comes to its end by itself.
                (true, false) => next.await,
                (true, true) => match timeout_at(until, next).await {
                    Ok(said) => said,
                    Err(_) => break,
                },
                // Once there is something, only what has arrived too.
                (false, _) => match next.now_or_never() {
                    Some(said) => said,
                    None => break,
                },
            };
            match said {
                Ok(Some(record)) if record.at == page.next => {
                    page.next = record.end();
                    bytes += record.width() as usize;
                    page.records.push(record);
                }
                Ok(Some(_)) => return Err(broken("its records do not follow one another")),
                Ok(None) => {
                    // Without following, it is only the end of what is there now.
                    page.closed = follow;
                    return Ok(page);
                }
                // What came before is whole; the next call asks for the rest.
                Err(_) if !page.records.is_empty() => return Ok(page),
                Err(e) => return Err(e),
            }
        }
        open.at = page.next;
        *slot = Some(open);
        Ok(page)
    }
}

fn broken(why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, OP, format!("the log of the server is not understood: {why}"))
}

/// Events of the form that the HTML standard gives them, as far as a log needs it.
struct Events {
    pieces: BoxStream<'static, Result<Bytes>>,
    rest: BytesMut,
    /// How much of the rest has no end of a line in it.
    seen: usize,
}

impl Events {
    /// The next record; none at the end of the log. Dropping the future loses nothing.
    async fn next(&mut self) -> Result<Option<LogRecord>> {
        loop {
            while let Some(line) = self.line() {
                // The kind of an event and its id are before its data, which says the same.
                if line == b"event: end"[..] || line == b"event:end"[..] {
                    return Ok(None);
                }
                if let Some(data) = line.strip_prefix(b"data:") {
                    return record(data.trim_ascii_start()).map(Some);
                }
            }
            if self.rest.len() > LINE_BYTES_MAX {
                return Err(broken("a line is too long"));
            }
            match self.pieces.next().await {
                Some(piece) => self.rest.extend_from_slice(&piece?),
                None => {
                    let message = "the server ended the log before its end";
                    return Err(Error::new(ErrorKind::Unavailable, OP, message));
                }
            }
        }
    }

    fn line(&mut self) -> Option<Bytes> {
        let Some(end) = self.rest[self.seen..].iter().position(|c| *c == b'\n') else {
            self.seen = self.rest.len();
            return None;
        };
        let mut line = self.rest.split_to(self.seen + end);
        self.rest.advance(1);
        self.seen = 0;
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Some(line.freeze())
    }
}

/// A record as the API writes it; `docs/api.md` describes it.
#[derive(Deserialize)]
struct Line {
    at: u64,
    next: u64,
    time: Timestamp,
    step: u16,
    attempt: u8,
    #[serde(flatten)]
    says: Says,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Says {
    Started,
    Output {
        stream: Stream,
        text: Option<String>,
        base64: Option<String>,
    },
    Progress(Progress),
    Gap {
        why: String,
    },
    Ended {
        how: StepEnd,
    },
    #[serde(other)]
    Newer,
}

fn record(json: &[u8]) -> Result<LogRecord> {
    let line: Line = serde_json::from_slice(json).map_err(|e| broken(&e.to_string()))?;
    let width = line.next.saturating_sub(line.at);
    let body = match line.says {
        Says::Started => LogBody::Started,
        Says::Output { stream, text: Some(text), .. } => {
            LogBody::Bytes { stream, data: text.into() }
        }
        Says::Output { stream, base64, .. } => {
            let data = STANDARD.decode(base64.unwrap_or_default());
            LogBody::Bytes { stream, data: data.map_err(|e| broken(&e.to_string()))?.into() }
        }
        Says::Progress(progress) => LogBody::Progress(progress),
        Says::Gap { why } => LogBody::Gap { bytes: width, why },
        Says::Ended { how } => LogBody::Ended(how),
        // It takes its place all the same.
        Says::Newer => LogBody::Gap { bytes: width, why: "a record of a newer kind".into() },
    };
    let (at, step) = (Offset(line.at), StepId(line.step));
    let record = LogRecord { at, time: line.time, step, attempt: line.attempt, body };
    if record.end().0 != line.next {
        return Err(broken("a record is not as wide as it says"));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    fn events(pieces: Vec<&[u8]>) -> Events {
        let pieces: Vec<_> = pieces.into_iter().map(|p| Ok(Bytes::copy_from_slice(p))).collect();
        Events { pieces: stream::iter(pieces).boxed(), rest: BytesMut::new(), seen: 0 }
    }

    const TEXT: &[u8] = b"id: 1\nevent: log\ndata: {\"at\":0,\"next\":1,\"time\":5,\"step\":0,\
        \"attempt\":1,\"type\":\"started\"}\n\n: alive\n\nid: 3\r\nevent: log\r\ndata: {\"at\":1,\
        \"next\":3,\"time\":6,\"step\":0,\"attempt\":1,\"type\":\"output\",\"stream\":\"stdout\",\
        \"base64\":\"/wA=\"}\r\n\r\nevent:log\ndata:{\"at\":3,\"next\":10,\"time\":6,\"step\":0,\
        \"attempt\":1,\"type\":\"dance\",\"x\":1}\n\nevent: end\ndata: {}\n\n";

    #[tokio::test]
    async fn events_are_read_however_they_arrive() {
        for size in [1, 2, 7, 64, TEXT.len()] {
            let mut events = events(TEXT.chunks(size).collect());
            let mut bodies = Vec::new();
            while let Some(record) = events.next().await.unwrap() {
                bodies.push(record.body);
            }
            let data = Bytes::from_static(b"\xff\0");
            let why = "a record of a newer kind".to_owned();
            let expected = [
                LogBody::Started,
                LogBody::Bytes { stream: Stream::Stdout, data },
                LogBody::Gap { bytes: 7, why },
            ];
            assert_eq!(bodies, expected, "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn only_a_log_that_says_so_is_over() {
        let cut = TEXT.len() - 20;
        let mut events = events(vec![&TEXT[..cut]]);
        let e = loop {
            match events.next().await {
                Ok(record) => assert!(record.is_some()),
                Err(e) => break e,
            }
        };
        assert_eq!(e.kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn what_is_no_log_is_an_error() {
        let wide = TEXT.to_vec().escape_ascii().to_string().replace("\\n", "\n");
        let wide = wide.replace("\\\"next\\\":3", "\\\"next\\\":4").replace("\\\"", "\"");
        for bad in [wide.as_bytes(), b"data: {\n\n", &vec![b'x'; LINE_BYTES_MAX + 2]] {
            let mut events = events(vec![bad]);
            let e = loop {
                if let Err(e) = events.next().await {
                    break e;
                }
            };
            assert_eq!(e.kind(), ErrorKind::Corrupt, "{e:?}");
        }
    }
}
