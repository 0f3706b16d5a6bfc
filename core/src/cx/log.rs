use super::StepLog;
use crate::{
    BuildId, ErrorKind, Result, Status, StepId,
    port::{Clock, LogBody, LogRecord, LogSink, Offset, RECORD_BYTES_MAX, Stream},
    redact::Redactor,
};
use bytes::{Bytes, BytesMut};
use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// How many bytes may wait for the sink before a step that writes has to wait too.
const PENDING_MAX: usize = 1 << 20;
/// How many bytes of output one append takes to the sink, give or take a record.
const BATCH_MAX: usize = 1 << 20;
/// How long a sink that is out of reach is tried, unless said otherwise.
const OUTAGE_MAX: Duration = Duration::from_secs(60);
/// The first and the longest wait between two tries of it.
const RETRY_WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// The one writer of a build's log: steps put records in, [`LogWriter::pump`] carries them to the
/// sink in order and in batches. Clones share everything.
#[derive(Clone, Debug)]
pub struct LogWriter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    build: BuildId,
    sink: Arc<dyn LogSink>,
    clock: Arc<dyn Clock>,
    redactor: Redactor,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    at: Offset,
    busy: bool,
    lost: Option<Lost>,
    pump: Option<Waker>,
    waiters: Vec<Waker>,
    outage_max: Duration,
}

#[derive(Debug)]
struct Pending {
    record: LogRecord,
    /// Output that is still growing; taken into the record when it is sent.
    bytes: Option<(Stream, BytesMut)>,
}

#[derive(Clone, Debug)]
struct Lost {
    step: StepId,
    attempt: u8,
    bytes: u64,
    why: String,
}

impl Pending {
    /// How many bytes of output it holds.
    fn len(&self) -> usize {
        match (&self.bytes, &self.record.body) {
            (Some((_, bytes)), _) => bytes.len(),
            (None, LogBody::Bytes { data, .. }) => data.len(),
            _ => 0,
        }
    }
}

impl LogWriter {
    /// A writer that goes on at `at`, where the log ends now.
    pub fn new(
        build: BuildId,
        sink: Arc<dyn LogSink>,
        clock: Arc<dyn Clock>,
        redactor: Redactor,
        at: Offset,
    ) -> Self {
        let state = Mutex::new(State { at, outage_max: OUTAGE_MAX, ..State::default() });
        Self(Arc::new(Inner { build, sink, clock, redactor, state }))
    }

