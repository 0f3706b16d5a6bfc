//! The end of a log, where one process at a time writes.

use super::{
    frame::{self, Frames, HEADER, Seen},
    old,
    packed::Packed,
    segment::{LOCK, Paths, SEGMENT_BYTES, Segment},
    trouble::Trouble,
};
use crate::dir::{self, Dir};
use kiln::port::{LogRecord, Offset};
use rustix::{fs::FallocateFlags, io::Errno};
use std::{
    fs::{self, File},
    io::{self, BufReader, Seek, SeekFrom},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    sync::Arc,
};

/// So many bytes of the disk are taken before they are needed.
const RESERVE_BYTES: u64 = 1 << 20;
/// No more memory than this is kept from one append to the next.
const BUFFER_BYTES: usize = 2 << 20;

/// What an append came to.
pub(super) enum Appended {
    /// The log ends here now.
    To(Offset),
    /// The log ends elsewhere, and nothing was kept.
    Elsewhere(Offset),
    /// The log is closed, and nothing was kept.
    Closed(Offset),
    /// A record says more than a frame holds, and nothing was kept.
    TooLong,
}

/// What is known of the end of a log. It is true while the lock is held and after
/// [`Writer::catch_up`]; other processes may write in between.
#[derive(Debug)]
pub(super) struct Writer {
    dir: Arc<Dir>,
    lock: File,
    open: Option<Open>,
    end: Offset,
    closed: bool,
    frames: Vec<u8>,
}

/// The segment that is written on.
#[derive(Debug)]
struct Open {
    file: File,
    start: Offset,
    length: u64,
    reserved: u64,
}

impl Writer {
    /// Opens the directory of a log. `NotFound` if there is none, unless it may be made.
    pub(super) fn open(paths: &Paths, create: bool) -> io::Result<Self> {
        let dir = match Dir::open(&paths.directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && create => {
                let name = paths.directory.file_name().unwrap_or_default();
                Dir::open(&paths.above)?.make(&name.to_string_lossy())?;
                Dir::open(&paths.directory)?
            }
            dir => dir?,
        };
        let lock = dir.write(LOCK)?;
        let (end, frames) = (Offset(0), Vec::new());
        let dir = Arc::new(dir);
        Ok(Self { dir, lock, open: None, end, closed: false, frames })
    }

    /// Waits until no other process is at the end of the log.
    pub(super) fn lock(&self) -> io::Result<()> {
        self.lock.lock()
    }

    pub(super) fn unlock(&self) -> io::Result<()> {
        self.lock.unlock()
    }

