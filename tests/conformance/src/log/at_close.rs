use async_trait::async_trait;
use kiln::{
    BuildId, Result,
    archive::ArchivedLogs,
    port::{LogPage, LogReader, LogRecord, LogSink, Offset},
};
use std::time::Duration;

/// Logs that move into their archive as soon as they are closed, so that a suite which closes a log
/// reads the archived one.
#[derive(Debug)]
pub struct AtClose(pub ArchivedLogs);

#[async_trait]
impl LogSink for AtClose {
    async fn append(&self, build: &BuildId, at: Offset, records: &[LogRecord]) -> Result<Offset> {
        self.0.append(build, at, records).await
    }

    async fn end(&self, build: &BuildId) -> Result<Offset> {
        self.0.end(build).await
    }

    async fn close(&self, build: &BuildId) -> Result<()> {
        self.0.close(build).await?;
        self.0.archive(build).await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        self.0.forget(build).await
    }
}

#[async_trait]
impl LogReader for AtClose {
    async fn read(
        &self,
        build: &BuildId,
        from: Offset,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<LogPage> {
        self.0.read(build, from, bytes_max, patience).await
    }
}
