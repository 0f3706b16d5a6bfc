//! What an effect adapter is given in its tests: a [`StepCx`] with a log that can be read.

use kiln::{
    BuildId, LogWriter, Owner, RelPath, StepCx, StepId, StepKey, StepSecrets,
    memory::{MemoryLog, MemorySecrets, SystemClock},
    port::{Clock, LogBody, LogReader, LogRecord, LogSink, Offset, Stream},
    redact::Redactor,
    secret::{Secret, SecretRef},
};
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};
use tokio::task::JoinHandle;

/// One attempt of a step outside any engine. Make it inside a Tokio runtime.
///
/// Deref gives the [`StepCx`] to hand to an adapter:
///
/// ```
/// # use kiln_conformance::step::TestStep;
/// # use kiln::port::Stream;
/// # kiln_conformance::run("example", async {
/// let mut step = TestStep::new().workspace("/tmp");
/// step.cx().log.write(Stream::Stdout, b"hello\n").await;
/// assert_eq!(step.text().await, "hello\n");
/// # });
/// ```
pub struct TestStep {
    cx: StepCx,
    log: Arc<MemoryLog>,
    writer: LogWriter,
    secrets: Arc<MemorySecrets>,
    pump: JoinHandle<()>,
}

impl TestStep {
    /// The first attempt of the first step of a random build of the local owner.
    pub fn new() -> Self {
        Self::of(StepKey { build: BuildId::random(), step: StepId(0), attempt: 1 })
    }

    /// An attempt with this key.
    pub fn of(key: StepKey) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let log = Arc::new(MemoryLog::with_clock(clock.clone()));
        let (sink, redactor): (Arc<dyn LogSink>, _) = (log.clone(), Redactor::new());
        let writer = LogWriter::new(key.build.clone(), sink, clock, redactor.clone(), Offset(0));
        let secrets = Arc::new(MemorySecrets::default());
        let cx = StepCx {
            owner: Owner::local(),
            workspace: PathBuf::from("/nowhere").join(key.build.as_str()),
            log: writer.step(key.step, key.attempt),
            secrets: StepSecrets::new(Owner::local(), secrets.clone(), redactor),
            cancel: kiln::CancelToken::new(),
            key,
        };
        let pump = start(&writer);
        Self { cx, log, writer, secrets, pump }
    }

    /// Works in this directory.
    #[must_use]
    pub fn workspace(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cx.workspace = directory.into();
        self
    }

    /// Lets the step reveal a secret.
    #[must_use]
    pub fn secret(self, name: SecretRef, value: Secret) -> Self {
        self.secrets.set(self.cx.owner.clone(), name, value);
        self
    }

    /// What the adapter is given.
    pub fn cx(&self) -> &StepCx {
        &self.cx
    }

    /// The records that were logged so far.
    pub async fn records(&mut self) -> Vec<LogRecord> {
        // Two must not carry records at once. The memory sink does not wait, so the pump is
        // stopped between two batches.
        self.pump.abort();
        let _ = (&mut self.pump).await;
        self.writer.flush().await.expect("nobody else writes this log");
        self.pump = start(&self.writer);
        let all = self.log.read(&self.cx.key.build, Offset(0), usize::MAX, Duration::ZERO).await;
        all.expect("a log in memory can be read").records
    }

    /// The bytes that were printed to a stream so far.
    pub async fn bytes(&mut self, of: Stream) -> Vec<u8> {
        let mut printed = Vec::new();
        for record in self.records().await {
            match record.body {
                LogBody::Bytes { stream, data } if stream == of => printed.extend_from_slice(&data),
                _ => {}
            }
        }
        printed
    }

    /// All that was printed so far, of all streams, in order.
    pub async fn text(&mut self) -> String {
        let mut printed = Vec::new();
        for record in self.records().await {
            if let LogBody::Bytes { data, .. } = record.body {
                printed.extend_from_slice(&data);
            }
        }
        String::from_utf8_lossy(&printed).into_owned()
    }

    /// A file or directory of the workspace.
    pub fn path(&self, below: &str) -> PathBuf {
        RelPath::new(below).expect("a path below the workspace").below(&self.cx.workspace)
    }
}

fn start(writer: &LogWriter) -> JoinHandle<()> {
    let writer = writer.clone();
    tokio::spawn(async move {
        let Err(e) = writer.pump().await;
        panic!("somebody else writes the log of a test: {e:?}");
    })
}

impl Default for TestStep {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TestStep {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl std::ops::Deref for TestStep {
    type Target = StepCx;

    fn deref(&self) -> &StepCx {
        &self.cx
    }
}

impl fmt::Debug for TestStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestStep").field("cx", &self.cx).finish_non_exhaustive()
    }
}