    /// Whether the log of that name is still the one that was opened, and was not forgotten.
    pub(super) fn is_current(&self, paths: &Paths) -> io::Result<bool> {
        match fs::symlink_metadata(paths.directory.join(LOCK)) {
            Ok(meta) => Ok((meta.dev(), meta.ino()) == dir::identity(&self.lock)?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    pub(super) fn end(&self) -> Offset {
        self.end
    }

    /// Finds the end of the log if somebody else moved it, and cuts off what a crash left half
    /// written.
    pub(super) fn catch_up(&mut self, paths: &Paths) -> Result<(), Trouble> {
        if let Some(open) = &self.open {
            let length = open.file.metadata()?.len();
            if length == open.length {
                return Ok(());
            }
            let known = if length > open.length { open.length } else { 0 };
            self.scan(known)?;
        }
        if self.open.is_none() && !self.closed { self.load(paths) } else { Ok(()) }
    }

    /// Finds the last segment and its end.
    fn load(&mut self, paths: &Paths) -> Result<(), Trouble> {
        let mut last = Segment::list(&self.dir)?.pop();
        if last.is_none() && paths.old.exists() {
            old::bring_in(&self.dir, paths)?;
            last = Segment::list(&self.dir)?.pop();
        }
        match last {
            None => self.end = Offset(0),
            Some(segment) if segment.packed => {
                let packed = Packed::open(self.dir.read(segment.name())?, segment.start)?;
                (self.end, self.closed) = (packed.end, packed.closed);
            }
            Some(segment) => {
                let file = self.dir.write(&segment.name())?;
                let open = Open { file, start: segment.start, length: 0, reserved: 0 };
                self.open = Some(open);
                self.scan(0)?;
            }
        }
        Ok(())
    }

    /// Reads the open segment from a place on, to its end.
    fn scan(&mut self, from: u64) -> Result<(), Trouble> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.file.seek(SeekFrom::Start(from))?;
        let at = if from == 0 { open.start } else { self.end };
        let mut frames = Frames::new(BufReader::with_capacity(1 << 18, &open.file), from, at);
        let mut last = None;
        while let Some(seen) = frames.next()? {
            last = Some(seen);
        }
        let (place, torn) = (frames.place(), frames.is_torn());
        self.end = frames.at();
        drop(frames);
        if torn {
            open.file.set_len(place)?;
            open.reserved = 0;
        }
        open.length = place;
        if place == 0 {
            write(open, HEADER)?;
        }
        self.closed |= last == Some(Seen::Closed);
        if last == Some(Seen::Sealed) {
            self.open = None;
        }
        Ok(())
    }

    /// Adds records, if the log ends at an offset: all, or none. The records follow each other.
    /// Tells also whether a segment has been sealed.
    pub(super) fn append(
        &mut self,
        at: Offset,
        records: &[LogRecord],
    ) -> Result<(Appended, bool), Trouble> {
        if self.closed {
            return Ok((Appended::Closed(self.end), false));
        }
        if self.end != at {
            return Ok((Appended::Elsewhere(self.end), false));
        }
        let Some(last) = records.last() else { return Ok((Appended::To(at), false)) };
        self.frames.clear();
        self.frames.shrink_to(BUFFER_BYTES);
        if !records.iter().all(|record| frame::write(&mut self.frames, record)) {
            return Ok((Appended::TooLong, false));
        }
        let sealed = self.roll()?;
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(create(&self.dir, at)?),
        };
        write(open, &self.frames)?;
        self.end = last.end();
        Ok((Appended::To(self.end), sealed))
    }

    /// Seals the open segment if it is full.
    fn roll(&mut self) -> Result<bool, Trouble> {
        match &mut self.open {
            Some(open) if open.length >= SEGMENT_BYTES => mark(open, frame::SEALED)?,
            _ => return Ok(false),
        }
        self.open = None;
        Ok(true)
    }

    /// Ends the log, and waits until its open segment is on the disk.
    pub(super) fn close(&mut self) -> Result<(), Trouble> {
        if self.closed {
            return Ok(());
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(create(&self.dir, self.end)?),
        };
        mark(open, frame::CLOSED)?;
        self.closed = true;
        Ok(())
    }

    /// Gives the directory of the log another name, in the directory above.
    pub(super) fn move_away(&self, paths: &Paths, name: &str) -> io::Result<()> {
        let above = Dir::open(&paths.above)?;
        above.rename(Path::new(paths.directory.file_name().unwrap_or_default()), &above, name)
    }
}

fn create(dir: &Dir, start: Offset) -> io::Result<Open> {
    let file = dir.create(&Segment::plain(start).name())?;
    let mut open = Open { file, start, length: 0, reserved: 0 };
    if let Err(e) = write(&mut open, HEADER) {
        // An empty segment is as good as none, so it does not matter if this fails.
        let _ = dir.remove(Segment::plain(start).name());
        return Err(e);
    }
    Ok(open)
}

fn mark(open: &mut Open, kind: u8) -> io::Result<()> {
    let mut bytes = Vec::new();
    frame::write_mark(&mut bytes, kind);
    write(open, &bytes)
}

/// Writes at the end of a segment: all, or nothing.
fn write(open: &mut Open, bytes: &[u8]) -> io::Result<()> {
    let length = open.length + bytes.len() as u64;
    // What a full disk has no room for is refused before any reader can see the half of it.
    if length > open.reserved {
        open.reserved = reserve(&open.file, open.length, bytes.len() as u64)?;
    }
    if let Err(e) = open.file.write_all_at(bytes, open.length) {
        open.file.set_len(open.length)?;
        return Err(e);
    }
    open.length = length;
    Ok(())
}

/// Takes room on the disk for bytes at a place of a file, and for some that will follow. Returns
/// up to where there is room now.
#[cfg(target_os = "linux")]
fn reserve(file: &File, from: u64, bytes: u64) -> io::Result<u64> {
    let take = |bytes: u64| {
        rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, from, bytes).map(|()| from + bytes)
    };
    match take(bytes.max(RESERVE_BYTES)).or_else(|_| take(bytes)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(u64::MAX),
        taken => Ok(taken?),
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(_: &File, _: u64, _: u64) -> io::Result<u64> {
    Ok(u64::MAX)
}
