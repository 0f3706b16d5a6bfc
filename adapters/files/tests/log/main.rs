//! Logs that were cut off, damaged, written by several processes, or are long.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

mod damage;
mod full;
mod long;
mod processes;
mod shared;

use bytes::Bytes;
use kiln::{
    BuildId, StepId, Timestamp,
    port::{LogBody, LogPage, LogReader, LogRecord, Offset, Stream},
};
use kiln_files::FileLogs;
use std::{path::Path, time::Duration};

fn build() -> BuildId {
    BuildId::new("b").unwrap()
}

fn record(at: Offset, data: impl Into<Bytes>) -> LogRecord {
    let body = LogBody::Bytes { stream: Stream::Stdout, data: data.into() };
    LogRecord { at, time: Timestamp(at.0), step: StepId(7), attempt: 1, body }
}

fn bytes(record: &LogRecord) -> &[u8] {
    match &record.body {
        LogBody::Bytes { data, .. } => data,
        _ => &[],
    }
}

async fn all(logs: &FileLogs) -> kiln::Result<LogPage> {
    logs.read(&build(), Offset(0), 1 << 30, Duration::ZERO).await
}

/// The plain and the packed segments of the log, by name.
fn segments(dir: &Path) -> (Vec<String>, Vec<String>) {
    let names = std::fs::read_dir(dir.join("b.log")).unwrap();
    let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|n| n != "lock").collect();
    names.sort();
    names.into_iter().partition(|name| name.ends_with(".klog"))
}
