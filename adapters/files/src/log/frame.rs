//! The framed form of log records, version 1; see `docs/formats.md`.
//!
//! A file begins with [`HEADER`]. A frame is its length (4 bytes), the CRC-32 of its body (4 bytes)
//! and the body; numbers are little-endian. A frame that is cut off or does not match its sum ends
//! the log: a crash left it half written.

use bytes::Bytes;
use kiln::{
    StepId, Timestamp,
    port::{LogBody, LogRecord, Offset, RECORD_BYTES_MAX, StepEnd, Stream},
};
use std::io::{self, Read};

/// What every file begins with: the name of the format and its version.
pub(super) const HEADER: &[u8; 8] = b"KILNLOG1";
/// No frame is longer: a record with its fields, and room for a long reason of a gap.
const FRAME_MAX: usize = RECORD_BYTES_MAX + 64 * 1024;

const CLOSED: u8 = 0;
const STARTED: u8 = 1;
const STDOUT: u8 = 2;
const STDERR: u8 = 3;
const SYSTEM: u8 = 4;
const PROGRESS: u8 = 5;
const GAP: u8 = 6;
const SUCCEEDED: u8 = 7;
const FAILED: u8 = 8;

/// One frame, read.
pub(super) enum Frame {
    Record(LogRecord),
    Closed,
}

fn frame(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    body(out);
    let length = (out.len() - start - 8) as u32;
    let sum = crc32fast::hash(&out[start + 8..]);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
}

/// Adds the frame of a record.
pub(super) fn write(out: &mut Vec<u8>, record: &LogRecord) {
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
                out.extend(why.chars().take(1000).collect::<String>().bytes());
            }
            _ => {}
        }
    });
}

/// Adds the frame that closes a log.
pub(super) fn write_closed(out: &mut Vec<u8>) {
    frame(out, |out| out.push(CLOSED));
}

/// Reads frames one by one.
pub(super) struct Frames<R> {
    source: R,
    place: u64,
    at_start: bool,
}

impl<R: Read> Frames<R> {
    /// Reads from a source; `at_start` says that the header comes first.
    pub(super) fn new(source: R, at_start: bool) -> Self {
        Self { source, place: 0, at_start }
    }

    /// How many bytes the whole frames took that were read, and the header.
    pub(super) fn place(&self) -> u64 {
        self.place
    }

    /// The next whole frame; none at the end, or where a crash cut one off.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        if std::mem::take(&mut self.at_start) {
            let mut header = [0; 8];
            if !fill(&mut self.source, &mut header)? {
                return Ok(None);
            }
            if &header != HEADER {
                return Err(io::Error::other("this is no log, or one of a newer version"));
            }
            self.place = 8;
        }
        let mut head = [0; 8];
        if !fill(&mut self.source, &mut head)? {
            return Ok(None);
        }
        let [a, b, c, d, rest @ ..] = head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length == 0 || length > FRAME_MAX {
            return Ok(None);
        }
        let mut body = vec![0; length];
        if !fill(&mut self.source, &mut body)? || crc32fast::hash(&body) != u32::from_le_bytes(rest)
        {
            return Ok(None);
        }
        let Some(frame) = parse(Bytes::from(body)) else { return Ok(None) };
        self.place += 8 + length as u64;
        Ok(Some(frame))
    }
}

/// Fills a buffer; `false` if the source ends before.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match source.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}

fn parse(body: Bytes) -> Option<Frame> {
    let (&kind, fields) = body.split_first()?;
    if kind == CLOSED {
        return Some(Frame::Closed);
    }
    let number = |at: usize| Some(u64::from_le_bytes(fields.get(at..at + 8)?.try_into().ok()?));
    let step = StepId(u16::from_le_bytes(fields.get(16..18)?.try_into().ok()?));
    let (at, time, attempt) = (Offset(number(0)?), Timestamp(number(8)?), *fields.get(18)?);
    let rest = body.slice(20..);
    let output =
        |stream, data: Bytes| (!data.is_empty()).then_some(LogBody::Bytes { stream, data });
    let body = match kind {
        STARTED => LogBody::Started,
        STDOUT => output(Stream::Stdout, rest)?,
        STDERR => output(Stream::Stderr, rest)?,
        SYSTEM => output(Stream::System, rest)?,
        PROGRESS => LogBody::Progress(serde_json::from_slice(&rest).ok()?),
        GAP => {
            let (bytes, why) = rest.split_at_checked(8)?;
            let bytes = u64::from_le_bytes(bytes.try_into().ok()?);
            LogBody::Gap { bytes, why: String::from_utf8_lossy(why).into_owned() }
        }
        SUCCEEDED => LogBody::Ended(StepEnd::Succeeded),
        FAILED => LogBody::Ended(StepEnd::Failed),
        _ => return None,
    };
    Some(Frame::Record(LogRecord { at, time, step, attempt, body }))
}
