//! Frames: the stored form of log records; see `docs/formats.md`.
//!
//! A segment begins with [`HEADER`]. A frame is the length of its body (3 bytes), a check of these
//! (1 byte), the CRC-32 of the body (4 bytes) and the body; numbers are little-endian.

use super::trouble::Trouble;
use bytes::Bytes;
use kiln::{
    StepId, Timestamp,
    port::{LogBody, LogRecord, Offset, RECORD_BYTES_MAX, StepEnd, Stream},
};
use std::io::{self, Read};

/// What a segment begins with: the name of the format and its version.
pub(super) const HEADER: &[u8; 8] = b"KILNLOG2";
/// What a whole log began with in version 1. Its frames have a zero for the check.
const OLD_HEADER: &[u8; 8] = b"KILNLOG1";
/// No body is longer: a full record with its fields, and room to spare.
pub(super) const BODY_MAX: usize = RECORD_BYTES_MAX + 64 * 1024;
/// How many characters of the reason of a gap are kept.
const WHY_MAX: usize = 1000;
/// The bytes of a body before what the record says.
const FIELDS: usize = 20;
/// What a crash of the machine leaves where nothing reached the disk; so many tell it from output.
const ZEROS: usize = 8;

/// Nothing more will come.
pub(super) const CLOSED: u8 = 0;
const STARTED: u8 = 1;
const STDOUT: u8 = 2;
const STDERR: u8 = 3;
const SYSTEM: u8 = 4;
const PROGRESS: u8 = 5;
const GAP: u8 = 6;
const SUCCEEDED: u8 = 7;
const FAILED: u8 = 8;
/// The log goes on in the next segment.
pub(super) const SEALED: u8 = 9;

