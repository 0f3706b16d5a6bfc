use async_trait::async_trait;
use kiln::{
    BuildId, Result,
    port::{LogPage, LogReader, LogRecord, LogSink, Offset},
};
use std::time::Duration;

/// A sink and a reader of the same logs as one type.
#[derive(Clone, Debug)]
pub struct Both<S, R>(pub S, pub R);

#[async_trait]
impl<S, R> LogSink for Both<std::sync::Arc<S>, R>
where
    S: LogSink + ?Sized,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    async fn append(&self, build: &BuildId, at: Offset, records: &[LogRecord]) -> Result<Offset> {
        self.0.append(build, at, records).await
    }

    async fn end(&self, build: &BuildId) -> Result<Offset> {
        self.0.end(build).await
    }

    async fn close(&self, build: &BuildId) -> Result<()> {
        self.0.close(build).await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        self.0.forget(build).await
    }
}

#[async_trait]
impl<S, R> LogReader for Both<S, std::sync::Arc<R>>
where
    S: std::fmt::Debug + Send + Sync + 'static,
    R: LogReader + ?Sized,
{
    async fn read(
        &self,
        build: &BuildId,
        from: Offset,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<LogPage> {
        self.1.read(build, from, bytes_max, patience).await
    }
}
