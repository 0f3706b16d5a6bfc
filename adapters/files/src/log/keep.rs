//! One log, as this process knows it.

use super::{
    packed::{self, Packed},
    segment::{LOCK, Paths, Segment},
    trouble::Trouble,
    writer::Writer,
};
use crate::{
    dir::Dir,
    error::translate,
    half::{self, Half, unique},
    removal::remove,
};
use kiln::{Result, port::Offset};
use std::{
    fs::{self, File},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// How often a log is looked for again that another process makes and forgets.
const TRIES_MAX: usize = 100;
/// How a log is called while it is being removed.
const GONE: &str = ".gone-";

/// One log: its end, if this process writes it, and who waits for it.
#[derive(Debug)]
pub(super) struct Keep {
    pub(super) paths: Paths,
    writer: Mutex<Option<Writer>>,
    packing: Mutex<()>,
    pub(super) written: watch::Sender<()>,
}

impl Keep {
    pub(super) fn new(paths: Paths) -> Self {
        let written = watch::Sender::new(());
        Self { paths, writer: Mutex::default(), packing: Mutex::default(), written }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process writes the log, so that it learns of most that is written.
    pub(super) fn is_written_here(&self) -> bool {
        self.writer.try_lock().map_or(true, |slot| slot.is_some())
    }

    /// Runs a closure on the end of the log while nobody else can write it; none if there is no
    /// log and none may be made.
    pub(super) fn locked<T>(
        &self,
        op: &'static str,
        create: bool,
        work: impl FnOnce(&mut Writer) -> Result<T, Trouble>,
    ) -> Result<Option<T>> {
        let caught_up =
            |writer: &mut Writer| writer.catch_up(&self.paths).and_then(|()| work(writer));
        self.alone(create, caught_up).map_err(|e| e.told(op, &self.paths.directory))
    }

    /// As [`Keep::locked`], but asks nothing of what is stored.
    fn alone<T>(
        &self,
        create: bool,
        work: impl FnOnce(&mut Writer) -> Result<T, Trouble>,
    ) -> Result<Option<T>, Trouble> {
        let mut slot = self.slot();
        for _ in 0..TRIES_MAX {
            let writer = match &mut *slot {
                Some(writer) => writer,
                none => match Writer::open(&self.paths, create) {
                    Ok(writer) => none.insert(writer),
                    Err(e) if e.kind() == io::ErrorKind::NotFound && create => continue,
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(e) => return Err(e.into()),
                },
            };
            writer.lock()?;
            // It may have been forgotten while we waited.
            if !writer.is_current(&self.paths)? {
                *slot = None;
                continue;
            }
            let done = work(writer);
            let unlocked = writer.unlock();
            if done.is_err() || unlocked.is_err() {
                // What is known of the end may be wrong now; a new look is cheap.
                *slot = None;
            }
            return done.map(Some);
        }
        Err(io::Error::from(io::ErrorKind::ResourceBusy).into())
    }

    /// Whether there is a log of version 1 that can only be read.
    pub(super) fn is_old(&self) -> bool {
        self.paths.old_packed.exists() && !self.paths.directory.exists()
    }

    /// Where the log ends.
    pub(super) fn end(&self, op: &'static str) -> Result<Offset> {
        let written = self.paths.old.exists();
        Ok(self.locked(op, written, |writer| Ok(writer.end()))?.unwrap_or_default())
    }

    /// Packs the segments that nobody writes any more. Another call may be at it already: then
    /// this one does nothing, unless it has to.
    pub(super) fn pack(&self, all: bool) -> Result<(), Trouble> {
        let _alone = match self.packing.try_lock() {
            Ok(alone) => alone,
            Err(_) if !all => return Ok(()),
            Err(_) => self.packing.lock().unwrap_or_else(PoisonError::into_inner),
        };
        let dir = match Dir::open(&self.paths.directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            dir => Arc::new(dir?),
        };
        half::sweep(&dir)?;
        let mut segments = Segment::list(&dir)?;
        if !all {
            segments.pop();
        }
        for segment in segments.into_iter().filter(|s| !s.packed) {
            pack(&dir, segment)?;
        }
        Ok(())
    }

    /// Closes the log and waits until it is on the disk.
    pub(super) fn close(&self, op: &'static str) -> Result<()> {
        let wrong = |e: Trouble| e.told(op, &self.paths.directory);
        if self.is_old() || self.is_packed().map_err(wrong)? {
            return Ok(());
        }
        self.locked(op, true, Writer::close)?;
        if self.pack(true).is_err() {
            // No room, or damage: the plain form is as good, and is tried again by the next close.
            self.sync().map_err(|e| wrong(e.into()))?;
        }
        let synced = Dir::open(&self.paths.above).and_then(|above| above.sync());
        synced.map_err(|e| wrong(e.into()))?;
        *self.slot() = None;
        Ok(())
    }

    /// Whether the log is closed and packed to its end.
    fn is_packed(&self) -> Result<bool, Trouble> {
        let dir = match Dir::open(&self.paths.directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            dir => dir?,
        };
        let segments = Segment::list(&dir)?;
        match segments.last() {
            Some(last) if segments.iter().all(|s| s.packed) => {
                Ok(Packed::open(dir.read(last.name())?, last.start)?.closed)
            }
            _ => Ok(false),
        }
    }

    /// Waits until all files of the log are on the disk.
    fn sync(&self) -> io::Result<()> {
        let dir = Dir::open(&self.paths.directory)?;
        for segment in Segment::list(&dir)? {
            dir.read(segment.name())?.sync_all()?;
        }
        dir.sync()
    }

    /// Removes the log, whatever state it is in.
    pub(super) fn forget(&self, op: &'static str) -> Result<()> {
        let wrong = |e: Trouble| e.told(op, &self.paths.directory);
        for path in [&self.paths.old, &self.paths.old_packed] {
            match fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(translate(op, path, e));
                }
                _ => {}
            }
        }
        // In one step, so that nobody sees, or writes on, a part of it.
        let gone = unique(GONE);
        let moved = |writer: &mut Writer| Ok(writer.move_away(&self.paths, &gone)?);
        if self.alone(false, moved).map_err(wrong)?.is_some() {
            *self.slot() = None;
            let removed = Dir::open(&self.paths.above).and_then(|above| remove(&above, &gone));
            removed.map_err(|e| wrong(e.into()))?;
        }
        Ok(())
    }
}

/// Waits until nobody is writing, and goes on at once.
pub(super) fn pass(paths: &Paths) -> io::Result<()> {
    let lock = File::open(paths.directory.join(LOCK))?;
    lock.lock_shared()?;
    lock.unlock()
}

/// Removes what a crash left of logs that were being forgotten.
pub(super) fn sweep(above: &Dir) -> io::Result<()> {
    for name in above.names()?.iter().filter(|name| name.starts_with(GONE)) {
        remove(above, name)?;
    }
    Ok(())
}

/// Replaces a plain segment by its packed form.
fn pack(dir: &Arc<Dir>, segment: Segment) -> Result<(), Trouble> {
    let mut half = Half::create(dir.clone())?;
    packed::pack(&dir.read(segment.name())?, segment.start, &mut half.file)?;
    half.keep(dir, &Segment { packed: true, ..segment }.name())?;
    Ok(dir.remove(segment.name())?)
}
