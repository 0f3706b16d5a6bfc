use crate::{BuildId, Result, StepId, Timestamp};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use serde::{Deserialize, Serialize};
use std::{fmt::Debug, time::Duration};

/// A place in the log of one build. A log begins at 0, and every record is at least 1 wide.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Offset(pub u64);

/// How many bytes of output one record holds at most.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// One piece of a build's log, in the order in which it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Where it stands.
    pub at: Offset,
    /// When it was written.
    pub time: Timestamp,
    /// The step it belongs to.
    pub step: StepId,
    /// The attempt of that step.
    pub attempt: u8,
    /// What it says.
    pub body: LogBody,
}

/// What a log record says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogBody {
    /// The attempt begins.
    Started,
    /// Output, exactly as printed but for redacted secrets; at most [`RECORD_BYTES_MAX`] bytes and
    /// never none. A record may end in the middle of a line or of a character.
    Bytes {
        /// Where it was printed.
        stream: Stream,
        /// What.
        data: Bytes,
    },
    /// How far a transfer is. Later progress of the same item replaces it.
    Progress(Progress),
    /// Output that could not be kept.
    Gap {
        /// How many bytes are missing.
        bytes: u64,
        /// Why.
        why: String,
    },
    /// The attempt is over.
    Ended(StepEnd),
}

/// How an attempt ended, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum StepEnd {
    Succeeded,
    Failed,
}

/// Where output was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// By the user's code, on its standard output.
    Stdout,
    /// By the user's code, on its standard error.
    Stderr,
    /// By Kiln or the tools it drives.
    System,
}

/// How far a transfer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is moved, such as a layer id or `context`. Unique within the attempt.
    pub item: String,
    /// What is done with it, such as `Downloading`.
    pub action: String,
    /// How much is done.
    pub done: u64,
    /// How much there is, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// What is counted.
    pub unit: ProgressUnit,
}

/// What a progress counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum ProgressUnit {
    Bytes,
    Objects,
}

impl LogRecord {
    /// How far the next record stands from this one: the bytes of output, and at least 1.
    pub fn width(&self) -> u64 {
        self.body.width()
    }

    /// Where the next record stands.
    pub fn end(&self) -> Offset {
        Offset(self.at.0 + self.width())
    }

    /// The part of the record from an offset on; all of it unless the offset is inside.
    #[must_use]
    pub fn tail(mut self, from: Offset) -> Self {
        let cut = from.0.saturating_sub(self.at.0);
        if cut > 0 && cut < self.width() {
            self.at = from;
            match &mut self.body {
                LogBody::Bytes { data, .. } => *data = data.slice(cut as usize..),
                LogBody::Gap { bytes, .. } => *bytes -= cut,
                _ => {}
            }
        }
        self
    }
}

impl LogBody {
    /// The bytes of output it stands for, and at least 1.
    pub fn width(&self) -> u64 {
        match self {
            Self::Bytes { data, .. } => (data.len() as u64).max(1),
            Self::Gap { bytes, .. } => (*bytes).max(1),
            _ => 1,
        }
    }
}

/// Where the log of a build goes. The engine redacts before a sink sees a byte.
#[async_trait]
pub trait LogSink: Debug + Send + Sync + 'static {
    /// Appends records at the end of the log, which must be `at`; returns the new end.
    ///
    /// # Promises
    ///
    /// - The first record stands at `at` and each next one at the end of the one before; a sink
    ///   may rely on it and refuses anything else as `Invalid`.
    /// - All records are kept, or none. If the log does not end at `at`, none is and the error is
    ///   `Conflict`: somebody else writes this log now, or an earlier call did arrive.
    /// - A closed log takes no more: `Conflict`.
    /// - A slow reader never makes it slower.
    async fn append(&self, build: &BuildId, at: Offset, records: &[LogRecord]) -> Result<Offset>;

    /// Says where the log ends: 0 for one nobody wrote.
    async fn end(&self, build: &BuildId) -> Result<Offset>;

    /// Closes the log: nothing more will come, and followers end.
    ///
    /// # Promises
    ///
    /// - Closing twice succeeds, and so does closing a log nobody wrote, which is then empty.
    async fn close(&self, build: &BuildId) -> Result<()>;

    /// Forgets the log; one nobody wrote too.
    async fn forget(&self, build: &BuildId) -> Result<()>;
}

/// A part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// The records, in order.
    pub records: Vec<LogRecord>,
    /// Where to read on.
    pub next: Offset,
    /// Whether the log is closed and nothing comes after `next`.
    pub closed: bool,
}

/// Reads logs. Apart from the sink, since a sink need not be readable.
#[async_trait]
pub trait LogReader: Debug + Send + Sync + 'static {
    /// Reads on from an offset, up to about `bytes_max` bytes; waits for something to come until
    /// patience is over.
    ///
    /// # Promises
    ///
    /// - Whoever reads on from `next` each time gets every record once, in order, with no gap that
    ///   is not a [`LogBody::Gap`]. From inside a record, its rest comes.
    /// - It returns at least one record if there is one, however large.
    /// - It returns as soon as there is something, or the log is closed; with no patience, at once.
    /// - Bytes once read never change.
    /// - A log nobody wrote is empty and open. An offset beyond the end is `Invalid`.
    async fn read(
        &self,
        build: &BuildId,
        from: Offset,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<LogPage>;
}

/// Comfort for every [`LogReader`].
pub trait LogReaderExt: LogReader {
    /// All records from an offset on, until the log is closed.
    fn follow<'a>(&'a self, build: &'a BuildId, from: Offset) -> BoxStream<'a, Result<LogRecord>> {
        let step = move |at: Option<Offset>| async move {
            let page = self.read(build, at?, 1 << 20, Duration::from_secs(30)).await;
            let (records, next) = match page {
                Ok(page) => {
                    let next = (!page.closed || !page.records.is_empty()).then_some(page.next);
                    (page.records.into_iter().map(Ok).collect(), next)
                }
                Err(e) => (vec![Err(e)], None),
            };
            Some((stream::iter(records), next))
        };
        stream::unfold(Some(from), step).flatten().boxed()
    }
}

impl<T: LogReader + ?Sized> LogReaderExt for T {}