fn frame(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    body(out);
    let mut length = ((out.len() - start - 8) as u32).to_le_bytes();
    length[3] = check(&length);
    let sum = crc32fast::hash(&out[start + 8..]);
    out[start..start + 4].copy_from_slice(&length);
    out[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
}

/// The check of a length: with it a length that is damaged is not taken for a frame that was cut off.
fn check(length: &[u8; 4]) -> u8 {
    crc32fast::hash(&length[..3]) as u8
}

/// Adds the frame of a record; false if it says more than a frame holds.
pub(super) fn write(out: &mut Vec<u8>, record: &LogRecord) -> bool {
    let start = out.len();
    frame(out, |out| {
        let (kind, rest): (u8, &[u8]) = match &record.body {
            LogBody::Started => (STARTED, &[]),
            LogBody::Bytes { stream: Stream::Stdout, data } => (STDOUT, data),
            LogBody::Bytes { stream: Stream::Stderr, data } => (STDERR, data),
            LogBody::Bytes { stream: Stream::System, data } => (SYSTEM, data),
            LogBody::Progress(_) => (PROGRESS, &[]),
            LogBody::Gap { .. } => (GAP, &[]),
            LogBody::Ended(StepEnd::Succeeded) => (SUCCEEDED, &[]),
            LogBody::Ended(_) | _ => (FAILED, &[]),
        };
        out.push(kind);
        out.extend_from_slice(&record.at.0.to_le_bytes());
        out.extend_from_slice(&record.time.0.to_le_bytes());
        out.extend_from_slice(&record.step.0.to_le_bytes());
        out.push(record.attempt);
        out.extend_from_slice(rest);
        match &record.body {
            LogBody::Progress(p) => {
                out.extend(serde_json::to_vec(p).unwrap_or_default());
            }
            LogBody::Gap { bytes, why } => {
                out.extend_from_slice(&bytes.to_le_bytes());
                out.extend(why.chars().take(WHY_MAX).collect::<String>().bytes());
            }
            _ => {}
        }
    });
    out.len() - start - 8 <= FIELDS + RECORD_BYTES_MAX
}

/// Adds a frame that holds no record: [`CLOSED`] or [`SEALED`].
pub(super) fn write_mark(out: &mut Vec<u8>, kind: u8) {
    frame(out, |out| out.push(kind));
}

/// Adds the frame that was read last, in this version.
pub(super) fn copy<R>(out: &mut Vec<u8>, frames: &Frames<R>) {
    frame(out, |out| out.extend_from_slice(frames.raw.get(8..).unwrap_or_default()));
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// A record that ends at an offset.
    Record(Offset),
    /// The last frame of a segment that another one follows.
    Sealed,
    /// The last frame of a log.
    Closed,
}

/// Reads frames one by one, in the memory of one.
///
/// A frame of which the end is missing ends the segment: whoever wrote it was stopped. Anything
/// else that was not written so is damage.
#[derive(Debug)]
pub(super) struct Frames<R> {
    source: R,
    place: u64,
    at: Offset,
    raw: Vec<u8>,
    old: bool,
    over: bool,
    torn: bool,
}

impl<R: Read> Frames<R> {
    /// Reads from a source that begins at a place of a segment, where the log is at an offset.
    /// At place 0 the header comes first.
    pub(super) fn new(source: R, place: u64, at: Offset) -> Self {
        Self { source, place, at, raw: Vec::new(), old: false, over: false, torn: false }
    }

    /// Reads a log of version 1 from a place on.
    pub(super) fn old(source: R, place: u64, at: Offset) -> Self {
        Self { old: true, ..Self::new(source, place, at) }
    }

    /// How many bytes of the segment stand before the next frame.
    pub(super) fn place(&self) -> u64 {
        self.place
    }

    /// The offset after the records read so far.
    pub(super) fn at(&self) -> Offset {
        self.at
    }

    /// Whether the segment ends with a part of a frame, once `next` gave none.
    pub(super) fn is_torn(&self) -> bool {
        self.torn
    }

    /// The frame read last, as it is stored.
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The next frame; none at the end, or where only a part of one follows.
    pub(super) fn next(&mut self) -> Result<Option<Seen>, Trouble> {
        if self.torn || (self.place == 0 && !self.header()?) || !self.fill(0, 8)? {
            return Ok(None);
        }
        let Some((&length, sum)) = self.raw.split_first_chunk::<4>() else { return Ok(None) };
        let sum = sum.try_into().map_or(0, u32::from_le_bytes);
        let [a, b, c, mark] = length;
        let sound = mark == if self.old { 0 } else { check(&length) };
        let length = u32::from_le_bytes([a, b, c, 0]) as usize;
        if self.over || !sound || length == 0 || length > BODY_MAX {
            return self.unwritten();
        }
        if !self.fill(8, length)? {
            return Ok(None);
        }
        if crc32fast::hash(&self.raw[8..]) != sum {
            return self.unwritten();
        }
        let seen = self.judge()?;
        self.place += self.raw.len() as u64;
        match seen {
            Seen::Record(end) => self.at = end,
            Seen::Sealed | Seen::Closed => self.over = true,
        }
        Ok(Some(seen))
    }

    /// The trouble that something else stands where the next frame should.
    pub(super) fn damage(&self) -> Trouble {
        Trouble::Damaged { place: self.place, at: self.at }
    }

    /// Reads the header; false if it is not there as a whole.
    fn header(&mut self) -> Result<bool, Trouble> {
        let header = if self.old { OLD_HEADER } else { HEADER };
        if !self.fill(0, header.len())? {
            return match header.starts_with(&self.raw) {
                true => Ok(false),
                false => self.unwritten().map(|_| false),
            };
        }
        if self.raw == header {
            self.place = header.len() as u64;
            return Ok(true);
        }
        match self.raw.starts_with(&header[..7]) && self.raw[7].is_ascii_digit() {
            true => Err(Trouble::Newer),
            false => self.unwritten().map(|_| false),
        }
    }

    /// Reads so many bytes behind those that are kept; false, and torn, if there are fewer.
    fn fill(&mut self, keep: usize, count: usize) -> Result<bool, Trouble> {
        self.raw.resize(keep + count, 0);
        let mut have = keep;
        while have < self.raw.len() {
            match self.source.read(&mut self.raw[have..]) {
                Ok(0) => {
                    self.torn = have > 0;
                    self.raw.truncate(have);
                    return Ok(false);
                }
                Ok(n) => have += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(self.damage()),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(true)
    }

    /// What was read is no frame. If it ends the segment and its end never reached the disk, it is
    /// a torn one, else damage.
    fn unwritten(&mut self) -> Result<Option<Seen>, Trouble> {
        let mut zeros = self.raw.iter().rev().take_while(|b| **b == 0).count();
        let mut rest = [0; 4096];
        loop {
            match self.source.read(&mut rest)? {
                0 => break,
                n if zeros > 0 && rest[..n].iter().all(|b| *b == 0) => zeros += n,
                _ => return Err(self.damage()),
            }
        }
        if self.over || zeros < ZEROS {
            return Err(self.damage());
        }
        self.torn = true;
        Ok(None)
    }

    /// What the whole frame just read says of itself.
    fn judge(&self) -> Result<Seen, Trouble> {
        let body = &self.raw[8..];
        let kind = body[0];
        match kind {
            CLOSED => return Ok(Seen::Closed),
            SEALED => return Ok(Seen::Sealed),
            STARTED..=FAILED => {}
            _ => return Err(Trouble::Newer),
        }
        let (at, rest) = (self.number(1), body.get(FIELDS..));
        let (Some(at), Some(rest)) = (at, rest) else { return Err(self.damage()) };
        let width = match kind {
            STDOUT | STDERR | SYSTEM => rest.len() as u64,
            GAP => self.number(FIELDS).ok_or_else(|| self.damage())?.max(1),
            _ => 1,
        };
        match at.checked_add(width) {
            Some(end) if at == self.at.0 && width > 0 => Ok(Seen::Record(Offset(end))),
            _ => Err(self.damage()),
        }
    }

    /// A number at a byte of the body.
    fn number(&self, at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(self.raw.get(8 + at..16 + at)?.try_into().ok()?))
    }

    /// The record of the frame read last. It has been checked that it has the fields.
    pub(super) fn record(&self) -> Result<LogRecord, Trouble> {
        self.parse().ok_or_else(|| self.damage())
    }

    fn parse(&self) -> Option<LogRecord> {
        let body = self.raw.get(8..)?;
        let step = StepId(u16::from_le_bytes(body.get(17..19)?.try_into().ok()?));
        let (at, time) = (Offset(self.number(1)?), Timestamp(self.number(9)?));
        let (attempt, rest) = (*body.get(19)?, body.get(FIELDS..)?);
        let output = |stream| LogBody::Bytes { stream, data: Bytes::copy_from_slice(rest) };
        let body = match *body.first()? {
            STARTED => LogBody::Started,
            STDOUT => output(Stream::Stdout),
            STDERR => output(Stream::Stderr),
            SYSTEM => output(Stream::System),
            PROGRESS => LogBody::Progress(serde_json::from_slice(rest).ok()?),
            GAP => {
                let (_, why) = rest.split_at_checked(8)?;
                let why = String::from_utf8_lossy(why).into_owned();
                LogBody::Gap { bytes: self.number(FIELDS)?, why }
            }
            SUCCEEDED => LogBody::Ended(StepEnd::Succeeded),
            FAILED => LogBody::Ended(StepEnd::Failed),
            _ => return None,
        };
        Some(LogRecord { at, time, step, attempt, body })
    }
}
