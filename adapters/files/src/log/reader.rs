//! Reads pages of a log, in time that depends on the page and not on the log.

use super::{
    frame::{Frames, Seen},
    old::{self, Old},
    packed::Packed,
    places::Places,
    segment::{Paths, Segment},
    trouble::Trouble,
};
use crate::dir::{self, Dir, Identity};
use kiln::{
    Error, ErrorKind,
    port::{LogPage, Offset},
};
use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
};

/// How often a log is listed anew whose segments change under the reader.
const TRIES_MAX: usize = 100;

/// A page that is being read.
struct Reading<'a> {
    paths: &'a Paths,
    places: &'a Places,
    from: Offset,
    bytes_max: usize,
    bytes: usize,
    /// Up to where the log has been seen.
    end: Offset,
    page: LogPage,
    /// Where in the segment the page ends, if it does so there.
    place: Option<u64>,
}

/// Makes the reader of frames of a version.
type Make = fn(BufReader<File>, u64, Offset) -> Frames<BufReader<File>>;

/// Why no more frames of a segment were read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The page is full, or what follows is damaged.
    Full,
    /// The log goes on in the next segment.
    Sealed,
    /// The log is over.
    Closed,
    /// Nothing more is written yet.
    End { torn: bool },
}

/// Reads a page.
pub(super) fn page(
    paths: &Paths,
    places: &Places,
    from: Offset,
    bytes_max: usize,
) -> Result<LogPage, Trouble> {
    let mut tries = 0;
    loop {
        let page = LogPage { records: Vec::new(), next: from, closed: false };
        let end = Offset(0);
        let mut reading =
            Reading { paths, places, from, bytes_max, bytes: 0, end, page, place: None };
        tries += 1;
        match reading.run() {
            // A segment was packed, or the whole log forgotten, while we looked.
            Err(e) if e.is_absence() && tries < TRIES_MAX => {}
            Err(e) => return Err(e),
            Ok(()) if reading.end < from => {
                return Err(Trouble::Refused(beyond(from, reading.end)));
            }
            Ok(()) => return Ok(reading.page),
        }
    }
}

impl Reading<'_> {
    fn run(&mut self) -> Result<(), Trouble> {
        match Dir::open(&self.paths.directory) {
            Ok(dir) => self.segments(&dir),
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.old(),
            Err(e) => Err(e.into()),
        }
    }

    /// Reads segments from the one on that holds the offset.
    fn segments(&mut self, dir: &Dir) -> Result<(), Trouble> {
        let segments = Segment::list(dir)?;
        let Some(first) = segments.first() else { return self.old() };
        let missing = |at: Offset| Trouble::Damaged { place: 0, at };
        if first.start > Offset(0) {
            return Err(missing(Offset(0)));
        }
        let at = segments.partition_point(|s| s.start <= self.from).saturating_sub(1);
        self.end = segments[at].start;
        for (i, segment) in segments.iter().enumerate().skip(at) {
            let stop = match segment.start == self.end {
                true => self.segment(dir, *segment),
                false => Err(missing(self.end)),
            };
            let is_last = i + 1 == segments.len();
            let over = match stop {
                Ok(Stop::Sealed) => continue,
                Ok(Stop::End { .. }) if is_last && !segment.packed => Ok(()),
                // One that is written no more ends with a mark.
                Ok(Stop::End { .. }) => Err(missing(self.end)),
                Ok(Stop::Full | Stop::Closed) => Ok(()),
                Err(e) => Err(e),
            };
            // What stands before the trouble is told first.
            return if self.page.records.is_empty() { over } else { Ok(()) };
        }
        Ok(())
    }

    fn segment(&mut self, dir: &Dir, segment: Segment) -> Result<Stop, Trouble> {
        let file = dir.read(segment.name())?;
        if segment.packed {
            let packed = Packed::open(file, segment.start)?;
            return self.fill(&mut packed.frames(self.from));
        }
        self.plain(file, segment.start, Frames::new)
    }

    /// Reads a plain segment, from a place that is known if there is one.
    fn plain(&mut self, mut file: File, start: Offset, make: Make) -> Result<Stop, Trouble> {
        let identity = dir::identity(&file)?;
        let from = self.from;
        let mut fill = |reading: &mut Self, place: u64, at: Offset| {
            file.seek(SeekFrom::Start(place))?;
            let source = BufReader::with_capacity(1 << 18, file.try_clone()?);
            reading.fill(&mut make(source, place, at))
        };
        if let Some(place) = self.places.find(identity, from) {
            match fill(self, place, from) {
                // It may be another file by now, of a log that was forgotten and begun again.
                Err(Trouble::Damaged { .. }) | Ok(Stop::End { torn: true })
                    if self.page.records.is_empty() => {}
                stop => return self.remember(identity, stop),
            }
            (self.end, self.place) = (start, None);
        }
        let stop = fill(self, 0, start);
        self.remember(identity, stop)
    }

    fn remember(&self, file: Identity, stop: Result<Stop, Trouble>) -> Result<Stop, Trouble> {
        if let Some(place) = self.place {
            self.places.remember(file, self.page.next, place);
        }
        stop
    }

    /// Reads a log of version 1, which is one file.
    fn old(&mut self) -> Result<(), Trouble> {
        let stop = match old::open(self.paths)? {
            None => return Ok(()),
            Some(Old::Plain(file)) => self.plain(file, Offset(0), Frames::old).map(drop),
            Some(Old::Packed(mut frames)) => match self.fill(&mut frames) {
                Ok(Stop::End { .. }) => Err(frames.damage()),
                stop => stop.map(drop),
            },
        };
        if self.page.records.is_empty() { stop } else { Ok(()) }
    }

    /// Takes records until the page is full.
    fn fill<R: Read>(&mut self, frames: &mut Frames<R>) -> Result<Stop, Trouble> {
        self.end = self.end.max(frames.at());
        self.place = None;
        while let Some(seen) = frames.next()? {
            match seen {
                Seen::Sealed => return Ok(Stop::Sealed),
                Seen::Closed => {
                    self.page.closed = true;
                    return Ok(Stop::Closed);
                }
                Seen::Record(end) if end <= self.from => self.end = end,
                Seen::Record(_)
                    if self.bytes >= self.bytes_max && !self.page.records.is_empty() =>
                {
                    return Ok(Stop::Full);
                }
                Seen::Record(end) => {
                    let record = frames.record()?;
                    self.bytes += record.width() as usize;
                    (self.page.next, self.end) = (end, end);
                    self.page.records.push(record.tail(self.from));
                }
            }
            if self.end >= self.from {
                self.place = Some(frames.place());
            }
        }
        Ok(Stop::End { torn: frames.is_torn() })
    }
}

fn beyond(from: Offset, end: Offset) -> Error {
    Error::new(ErrorKind::Invalid, "LogReader::read", "the offset is beyond the end of the log")
        .with("offset", from.0)
        .with("end", end.0)
}
