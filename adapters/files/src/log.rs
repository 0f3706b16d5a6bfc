//! Logs as files: one directory a build, with segments that are compressed once they are full.

mod frame;
mod keep;
mod old;
mod packed;
mod places;
mod reader;
mod segment;
mod trouble;
mod writer;

use crate::{
    blocking::blocking,
    dir::Dir,
    error::{private_dir, translate},
};
use async_trait::async_trait;
use keep::Keep;
use kiln::{
    BuildId, Error, ErrorKind, Result,
    port::{LogBody, LogPage, LogReader, LogRecord, LogSink, Offset, RECORD_BYTES_MAX},
};
use places::Places;
use segment::Paths;
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use trouble::Trouble;
use writer::Appended;

/// How often a log is looked at for what another process wrote.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The same while this process writes the log, so that nobody else should.
const LOOK_SELDOM: Duration = Duration::from_secs(1);
/// How many logs may be known before those are dropped that nobody uses.
const KEEPS_MAX: usize = 1024;

/// Logs in a directory. Clones share everything, and several processes may share the directory.
///
/// What was appended outlives the process at once, and the machine once the log is closed.
#[derive(Clone, Debug)]
pub struct FileLogs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    keeps: Mutex<HashMap<BuildId, Arc<Keep>>>,
    places: Places,
}

impl FileLogs {
    /// Opens a directory of logs, and makes it where needed.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        const OP: &str = "FileLogs::open";
        let directory = directory.into();
        private_dir(OP, &directory)?;
        let swept = Dir::open(&directory).and_then(|above| keep::sweep(&above));
        swept.map_err(|e| translate(OP, &directory, e))?;
        let (keeps, places) = (Mutex::default(), Places::default());
        Ok(Self(Arc::new(Inner { directory, keeps, places })))
    }

    fn keeps(&self) -> MutexGuard<'_, HashMap<BuildId, Arc<Keep>>> {
        self.0.keeps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, build: &BuildId) -> Arc<Keep> {
        let mut keeps = self.keeps();
        if keeps.len() >= KEEPS_MAX {
            keeps.retain(|_, keep| Arc::strong_count(keep) > 1 || keep.is_written_here());
        }
        let new = || Arc::new(Keep::new(Paths::new(&self.0.directory, build)));
        keeps.entry(build.clone()).or_insert_with(new).clone()
    }

    fn read_now(&self, paths: &Paths, from: Offset, bytes_max: usize) -> Result<LogPage> {
        const OP: &str = "LogReader::read";
        let page = || reader::page(paths, &self.0.places, from, bytes_max);
        let read = match page() {
            // A writer that cut something off meanwhile looks the same: look again when it is done.
            Err(Trouble::Damaged { .. }) if keep::pass(paths).is_ok() => page(),
            read => read,
        };
        read.map_err(|e| e.told(OP, &paths.directory))
    }
}

/// Refuses records that do not follow each other, or hold too much or nothing.
fn check(op: &'static str, at: Offset, records: &[LogRecord]) -> Result<()> {
    let refuse = |why| Error::new(ErrorKind::Invalid, op, why);
    let mut end = at;
    for record in records {
        if let LogBody::Bytes { data, .. } = &record.body
            && (data.is_empty() || data.len() > RECORD_BYTES_MAX)
        {
            return Err(refuse("a record has no bytes, or too many").with("bytes", data.len()));
        }
        if record.at != end {
            return Err(refuse("a record does not follow the one before")
                .with("at", record.at.0)
                .with("expected", end.0));
        }
        match record.at.0.checked_add(record.width()) {
            Some(next) => end = Offset(next),
            None => return Err(refuse("a record ends beyond all offsets").with("at", record.at.0)),
        }
    }
    Ok(())
}

#[async_trait]
impl LogSink for FileLogs {
    async fn append(&self, build: &BuildId, at: Offset, records: &[LogRecord]) -> Result<Offset> {
        const OP: &str = "LogSink::append";
        check(OP, at, records)?;
        let (keep, batch) = (self.keep(build), records.to_vec());
        let conflict = |end: Offset, why| {
            Err(Error::new(ErrorKind::Conflict, OP, why).with("build", build).with("end", end.0))
        };
        let work = move || {
            if keep.is_old() {
                return Ok((Appended::Closed(at), false));
            }
            // Whoever goes on with a log that is not there has lost it: that makes no new one.
            let create = at == Offset(0) || keep.paths.old.exists();
            let appended = keep.locked(OP, create, |writer| writer.append(at, &batch))?;
            keep.written.send_replace(());
            Ok(appended.unwrap_or((Appended::Elsewhere(Offset(0)), false)))
        };
        let (appended, sealed) = blocking(OP, work).await?;
        if sealed {
            let keep = self.keep(build);
            // Nobody waits for it. What fails, or is cut short, the end of the log does again.
            drop(tokio::task::spawn_blocking(move || keep.pack(false)));
        }
        match appended {
            Appended::To(end) => Ok(end),
            Appended::Elsewhere(end) => conflict(end, "the log does not end there"),
            Appended::Closed(end) => conflict(end, "the log is closed"),
            Appended::TooLong => Err(Error::new(ErrorKind::Invalid, OP, "a record says too much")
                .with("bytes_max", RECORD_BYTES_MAX)),
        }
    }

    async fn end(&self, build: &BuildId) -> Result<Offset> {
        const OP: &str = "LogSink::end";
        let keep = self.keep(build);
        blocking(OP, move || match keep.is_old() {
            true => old::end(&keep.paths).map_err(|e| e.told(OP, &keep.paths.old_packed)),
            false => keep.end(OP),
        })
        .await
    }

    async fn close(&self, build: &BuildId) -> Result<()> {
        const OP: &str = "LogSink::close";
        let keep = self.keep(build);
        let done = blocking(OP, move || {
            let closed = keep.close(OP);
            keep.written.send_replace(());
            closed
        });
        done.await?;
        self.keeps().remove(build);
        Ok(())
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        const OP: &str = "LogSink::forget";
        let keep = self.keep(build);
        blocking(OP, move || keep.forget(OP)).await?;
        self.keeps().remove(build);
        Ok(())
    }
}

#[async_trait]
impl LogReader for FileLogs {
    async fn read(
        &self,
        build: &BuildId,
        from: Offset,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<LogPage> {
        let give_up = Instant::now() + patience;
        let mut waiting = None;
        loop {
            let (logs, paths) = (self.clone(), Paths::new(&self.0.directory, build));
            let work = move || logs.read_now(&paths, from, bytes_max);
            let page = blocking("LogReader::read", work).await?;
            let now = Instant::now();
            if !page.records.is_empty() || page.closed || now >= give_up {
                return Ok(page);
            }
            let Some((keep, written)) = &mut waiting else {
                // From now on nothing is missed; what came before shows at another look.
                let keep = self.keep(build);
                let written = keep.written.subscribe();
                waiting = Some((keep, written));
                continue;
            };
            let look = if keep.is_written_here() { LOOK_SELDOM } else { LOOK_EVERY };
            tokio::select! {
                _ = written.changed() => {}
                () = tokio::time::sleep_until((now + look).min(give_up)) => {}
            }
        }
    }
}
