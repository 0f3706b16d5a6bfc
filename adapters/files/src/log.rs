//! Logs as files: one a build, append-only, compressed when closed.

mod frame;

use crate::error::{private_dir, translate};
use async_trait::async_trait;
use frame::{Frame, Frames, HEADER};
use kiln::{
    BuildId, Error, ErrorKind, Result,
    port::{LogBody, LogPage, LogReader, LogRecord, LogSink, Offset, RECORD_BYTES_MAX},
};
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// How often the file is looked at for what another process wrote.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How many places of readers are remembered.
const PLACES_MAX: usize = 256;

/// Logs in a directory. Clones share everything, and several processes may share the directory.
#[derive(Clone, Debug)]
pub struct FileLogs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    writers: Mutex<HashMap<BuildId, Arc<Mutex<Writer>>>>,
    /// Where in the file an offset stands, so that a reader need not search.
    places: Mutex<HashMap<(BuildId, Offset), u64>>,
    written: watch::Sender<u64>,
}

/// What is known of the end of a log that this process writes.
#[derive(Debug)]
struct Writer {
    file: File,
    length: u64,
    end: Offset,
    closed: bool,
}

impl FileLogs {
    /// Opens a directory of logs, and makes it where needed.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        let directory = directory.into();
        private_dir("FileLogs::open", &directory)?;
        let written = watch::Sender::new(0);
        let (writers, places) = (Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { directory, writers, places, written })))
    }

    fn plain(&self, build: &BuildId) -> PathBuf {
        self.0.directory.join(format!("{build}.klog"))
    }

    fn packed(&self, build: &BuildId) -> PathBuf {
        self.0.directory.join(format!("{build}.klog.zst"))
    }

    fn writers(&self) -> MutexGuard<'_, HashMap<BuildId, Arc<Mutex<Writer>>>> {
        self.0.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self, op: &'static str, build: &BuildId) -> Result<Arc<Mutex<Writer>>> {
        if let Some(writer) = self.writers().get(build) {
            return Ok(writer.clone());
        }
        let path = self.plain(build);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| translate(op, &path, e))?;
        let writer = Writer { file: opened, length: 0, end: Offset(0), closed: false };
        let writer = Arc::new(Mutex::new(writer));
        Ok(self.writers().entry(build.clone()).or_insert(writer).clone())
    }

    /// Runs a closure on the end of a log, while no other process can write it.
    fn at_end<T>(
        &self,
        op: &'static str,
        build: &BuildId,
        work: impl FnOnce(&mut Writer) -> Result<T>,
    ) -> Result<T> {
        let writer = self.writer(op, build)?;
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.plain(build);
        let wrong = |e| translate(op, &path, e);
        writer.file.lock().map_err(wrong)?;
        let done = writer.catch_up().map_err(wrong).and_then(|()| work(&mut writer));
        writer.file.unlock().map_err(wrong)?;
        done
    }

    fn is_closed(&self, build: &BuildId) -> bool {
        self.packed(build).exists()
    }

    /// Replaces a closed log by its compressed form.
    fn pack(&self, build: &BuildId) -> Result<()> {
        const OP: &str = "LogSink::close";
        let (plain, packed) = (self.plain(build), self.packed(build));
        let half = self.0.directory.join(format!("{build}.klog.zst.half"));
        let write = || -> io::Result<()> {
            let to = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&half)?;
            let mut encoder = zstd::Encoder::new(to, 1)?;
            io::copy(&mut File::open(&plain)?, &mut encoder)?;
            encoder.finish()?.sync_all()?;
            fs::rename(&half, &packed)?;
            fs::remove_file(&plain)
        };
        write().map_err(|e| translate(OP, &plain, e))?;
        self.writers().remove(build);
        Ok(())
    }

    /// The bytes of a log from a place on; none if nobody wrote it.
    fn source(&self, build: &BuildId, place: u64) -> io::Result<Option<Box<dyn Read>>> {
        let absent = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
        let packed = || match File::open(self.packed(build)) {
            Ok(file) => {
                let mut text = zstd::Decoder::new(file)?;
                io::copy(&mut (&mut text).take(place), &mut io::sink())?;
                Ok(Some(Box::new(text) as Box<dyn Read>))
            }
            Err(e) if absent(&e) => Ok(None),
            Err(e) => Err(e),
        };
        if let Some(text) = packed()? {
            return Ok(Some(text));
        }
        match File::open(self.plain(build)) {
            Ok(mut file) => {
                file.seek(SeekFrom::Start(place))?;
                Ok(Some(Box::new(BufReader::with_capacity(1 << 18, file))))
            }
            // It may have been packed in between.
            Err(e) if absent(&e) => packed(),
            Err(e) => Err(e),
        }
    }

    fn read_now(&self, build: &BuildId, from: Offset, bytes_max: usize) -> Result<LogPage> {
        const OP: &str = "LogReader::read";
        let wrong = |e| translate(OP, &self.plain(build), e);
        let mut page = LogPage { records: Vec::new(), next: from, closed: false };
        let start = self.place(build, from);
        let Some(source) = self.source(build, start).map_err(wrong)? else {
            return if from == Offset(0) { Ok(page) } else { Err(beyond(from, Offset(0))) };
        };
        let (mut end, mut taken) = (if start > 0 { from } else { Offset(0) }, 0);
        let mut place = None;
        let mut frames = Frames::new(source, start == 0);
        while let Some(frame) = frames.next().map_err(wrong)? {
            match frame {
                Frame::Closed => page.closed = true,
                Frame::Record(record) => {
                    end = record.end();
                    if end > from {
                        if taken >= bytes_max && !page.records.is_empty() {
                            break;
                        }
                        taken += record.width() as usize;
                        page.next = end;
                        page.records.push(record.tail(from));
                        place = Some(start + frames.place());
                    }
                }
            }
        }
        if let Some(place) = place {
            self.remember(build, page.next, place);
        }
        if end < from { Err(beyond(from, end)) } else { Ok(page) }
    }

    fn place(&self, build: &BuildId, at: Offset) -> u64 {
        let places = self.0.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(&(build.clone(), at)).copied().unwrap_or(0)
    }

    fn remember(&self, build: &BuildId, at: Offset, place: u64) {
        let mut places = self.0.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= PLACES_MAX {
            places.clear();
        }
        places.insert((build.clone(), at), place);
    }
}

