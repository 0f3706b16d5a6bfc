//! Segments: the stored form of log records. `docs/formats.md` tells of it.
//!
//! A segment is a zstd frame with a check sum. Inside is a byte that is the version, then record
//! after record: what it is (1 byte), when (8 bytes), its step (2), its attempt (1), the length of
//! the rest (4) and the rest. Numbers are little-endian. Where a record stands follows from where
//! the segment does, and the widths before.

use bytes::Bytes;
use kiln::{
    StepId, Timestamp,
    port::{LogBody, LogRecord, Offset, RECORD_BYTES_MAX, StepEnd, Stream},
};
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

const VERSION: u8 = 1;
/// How many bytes of records one segment holds at most, if it is more than one record.
const SEGMENT_MAX: usize = 1 << 20;
/// How long the rest of a record may be.
const REST_MAX: usize = RECORD_BYTES_MAX;
/// How many characters of the reason of a gap are kept.
const WHY_MAX: usize = 1000;
/// The bytes of a record before its rest.
const FIELDS: usize = 16;

const STARTED: u8 = 1;
const STDOUT: u8 = 2;
const STDERR: u8 = 3;
const SYSTEM: u8 = 4;
const PROGRESS: u8 = 5;
const GAP: u8 = 6;
const SUCCEEDED: u8 = 7;
const FAILED: u8 = 8;

/// Some records in their stored form.
#[derive(Debug)]
pub(super) struct Segment {
    /// Where the first one stands.
    pub(super) at: Offset,
    /// How many bytes they are before they are packed.
    pub(super) size: usize,
    /// They.
    pub(super) packed: Vec<u8>,
}

/// About how many bytes records come to.
pub(super) fn size(records: &[LogRecord]) -> usize {
    let of = |r: &LogRecord| match &r.body {
        LogBody::Bytes { data, .. } => FIELDS + data.len(),
        _ => FIELDS,
    };
    records.iter().map(of).sum()
}

/// Packs records into as few segments as they need. The error says which record cannot be kept.
pub(super) fn pack(records: &[LogRecord]) -> Result<Vec<Segment>, &'static str> {
    let mut all = Vec::new();
    let mut raw = vec![VERSION];
    let mut begins = records.first().map_or(Offset(0), |r| r.at);
    for record in records {
        let before = raw.len();
        write(&mut raw, record)?;
        if raw.len() > SEGMENT_MAX && before > 1 {
            let rest = raw.split_off(before);
            all.push(packed(begins, &raw)?);
            begins = record.at;
            raw.truncate(1);
            raw.extend(rest);
        }
    }
    if raw.len() > 1 {
        all.push(packed(begins, &raw)?);
    }
    Ok(all)
}

fn packed(at: Offset, raw: &[u8]) -> Result<Segment, &'static str> {
    let pack = || {
        let mut compressor = Compressor::new(1)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        compressor.compress(raw)
    };
    let packed = pack().map_err(|_| "the records cannot be packed")?;
    Ok(Segment { at, size: raw.len(), packed })
}

fn write(out: &mut Vec<u8>, record: &LogRecord) -> Result<(), &'static str> {
    let (kind, rest): (u8, Bytes) = match &record.body {
        LogBody::Started => (STARTED, Bytes::new()),
        LogBody::Bytes { stream: Stream::Stdout, data } => (STDOUT, data.clone()),
        LogBody::Bytes { stream: Stream::Stderr, data } => (STDERR, data.clone()),
        LogBody::Bytes { stream: Stream::System, data } => (SYSTEM, data.clone()),
        LogBody::Progress(progress) => {
            let text = serde_json::to_vec(progress).map_err(|_| "a progress cannot be kept")?;
            (PROGRESS, text.into())
        }
        LogBody::Gap { bytes, why } => {
            let mut rest = bytes.to_le_bytes().to_vec();
            rest.extend(why.chars().take(WHY_MAX).collect::<String>().bytes());
            (GAP, rest.into())
        }
        LogBody::Ended(StepEnd::Succeeded) => (SUCCEEDED, Bytes::new()),
        LogBody::Ended(StepEnd::Failed) => (FAILED, Bytes::new()),
        _ => return Err("this kind of record cannot be kept"),
    };
    if rest.len() > REST_MAX {
        return Err("a record says too much");
    }
    out.push(kind);
    out.extend_from_slice(&record.time.0.to_le_bytes());
    out.extend_from_slice(&record.step.0.to_le_bytes());
    out.push(record.attempt);
    out.extend_from_slice(&(rest.len() as u32).to_le_bytes());
    out.extend_from_slice(&rest);
    Ok(())
}

impl Segment {
    /// The records. The error says what is damaged.
    pub(super) fn records(&self) -> Result<Vec<LogRecord>, String> {
        if self.size > SEGMENT_MAX + FIELDS + REST_MAX {
            return Err(format!("a segment claims {} bytes", self.size));
        }
        let unpacked = Decompressor::new().and_then(|mut d| d.decompress(&self.packed, self.size));
        let raw = Bytes::from(unpacked.map_err(|e| e.to_string())?);
        if raw.first() != Some(&VERSION) {
            return Err("a segment is of an unknown version".to_owned());
        }
        let mut records = Vec::new();
        let (mut left, mut at) = (raw.slice(1..), self.at);
        while !left.is_empty() {
            let record = read(&mut left, at).ok_or("a record is damaged")?;
            at = record.end();
            records.push(record);
        }
        Ok(records)
    }
}

/// Takes so many bytes off.
fn take<const N: usize>(left: &mut Bytes) -> Option<[u8; N]> {
    let taken = left.get(..N)?.try_into().ok()?;
    *left = left.slice(N..);
    Some(taken)
}

/// Takes one record off; none if there is no whole one.
fn read(left: &mut Bytes, at: Offset) -> Option<LogRecord> {
    let [kind] = take(left)?;
    let time = Timestamp(u64::from_le_bytes(take(left)?));
    let step = StepId(u16::from_le_bytes(take(left)?));
    let [attempt] = take(left)?;
    let length = u32::from_le_bytes(take(left)?) as usize;
    if length > left.len() {
        return None;
    }
    let mut rest = left.split_to(length);
    let on = |stream| LogBody::Bytes { stream, data: rest.clone() };
    let body = match kind {
        STARTED => LogBody::Started,
        STDOUT => on(Stream::Stdout),
        STDERR => on(Stream::Stderr),
        SYSTEM => on(Stream::System),
        PROGRESS => LogBody::Progress(serde_json::from_slice(&rest).ok()?),
        GAP => {
            let bytes = u64::from_le_bytes(take(&mut rest)?);
            LogBody::Gap { bytes, why: String::from_utf8(rest.to_vec()).ok()? }
        }
        SUCCEEDED => LogBody::Ended(StepEnd::Succeeded),
        FAILED => LogBody::Ended(StepEnd::Failed),
        _ => return None,
    };
    // Offsets that run over, or output that is none, no sink takes.
    at.0.checked_add(body.width())?;
    Some(LogRecord { at, time, step, attempt, body })
}
