use crate::Time;
use futures::future::BoxFuture;
use std::{any::Any, fmt, future::Future, ops::Deref, sync::Arc};

type Reopen<P> = Arc<dyn Fn() -> BoxFuture<'static, Arc<P>> + Send + Sync>;

/// A fresh, empty adapter, and what a suite has to know about it.
pub struct Fresh<P: ?Sized> {
    port: Arc<P>,
    time: Time,
    reopen: Option<Reopen<P>>,
    kept: Vec<Box<dyn Any + Send + Sync>>,
}

impl<P: ?Sized> Fresh<P> {
    /// An adapter that waits in real time and does not outlive its process.
    pub fn new(port: Arc<P>) -> Self {
        Self { port, time: Time::default(), reopen: None, kept: Vec::new() }
    }

    /// Keeps something alive until the test is over, such as a temporary directory.
    #[must_use]
    pub fn keep(mut self, what: impl Any + Send + Sync) -> Self {
        self.kept.push(Box::new(what));
        self
    }

    /// Says by which time the adapter waits.
    #[must_use]
    pub fn time(mut self, time: Time) -> Self {
        self.time = time;
        self
    }

    /// Says how to open what is stored once more, as after a crash: beside the first adapter,
    /// which is not closed before.
    #[must_use]
    pub fn reopen<F: Future<Output = Arc<P>> + Send + 'static>(
        mut self,
        open: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self {
        self.reopen = Some(Arc::new(move || Box::pin(open())));
        self
    }

    /// The adapter, to be shared.
    pub fn port(&self) -> Arc<P> {
        self.port.clone()
    }

    /// The time it waits by.
    pub fn clock(&self) -> &Time {
        &self.time
    }

    /// The same stored things, opened once more; none for adapters that do not outlive their process.
    pub async fn opened_again(&self) -> Option<Arc<P>> {
        Some(self.reopen.as_ref()?().await)
    }
}

impl<P: ?Sized> Deref for Fresh<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.port
    }
}

impl<P: ?Sized> fmt::Debug for Fresh<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fresh").field("time", &self.time).finish_non_exhaustive()
    }
}