fn beyond(from: Offset, end: Offset) -> Error {
    Error::new(ErrorKind::Invalid, "LogReader::read", "the offset is beyond the end of the log")
        .with("offset", from.0)
        .with("end", end.0)
}

impl Writer {
    /// Finds the end of the file if somebody else moved it, and cuts off what a crash left half
    /// written.
    fn catch_up(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length == self.length && length > 0 {
            return Ok(());
        }
        if length < HEADER.len() as u64 {
            self.file.set_len(0)?;
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(HEADER)?;
            self.length = HEADER.len() as u64;
            return Ok(());
        }
        let known = self.length.min(length);
        self.file.seek(SeekFrom::Start(known))?;
        let mut frames = Frames::new(BufReader::new(&mut self.file), known == 0);
        let (mut end, mut closed) = (self.end, self.closed);
        while let Some(frame) = frames.next()? {
            match frame {
                Frame::Record(record) => end = record.end(),
                Frame::Closed => closed = true,
            }
        }
        let whole = known + frames.place();
        drop(frames);
        if whole < length {
            self.file.set_len(whole)?;
        }
        (self.length, self.end, self.closed) = (whole, end, closed);
        Ok(())
    }

    /// Writes frames at the end: all, or none.
    fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.length))?;
        if let Err(e) = self.file.write_all(frames) {
            self.file.set_len(self.length)?;
            return Err(e);
        }
        self.length += frames.len() as u64;
        Ok(())
    }
}

#[async_trait]
impl LogSink for FileLogs {
    async fn append(&self, build: &BuildId, at: Offset, records: &[LogRecord]) -> Result<Offset> {
        const OP: &str = "LogSink::append";
        let conflict = |end: Offset, why| {
            Err(Error::new(ErrorKind::Conflict, OP, why).with("build", build).with("end", end.0))
        };
        let mut end = at;
        for record in records {
            if let LogBody::Bytes { data, .. } = &record.body
                && (data.is_empty() || data.len() > RECORD_BYTES_MAX)
            {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    OP,
                    "a record has no bytes, or too many",
                )
                .with("bytes", data.len()));
            }
            if record.at != end {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    OP,
                    "a record does not follow the one before",
                )
                .with("at", record.at.0)
                .with("expected", end.0));
            }
            end = record.end();
        }
        if self.is_closed(build) {
            return conflict(at, "the log is closed");
        }
        self.at_end(OP, build, |writer| {
            if writer.closed {
                return conflict(writer.end, "the log is closed");
            }
            if writer.end != at {
                return conflict(writer.end, "the log does not end there");
            }
            let mut bytes = Vec::with_capacity(records.len() * 64 + (end.0 - at.0) as usize);
            records.iter().for_each(|r| frame::write(&mut bytes, r));
            writer.write(&bytes).map_err(|e| translate(OP, &self.plain(build), e))?;
            writer.end = end;
            Ok(end)
        })?;
        self.0.written.send_modify(|n| *n += 1);
        Ok(end)
    }

    async fn end(&self, build: &BuildId) -> Result<Offset> {
        const OP: &str = "LogSink::end";
        if self.plain(build).exists() {
            return self.at_end(OP, build, |writer| Ok(writer.end));
        }
        let wrong = |e| translate(OP, &self.packed(build), e);
        let Some(source) = self.source(build, 0).map_err(wrong)? else { return Ok(Offset(0)) };
        let (mut frames, mut end) = (Frames::new(source, true), Offset(0));
        while let Some(frame) = frames.next().map_err(wrong)? {
            if let Frame::Record(record) = frame {
                end = record.end();
            }
        }
        Ok(end)
    }

    async fn close(&self, build: &BuildId) -> Result<()> {
        const OP: &str = "LogSink::close";
        if self.is_closed(build) && !self.plain(build).exists() {
            return Ok(());
        }
        self.at_end(OP, build, |writer| {
            if !writer.closed {
                let mut bytes = Vec::new();
                frame::write_closed(&mut bytes);
                writer.write(&bytes).map_err(|e| translate(OP, &self.plain(build), e))?;
                writer.closed = true;
            }
            Ok(())
        })?;
        let logs = self.clone();
        let id = build.clone();
        let packed = tokio::task::spawn_blocking(move || logs.pack(&id)).await;
        self.0.written.send_modify(|n| *n += 1);
        packed.map_err(|e| Error::new(ErrorKind::Unexpected, OP, e.to_string()))?
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        self.writers().remove(build);
        let mut places = self.0.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|(b, _), _| b != build);
        drop(places);
        for path in [self.plain(build), self.packed(build)] {
            remove(&path)?;
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(translate("LogSink::forget", path, e)),
        _ => Ok(()),
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
        let mut written = self.0.written.subscribe();
        let give_up = tokio::time::Instant::now() + patience;
        loop {
            let page = self.read_now(build, from, bytes_max)?;
            let now = tokio::time::Instant::now();
            if !page.records.is_empty() || page.closed || now >= give_up {
                return Ok(page);
            }
            tokio::select! {
                _ = written.changed() => {}
                () = tokio::time::sleep_until((now + LOOK_EVERY).min(give_up)) => {}
            }
        }
    }
}
