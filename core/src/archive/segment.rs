//! Segments of archived logs: records one after the other; see `docs/formats.md`.

use crate::{
    StepId, Timestamp,
    port::{LogBody, LogRecord, Offset, RECORD_BYTES_MAX, StepEnd, Stream},
};
use bytes::{Buf, BufMut, Bytes};

/// What a segment begins with: the name of the format and its version.
const HEADER: &[u8; 8] = b"KILNSEG1";
/// A segment is ended by the record that makes it as long as this, in bytes, or longer.
pub(super) const SEGMENT_BYTES: usize = 8 << 20;
/// The bytes of a record before what it says: length, kind, time, step, attempt.
const FIELDS: usize = 4 + 1 + 8 + 2 + 1;

const STARTED: u8 = 1;
const STDOUT: u8 = 2;
const STDERR: u8 = 3;
const SYSTEM: u8 = 4;
const PROGRESS: u8 = 5;
const GAP: u8 = 6;
const SUCCEEDED: u8 = 7;
const FAILED: u8 = 8;

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Writing(Vec<u8>);

impl Writing {
    pub(super) fn new() -> Self {
        Self(HEADER.to_vec())
    }

    pub(super) fn add(&mut self, record: &LogRecord) {
        let progress = match &record.body {
            LogBody::Progress(progress) => serde_json::to_vec(progress).unwrap_or_default(),
            _ => Vec::new(),
        };
        let (kind, rest): (u8, &[u8]) = match &record.body {
            LogBody::Started => (STARTED, &[]),
            LogBody::Bytes { stream: Stream::Stdout, data } => (STDOUT, data),
            LogBody::Bytes { stream: Stream::Stderr, data } => (STDERR, data),
            LogBody::Bytes { stream: Stream::System, data } => (SYSTEM, data),
            LogBody::Progress(_) => (PROGRESS, &progress),
            LogBody::Gap { why, .. } => (GAP, why.as_bytes()),
            LogBody::Ended(StepEnd::Succeeded) => (SUCCEEDED, &[]),
            LogBody::Ended(StepEnd::Failed) => (FAILED, &[]),
        };
        let count = match &record.body {
            LogBody::Gap { bytes, .. } => Some(*bytes),
            _ => None,
        };
        let out = &mut self.0;
        out.put_u32_le((rest.len() + count.map_or(0, |_| 8)) as u32);
        out.put_u8(kind);
        out.put_u64_le(record.time.0);
        out.put_u16_le(record.step.0);
        out.put_u8(record.attempt);
        if let Some(count) = count {
            out.put_u64_le(count);
        }
        out.put_slice(rest);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == HEADER.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= SEGMENT_BYTES
    }

    pub(super) fn finish(self) -> Bytes {
        self.0.into()
    }
}

/// The records of a segment, one by one, sharing its bytes.
#[derive(Clone, Debug)]
pub(super) struct Records {
    rest: Bytes,
    at: Offset,
}

impl Records {
    /// The records of a segment whose first stands at an offset; none if this is no segment.
    pub(super) fn new(mut segment: Bytes, at: Offset) -> Option<Self> {
        if !segment.starts_with(HEADER) {
            return None;
        }
        segment.advance(HEADER.len());
        Some(Self { rest: segment, at })
    }

    /// Where the next record stands, or the segment ends.
    pub(super) fn at(&self) -> Offset {
        self.at
    }

    /// The next record; none at the end, and an error for anything else that was not written so.
    pub(super) fn next(&mut self) -> Result<Option<LogRecord>, Damaged> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let record = self.parse().ok_or(Damaged)?;
        self.at = Offset(self.at.0.checked_add(record.width()).ok_or(Damaged)?);
        Ok(Some(record))
    }

    fn parse(&mut self) -> Option<LogRecord> {
        let rest = &mut self.rest;
        if rest.len() < FIELDS {
            return None;
        }
        let length = rest.get_u32_le() as usize;
        let (kind, time) = (rest.get_u8(), Timestamp(rest.get_u64_le()));
        let (step, attempt) = (StepId(rest.get_u16_le()), rest.get_u8());
        if rest.len() < length {
            return None;
        }
        let mut said = rest.split_to(length);
        let output = |stream, data: Bytes| {
            let fits = (1..=RECORD_BYTES_MAX).contains(&data.len());
            fits.then_some(LogBody::Bytes { stream, data })
        };
        let body = match kind {
            STDOUT => output(Stream::Stdout, said)?,
            STDERR => output(Stream::Stderr, said)?,
            SYSTEM => output(Stream::System, said)?,
            PROGRESS => LogBody::Progress(serde_json::from_slice(&said).ok()?),
            GAP if said.len() >= 8 => {
                let bytes = said.get_u64_le();
                LogBody::Gap { bytes, why: String::from_utf8(said.to_vec()).ok()? }
            }
            STARTED => LogBody::Started,
            SUCCEEDED => LogBody::Ended(StepEnd::Succeeded),
            FAILED => LogBody::Ended(StepEnd::Failed),
            _ => return None,
        };
        Some(LogRecord { at: self.at, time, step, attempt, body })
    }
}

/// A segment is not what was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Damaged;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the bytes are, reading them ends, and without a panic.
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut segment = HEADER.to_vec();
            segment.extend(bytes);
            let mut records = Records::new(segment.into(), Offset(u64::MAX - 1000)).unwrap();
            while let Ok(Some(_)) = records.next() {}
        }
    }
}
