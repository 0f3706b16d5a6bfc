use crate::{ask::part_of, client::RemoteClient, error::of_answer, wire::OffsetTold};
use async_trait::async_trait;
use kiln::{
    BuildId, Result,
    port::{LogPage, LogReader, LogRecord, LogSink, Offset, pack, unpack},
};
use reqwest::Method;
use std::{
    str::FromStr,
    time::{Duration, Instant},
};

/// The logs of a server, to write and to read, of builds that are leased to this process.
#[derive(Clone, Debug)]
pub struct RemoteLogs(RemoteClient);

impl RemoteLogs {
    /// The logs behind a client.
    pub fn new(client: RemoteClient) -> Self {
        Self(client)
    }
}

#[async_trait]
impl LogSink for RemoteLogs {
    async fn append(&self, build: &BuildId, at: Offset, records: &[LogRecord]) -> Result<Offset> {
        let path = ["builds", build.as_str(), "log"];
        let ask = self.0.ask("LogSink::append", Method::POST, &path).of(build);
        let told: OffsetTold = ask.query(&[("at", at.0)]).bytes(pack(records)).told().await?;
        Ok(told.end)
    }

    async fn end(&self, build: &BuildId) -> Result<Offset> {
        let path = ["builds", build.as_str(), "log", "end"];
        let ask = self.0.ask("LogSink::end", Method::GET, &path).of(build);
        let told: OffsetTold = ask.told().await?;
        Ok(told.end)
    }

    async fn close(&self, build: &BuildId) -> Result<()> {
        let path = ["builds", build.as_str(), "log", "close"];
        self.0.ask("LogSink::close", Method::POST, &path).of(build).done().await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        let path = ["builds", build.as_str(), "log"];
        self.0.ask("LogSink::forget", Method::DELETE, &path).of(build).done().await
    }
}

#[async_trait]
impl LogReader for RemoteLogs {
    async fn read(
        &self,
        build: &BuildId,
        from: Offset,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<LogPage> {
        const OP: &str = "LogReader::read";
        let path = ["builds", build.as_str(), "log"];
        let start = Instant::now();
        loop {
            let left = patience.saturating_sub(start.elapsed());
            let ms = part_of(left);
            let query = [("from", from.0), ("bytes_max", bytes_max as u64), ("patience_ms", ms)];
            let ask = self.0.ask(OP, Method::GET, &path).of(build).query(&query).patience(ms);
            let (headers, body) = ask.whole().await?;
            fn said<T: FromStr>(headers: &reqwest::header::HeaderMap, name: &str) -> Option<T> {
                headers.get(name)?.to_str().ok()?.parse().ok()
            }
            let next = said(&headers, "kiln-log-next").map(Offset);
            let closed = said(&headers, "kiln-log-closed");
            let (Some(next), Some(closed)) = (next, closed) else {
                let problem = "the server does not say where a log goes on";
                return Err(of_answer(OP, self.0.server(), problem));
            };
            let page = LogPage { records: unpack(body)?, next, closed };
            let nothing = page.records.is_empty() && !page.closed;
            if !nothing || u128::from(ms) >= left.as_millis() {
                return Ok(page);
            }
        }
    }
}
