//! Ports that are slow and break now and then, but never lie.

use super::random::Rng;
use async_trait::async_trait;
use kiln::{
    BoxName, BoxSpec, BuildId, Error, ErrorKind, Event, Recorded, Result, Seq, StepCx, StepKey,
    memory::{MemoryRuntime, VirtualClock},
    plan::Command,
    port::{BoxHandle, Clock, Entry, Exit, LogRecord, LogSink, Offset, Runtime, Store},
};
use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

/// What all parts of one simulated world share.
#[derive(Debug)]
pub(crate) struct Fate {
    pub(crate) rng: Mutex<Rng>,
    pub(crate) clock: VirtualClock,
    /// How many faults there may still be.
    faults: Mutex<u32>,
    /// Who wrote which events, in the order of the journal.
    pub(crate) written: Mutex<Vec<(usize, Event)>>,
    /// Which driver performed which attempt.
    pub(crate) performed: Mutex<Vec<(usize, StepKey)>>,
    pub(crate) sweeps: Mutex<u32>,
}

impl Fate {
    pub(crate) fn new(mut rng: Rng) -> Self {
        let faults = if rng.one_in(2) { 0 } else { rng.below(6) as u32 };
        Self {
            rng: Mutex::new(rng),
            clock: VirtualClock::at(kiln::Timestamp(1_000_000)),
            faults: Mutex::new(faults),
            written: Mutex::default(),
            performed: Mutex::default(),
            sweeps: Mutex::default(),
        }
    }

    pub(crate) fn below(&self, n: u64) -> u64 {
        self.rng.lock().unwrap().below(n)
    }

    pub(crate) fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Takes a while: no time, or some.
    async fn pause(&self) {
        if self.one_in(3) {
            let mut again = true;
            poll_fn(|cx| {
                if !std::mem::take(&mut again) {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        } else if self.one_in(6) {
            self.clock.sleep(Duration::from_millis(self.below(8))).await;
        }
    }

    fn fault(&self, op: &'static str) -> Result<()> {
        let mut left = self.faults.lock().unwrap();
        if *left > 0 && self.one_in(12) {
            *left -= 1;
            return Err(Error::new(ErrorKind::Unavailable, op, "out of reach"));
        }
        Ok(())
    }
}

/// What one driver, or one client, sees of the world.
#[derive(Debug)]
pub(crate) struct Faulty<P: ?Sized> {
    pub(crate) who: usize,
    pub(crate) fate: Arc<Fate>,
    pub(crate) inner: Arc<P>,
}

#[async_trait]
impl<S: Store + ?Sized> Store for Faulty<S> {
    async fn append(&self, build: &BuildId, after: Seq, entries: &[Entry]) -> Result<Seq> {
        self.fate.pause().await;
        self.fate.fault("Store::append")?;
        let end = self.inner.append(build, after, entries).await?;
        let events = entries.iter().map(|e| (self.who, e.event.clone()));
        self.fate.written.lock().unwrap().extend(events);
        self.fate.pause().await;
        // It arrived, and the answer is lost.
        self.fate.fault("Store::append")?;
        Ok(end)
    }

    async fn load(&self, build: &BuildId, after: Seq) -> Result<Vec<Recorded>> {
        self.fate.pause().await;
        self.fate.fault("Store::load")?;
        self.inner.load(build, after).await
    }

    async fn wait(&self, build: &BuildId, after: Seq, patience: Duration) -> Result<bool> {
        self.fate.fault("Store::wait")?;
        self.inner.wait(build, after, patience).await
    }

    async fn unfinished(&self) -> Result<Vec<BuildId>> {
        self.inner.unfinished().await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        self.inner.forget(build).await
    }
}

#[async_trait]
impl<S: LogSink + ?Sized> LogSink for Faulty<S> {
    async fn append(&self, build: &BuildId, at: Offset, records: &[LogRecord]) -> Result<Offset> {
        self.fate.pause().await;
        self.fate.fault("LogSink::append")?;
        let end = self.inner.append(build, at, records).await?;
        self.fate.pause().await;
        self.fate.fault("LogSink::append")?;
        Ok(end)
    }

    async fn end(&self, build: &BuildId) -> Result<Offset> {
        self.fate.pause().await;
        self.fate.fault("LogSink::end")?;
        self.inner.end(build).await
    }

    async fn close(&self, build: &BuildId) -> Result<()> {
        self.fate.pause().await;
        self.fate.fault("LogSink::close")?;
        self.inner.close(build).await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        self.inner.forget(build).await
    }
}

#[async_trait]
impl Runtime for Faulty<MemoryRuntime> {
    async fn start(&self, cx: &StepCx, name: &BoxName, spec: &BoxSpec) -> Result<BoxHandle> {
        self.fate.pause().await;
        self.inner.start(cx, name, spec).await
    }

    async fn exec(&self, cx: &StepCx, in_box: &BoxHandle, command: &Command) -> Result<Exit> {
        let started = self.fate.written.lock().unwrap().iter().any(|(_, e)| {
            matches!(e, Event::StepStarted { step, attempt }
                if *step == cx.key.step && *attempt == cx.key.attempt)
        });
        assert!(started, "{} was performed before the journal said so", cx.key);
        self.fate.performed.lock().unwrap().push((self.who, cx.key.clone()));
        self.inner.exec(cx, in_box, command).await
    }

    async fn has(&self, key: &StepKey) -> Result<bool> {
        self.fate.pause().await;
        self.fate.fault("Runtime::has")?;
        self.inner.has(key).await
    }

    async fn sweep(&self, build: &BuildId) -> Result<()> {
        self.fate.pause().await;
        *self.fate.sweeps.lock().unwrap() += 1;
        self.inner.sweep(build).await
    }
}
