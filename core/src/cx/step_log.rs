use super::LogWriter;
use crate::{
    StepId,
    port::{LogBody, LogRecord, Progress, StepEnd, Stream},
    redact::{RedactStream, Redactor},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How often the progress of one item is told at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// How many characters the words of a progress have at most.
const PROGRESS_CHARS_MAX: usize = 256;

/// The log of one attempt of a step. Clones share everything.
#[derive(Clone, Debug)]
pub struct StepLog {
    writer: LogWriter,
    step: StepId,
    attempt: u8,
    streams: Arc<Mutex<[RedactStream; 3]>>,
    /// How many bytes of each stream the log has already.
    kept: Arc<Mutex<[u64; 3]>>,
    told: Arc<Mutex<HashMap<String, crate::Timestamp>>>,
    heard: Arc<Heard>,
}

/// What a driver has to know of an attempt to tell whether it has gone quiet.
#[derive(Debug, Default)]
struct Heard {
    words: AtomicU64,
    /// How many writers wait for the sink: they would say more if they could.
    held: AtomicU64,
}

impl StepLog {
    pub(super) fn new(writer: LogWriter, step: StepId, attempt: u8) -> Self {
        let streams = [(); 3].map(|()| writer.redactor().stream());
        Self {
            writer,
            step,
            attempt,
            streams: Arc::new(Mutex::new(streams)),
            kept: Arc::default(),
            told: Arc::default(),
            heard: Arc::default(),
        }
    }

    /// What takes secrets out of this log.
    pub fn redactor(&self) -> &Redactor {
        self.writer.redactor()
    }

    /// Logs output. Waits while the sink is far behind, so that memory stays flat.
    pub async fn write(&self, stream: Stream, bytes: &[u8]) {
        self.post(stream, bytes);
        let _held = Held::new(&self.heard);
        self.writer.room().await;
    }

    /// How often something came from the attempt, and whether it is held up by the log itself.
    pub(crate) fn heard(&self) -> (u64, bool) {
        let Heard { words, held } = &*self.heard;
        (words.load(Ordering::Relaxed), held.load(Ordering::Relaxed) > 0)
    }

    /// Logs output without waiting: for threads, and for little output.
    pub fn post(&self, stream: Stream, bytes: &[u8]) {
        self.heard.words.fetch_add(1, Ordering::Relaxed);
        let mut streams = self.streams();
        let clean = streams[stream as usize].push(bytes);
        self.put_new(stream, &clean);
    }

    /// Puts in what the log does not have already.
    fn put_new(&self, stream: Stream, clean: &[u8]) {
        let old = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let left = &mut kept[stream as usize];
            let old = (*left).min(clean.len() as u64);
            *left -= old;
            old as usize
        };
        self.writer.put_bytes(self.step, self.attempt, stream, &clean[old..]);
    }

    /// Whether a record is of this attempt.
    pub(crate) fn is_of(&self, record: &LogRecord) -> bool {
        (record.step, record.attempt) == (self.step, self.attempt)
    }

    /// Drops so many of the next bytes of a stream: an earlier driver logged them.
    pub(crate) fn skip(&self, stream: Stream, bytes: u64) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)[stream as usize] += bytes;
    }

    /// Logs a line of Kiln's own.
    pub fn line(&self, text: impl AsRef<str>) {
        self.post(Stream::System, format!("{}\n", text.as_ref()).as_bytes());
    }

    /// Tells how far a transfer is. May be called often: only some of it is logged, and always
    /// the first word and the last one of an item.
    pub fn progress(&self, mut progress: Progress) {
        self.heard.words.fetch_add(1, Ordering::Relaxed);
        let now = self.writer.now();
        let whole = progress.total == Some(progress.done);
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let key = format!("{}\0{}", progress.item, progress.action);
            if let Some(last) = told.get(&key)
                && now.since(*last) < PROGRESS_EVERY
                && !whole
            {
                return;
            }
            told.insert(key, now);
        }
        for text in [&mut progress.item, &mut progress.action] {
            *text = self.writer.redactor().redact_text(text);
            // Names come from outside, and a record is of a bounded size.
            if let Some((cut, _)) = text.char_indices().nth(PROGRESS_CHARS_MAX) {
                text.truncate(cut);
            }
        }
        self.writer.put(self.step, self.attempt, LogBody::Progress(progress));
    }

    /// Says that the attempt begins. The engine's to call.
    pub(crate) fn started(&self) {
        self.writer.put(self.step, self.attempt, LogBody::Started);
    }

    /// Gives out what the redactor held back and says that the attempt is over. The engine's to call.
    pub(crate) fn ended(&self, end: StepEnd) {
        for stream in [Stream::Stdout, Stream::Stderr, Stream::System] {
            let rest = self.streams()[stream as usize].finish();
            self.put_new(stream, &rest);
        }
        self.writer.put(self.step, self.attempt, LogBody::Ended(end));
    }

    fn streams(&self) -> MutexGuard<'_, [RedactStream; 3]> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a writer that waits, for as long as it does.
struct Held<'a>(&'a Heard);

impl<'a> Held<'a> {
    fn new(heard: &'a Heard) -> Self {
        heard.held.fetch_add(1, Ordering::Relaxed);
        Self(heard)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
        self.0.words.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        BuildId, Secret,
        memory::{MemoryLog, SystemClock},
        port::{LogReader, LogSink, Offset, ProgressUnit},
        redact::Redactor,
    };
    use futures::executor::block_on;

    #[test]
    fn whatever_a_step_tells_is_redacted() {
        let (sink, redactor) = (Arc::new(MemoryLog::default()), Redactor::new());
        let build = BuildId::random();
        assert!(redactor.add(&Secret::new("hunter2")));
        let clock = Arc::new(SystemClock::default());
        let as_sink: Arc<dyn LogSink> = sink.clone();
        let writer = LogWriter::new(build.clone(), as_sink, clock, redactor, Offset(0));
        let log = writer.step(StepId(0), 1);
        log.post(Stream::Stdout, b"hunter");
        log.line("about hunter2");
        let (done, total, unit) = (1, None, ProgressUnit::Bytes);
        let (item, action) = ("layer of hunter2".to_owned(), "Pulling hunter2".to_owned());
        log.progress(Progress { item, action, done, total, unit });
        log.post(Stream::Stdout, b"2!");
        log.ended(StepEnd::Succeeded);
        block_on(writer.flush()).unwrap();
        let page = block_on(sink.read(&build, Offset(0), 1 << 20, Duration::ZERO)).unwrap();
        let told: Vec<_> = page
            .records
            .iter()
            .map(|record| match &record.body {
                LogBody::Bytes { data, .. } => String::from_utf8_lossy(data).into_owned(),
                LogBody::Progress(progress) => format!("{}: {}", progress.action, progress.item),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(told, ["about ***\n", "Pulling ***: layer of ***", "***!", "Ended(Succeeded)"]);
    }
}