    /// Says how long a sink that is out of reach is tried before output is given up for a gap; a
    /// minute without it. Steps that print meanwhile wait once 1 MiB is behind.
    #[must_use]
    pub fn outage_max(self, time: Duration) -> Self {
        self.lock().outage_max = time;
        self
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The redactor that every byte passes.
    pub fn redactor(&self) -> &Redactor {
        &self.0.redactor
    }

    /// The log of one attempt of a step.
    pub fn step(&self, step: StepId, attempt: u8) -> StepLog {
        StepLog::new(self.clone(), step, attempt)
    }

    pub(super) fn now(&self) -> crate::Timestamp {
        self.0.clock.now()
    }

    /// Waits while the sink is far behind, so that memory stays flat.
    pub(super) async fn room(&self) {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.pending_bytes < PENDING_MAX {
                return Poll::Ready(());
            }
            state.waiters.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(super) fn put(&self, step: StepId, attempt: u8, body: LogBody) {
        let record = LogRecord { at: Offset(0), time: self.0.clock.now(), step, attempt, body };
        let mut state = self.lock();
        state.pending.push_back(Pending { record, bytes: None });
        state.wake_pump();
    }

    pub(super) fn put_bytes(&self, step: StepId, attempt: u8, stream: Stream, mut data: &[u8]) {
        let mut state = self.lock();
        while !data.is_empty() {
            let room = state.room(step, attempt, stream, || self.0.clock.now());
            let n = data.len().min(RECORD_BYTES_MAX - room.len());
            room.extend_from_slice(&data[..n]);
            state.pending_bytes += n;
            data = &data[n..];
        }
        state.wake_pump();
    }

    /// Carries records to the sink for as long as it is polled; returns only with an error.
    ///
    /// `Conflict` means that somebody else writes this log now. Any other trouble of the sink ends
    /// nothing: what could not be kept becomes a gap that says so.
    pub async fn pump(&self) -> Result<std::convert::Infallible> {
        loop {
            poll_fn(|cx| self.poll_pending(cx)).await;
            self.send().await?;
        }
    }

    /// Carries to the sink all that is waiting now. Not while [`LogWriter::pump`] is polled.
    pub async fn flush(&self) -> Result<()> {
        while !self.lock().pending.is_empty() {
            self.send().await?;
        }
        let lost = self.lock().lost.is_some();
        if lost { self.send().await } else { Ok(()) }
    }

    /// Flushes and closes the log.
    pub async fn close(&self) -> Result<()> {
        self.flush().await?;
        self.0.sink.close(&self.0.build).await
    }

    fn poll_pending(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.pending.is_empty() {
            state.pump = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Goes on at another place: where the log really ends.
    pub(crate) fn move_to(&self, at: Offset) {
        self.lock().at = at;
    }

    /// Drops what was put in and not sent: somebody else writes this log now.
    pub(crate) fn discard(&self) {
        let mut state = self.lock();
        state.pending.clear();
        state.pending_bytes = 0;
        state.waiters.drain(..).for_each(Waker::wake);
    }

    /// Waits until all that was put in is with the sink. Something has to poll the pump meanwhile.
    pub async fn drained(&self) {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.pending.is_empty() && !state.busy {
                return Poll::Ready(());
            }
            state.waiters.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    async fn send(&self) -> Result<()> {
        let (at, batch) = self.lock().take_batch(|| self.0.clock.now());
        if batch.is_empty() {
            return Ok(());
        }
        let end = Offset(at.0 + batch.iter().map(LogRecord::width).sum::<u64>());
        let sent = self.append(at, end, &batch).await;
        let mut state = self.lock();
        state.busy = false;
        state.waiters.drain(..).for_each(Waker::wake);
        match sent {
            Ok(()) => {
                state.at = end;
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::Conflict => {
                state.put_back(batch);
                Err(e)
            }
            Err(e) => {
                tracing::warn!(build = %self.0.build, error = ?e, "log records could not be kept");
                let why = self.0.redactor.redact_text(&e.to_string());
                state.lose(&batch, why);
                Ok(())
            }
        }
    }

    /// Appends one batch, and tries again while the trouble may pass. A conflict after a call
    /// whose fate is unknown may mean that it did arrive.
    async fn append(&self, at: Offset, end: Offset, batch: &[LogRecord]) -> Result<()> {
        let Inner { build, sink, clock, .. } = &*self.0;
        let outage_max = self.lock().outage_max;
        let (mut wait, mut waited, mut unsure) = (RETRY_WAITS.0, Duration::ZERO, false);
        loop {
            let error = match sink.append(build, at, batch).await {
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Conflict && unsure => {
                    match sink.end(build).await {
                        Ok(now) if now == end => return Ok(()),
                        Ok(_) => return Err(e),
                        Err(e) => e,
                    }
                }
                Err(e) => e,
            };
            if error.retry_status() != Status::Temporary {
                return Err(error);
            }
            if waited >= outage_max {
                return Err(error);
            }
            tracing::debug!(%build, ?error, "the log sink is tried again");
            unsure = true;
            clock.sleep(wait).await;
            waited += wait;
            wait = (wait * 2).min(RETRY_WAITS.1);
        }
    }
}

impl State {
    fn wake_pump(&mut self) {
        if let Some(waker) = self.pump.take() {
            waker.wake();
        }
    }

    /// The growing record that output of this stream goes to.
    fn room(
        &mut self,
        step: StepId,
        attempt: u8,
        stream: Stream,
        now: impl Fn() -> crate::Timestamp,
    ) -> &mut BytesMut {
        let fits = self.pending.back().is_some_and(|p| {
            p.record.step == step
                && p.record.attempt == attempt
                && p.bytes.as_ref().is_some_and(|(s, b)| *s == stream && b.len() < RECORD_BYTES_MAX)
        });
        if !fits {
            let body = LogBody::Bytes { stream, data: Bytes::new() };
            let record = LogRecord { at: Offset(0), time: now(), step, attempt, body };
            self.pending.push_back(Pending { record, bytes: Some((stream, BytesMut::new())) });
        }
        let last = self.pending.back_mut().expect("just pushed");
        &mut last.bytes.as_mut().expect("checked or just made").1
    }

    fn take_batch(&mut self, now: impl Fn() -> crate::Timestamp) -> (Offset, Vec<LogRecord>) {
        let mut at = self.at;
        let mut batch = Vec::with_capacity(self.pending.len() + 1);
        let gap = self.lost.take().map(|l| LogRecord {
            at,
            time: now(),
            step: l.step,
            attempt: l.attempt,
            body: LogBody::Gap { bytes: l.bytes, why: l.why },
        });
        let (mut count, mut bytes) = (0, 0);
        while let Some(next) = self.pending.get(count).filter(|_| bytes < BATCH_MAX) {
            bytes += next.len();
            count += 1;
        }
        let pending = self.pending.drain(..count).map(|p| {
            let mut record = p.record;
            if let Some((stream, bytes)) = p.bytes {
                record.body = LogBody::Bytes { stream, data: bytes.freeze() };
            }
            record
        });
        for mut record in gap.into_iter().chain(pending) {
            record.at = at;
            at = record.end();
            batch.push(record);
        }
        self.pending_bytes -= bytes.min(self.pending_bytes);
        self.busy = !batch.is_empty();
        (self.at, batch)
    }

    fn put_back(&mut self, batch: Vec<LogRecord>) {
        for record in batch.into_iter().rev() {
            let pending = Pending { record, bytes: None };
            self.pending_bytes += pending.len();
            self.pending.push_front(pending);
        }
    }

    fn lose(&mut self, batch: &[LogRecord], why: String) {
        let bytes = |r: &LogRecord| match &r.body {
            LogBody::Bytes { data, .. } => data.len() as u64,
            LogBody::Gap { bytes, .. } => *bytes,
            _ => 0,
        };
        let Some(first) = batch.first() else { return };
        self.lost = Some(Lost {
            step: first.step,
            attempt: first.attempt,
            bytes: batch.iter().map(bytes).sum(),
            why,
        });
    }
}

#[cfg(test)]
mod tests;
