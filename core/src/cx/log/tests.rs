use super::*;
use crate::{Error, Timestamp, memory::MemoryLog, port::LogReaderExt};
use async_trait::async_trait;
use futures::{TryStreamExt, executor::block_on};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A clock whose time passes as soon as somebody waits for it.
#[derive(Debug, Default)]
struct Leaps(Mutex<Timestamp>);

#[async_trait]
impl Clock for Leaps {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    async fn sleep(&self, time: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = now.plus(time);
    }
}

/// A log that is out of reach until a time, or takes what it is given and says that it is.
#[derive(Debug)]
struct Away {
    log: MemoryLog,
    clock: Arc<Leaps>,
    back_at: Timestamp,
    largest: AtomicUsize,
}

impl Away {
    fn until(seconds: u64) -> Arc<Self> {
        let (log, clock, largest) = (MemoryLog::default(), Arc::default(), AtomicUsize::new(0));
        Arc::new(Self { log, clock, back_at: Timestamp(seconds * 1000), largest })
    }

    fn writer(self: &Arc<Self>) -> LogWriter {
        let (sink, clock) = (self.clone(), self.clock.clone());
        LogWriter::new(BuildId::random(), sink, clock, Redactor::new(), Offset(0))
            .outage_max(Duration::from_secs(300))
    }

    /// What was printed, and how many bytes are said to be missing.
    fn read(&self, build: &BuildId) -> (Vec<u8>, u64) {
        let records = self.log.follow(build, Offset(0)).try_collect::<Vec<_>>();
        let (mut printed, mut missing) = (Vec::new(), 0);
        for record in block_on(records).unwrap() {
            match record.body {
                LogBody::Bytes { data, .. } => printed.extend_from_slice(&data),
                LogBody::Gap { bytes, .. } => missing += bytes,
                _ => {}
            }
        }
        (printed, missing)
    }
}

#[async_trait]
impl LogSink for Away {
    async fn append(&self, build: &BuildId, at: Offset, records: &[LogRecord]) -> Result<Offset> {
        let bytes = records.iter().map(|r| r.width() as usize).sum::<usize>();
        self.largest.fetch_max(bytes, Ordering::Relaxed);
        if self.clock.now() < self.back_at {
            return Err(Error::new(ErrorKind::Unavailable, "LogSink::append", "away"));
        }
        self.log.append(build, at, records).await
    }

    async fn end(&self, build: &BuildId) -> Result<Offset> {
        self.log.end(build).await
    }

    async fn close(&self, build: &BuildId) -> Result<()> {
        self.log.close(build).await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        self.log.forget(build).await
    }
}

fn print(writer: &LogWriter, bytes: usize) -> Vec<u8> {
    let text: Vec<u8> = (0..bytes).map(|i| (i % 251) as u8).collect();
    writer.put_bytes(StepId(0), 1, Stream::Stdout, &text);
    text
}

#[test]
fn an_outage_within_the_bound_costs_no_byte() {
    let away = Away::until(290);
    let writer = away.writer();
    let text = print(&writer, 300_000);
    block_on(writer.close()).unwrap();
    assert!(away.clock.now() >= Timestamp(290_000));
    assert!(away.read(&writer.0.build) == (text, 0), "the log is another one");
}

#[test]
fn what_a_longer_outage_costs_is_told() {
    let away = Away::until(310);
    let writer = away.writer();
    print(&writer, 300_000);
    block_on(writer.flush()).unwrap();
    let later = Duration::from_secs(60);
    block_on(away.clock.sleep(later));
    let text = print(&writer, 1000);
    block_on(writer.close()).unwrap();
    assert!(away.read(&writer.0.build) == (text, 300_000), "the log is another one");
}

#[test]
fn no_append_is_larger_than_a_sink_has_to_take() {
    let away = Away::until(0);
    let writer = away.writer();
    // More than may wait: who cannot wait put it in.
    let text = print(&writer, 5 * BATCH_MAX + 17);
    block_on(writer.close()).unwrap();
    let largest = away.largest.load(Ordering::Relaxed);
    assert!((BATCH_MAX..BATCH_MAX + RECORD_BYTES_MAX).contains(&largest), "{largest}");
    assert!(away.read(&writer.0.build) == (text, 0), "the log is another one");
    // And nobody waits for room that is there.
    block_on(writer.room());
}
