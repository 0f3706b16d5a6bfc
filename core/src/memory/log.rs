use super::{SystemClock, lock, signal::Signal};
use crate::{
    BuildId, Error, ErrorKind, Result,
    port::{Clock, LogBody, LogPage, LogReader, LogRecord, LogSink, Offset, RECORD_BYTES_MAX},
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Logs in memory, to write and to read. Gone with the process.
#[derive(Debug)]
pub struct MemoryLog {
    clock: Arc<dyn Clock>,
    logs: Mutex<BTreeMap<BuildId, Log>>,
    news: Signal,
}

#[derive(Debug, Default)]
struct Log {
    records: Vec<LogRecord>,
    closed: bool,
}

impl Log {
    fn end(&self) -> Offset {
        self.records.last().map_or(Offset(0), LogRecord::end)
    }

    /// What there is from an offset on; records are shared, not copied.
    fn page(&self, from: Offset, bytes_max: usize) -> LogPage {
        let first = self.records.partition_point(|r| r.end() <= from);
        let (mut records, mut next) = (Vec::new(), from);
        for record in &self.records[first..] {
            let read = next.0 - from.0;
            let width = record.end().0 - next.0;
            if !records.is_empty() && read.saturating_add(width) > bytes_max as u64 {
                break;
            }
            next = record.end();
            records.push(record.clone().tail(from));
        }
        LogPage { records, next, closed: self.closed && next == self.end() }
    }
}

impl MemoryLog {
    /// No logs yet, waiting by a clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { clock, logs: Mutex::default(), news: Signal::default() }
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::with_clock(Arc::new(SystemClock::default()))
    }
}

/// Where the log ends after these records, if each stands at the end of the one before.
fn end_of(at: Offset, records: &[LogRecord]) -> Option<Offset> {
    records.iter().try_fold(at, |at, record| {
        let fits = match &record.body {
            LogBody::Bytes { data, .. } => (1..=RECORD_BYTES_MAX).contains(&data.len()),
            _ => true,
        };
        (record.at == at && fits).then(|| record.end())
    })
}

#[async_trait]
impl LogSink for MemoryLog {
    async fn append(&self, build: &BuildId, at: Offset, records: &[LogRecord]) -> Result<Offset> {
        let fail = |kind, message| {
            Error::new(kind, "LogSink::append", message).with("build", build).with("at", at.0)
        };
        let new_end = end_of(at, records)
            .ok_or_else(|| fail(ErrorKind::Invalid, "the records do not follow each other"))?;
        let mut logs = lock(&self.logs);
        let (end, closed) = logs.get(build).map_or((Offset(0), false), |l| (l.end(), l.closed));
        if closed {
            return Err(fail(ErrorKind::Conflict, "the log is closed"));
        }
        if end != at {
            return Err(fail(ErrorKind::Conflict, "the log moved on").with("end", end.0));
        }
        logs.entry(build.clone()).or_default().records.extend_from_slice(records);
        drop(logs);
        self.news.tell();
        Ok(new_end)
    }

    async fn end(&self, build: &BuildId) -> Result<Offset> {
        Ok(lock(&self.logs).get(build).map_or(Offset(0), Log::end))
    }

    async fn close(&self, build: &BuildId) -> Result<()> {
        lock(&self.logs).entry(build.clone()).or_default().closed = true;
        self.news.tell();
        Ok(())
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        lock(&self.logs).remove(build);
        self.news.tell();
        Ok(())
    }
}

#[async_trait]
impl LogReader for MemoryLog {
    async fn read(
        &self,
        build: &BuildId,
        from: Offset,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<LogPage> {
        let look = || {
            let logs = lock(&self.logs);
            let (none, log) = (Log::default(), logs.get(build));
            let log = log.unwrap_or(&none);
            if from > log.end() {
                let message = "the log does not reach that far";
                return Some(Err(Error::new(ErrorKind::Invalid, "LogReader::read", message)
                    .with("build", build)
                    .with("from", from.0)
                    .with("end", log.end().0)));
            }
            let page = log.page(from, bytes_max);
            (page.closed || !page.records.is_empty()).then_some(Ok(page))
        };
        let nothing = LogPage { records: Vec::new(), next: from, closed: false };
        self.news.until(&*self.clock, patience, look).await.unwrap_or(Ok(nothing))
    }
}
