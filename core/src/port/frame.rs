//! Log records as bytes, for the way from one process to another: `docs/agent.md` has the format.

use super::{LogBody, LogRecord, Offset, StepEnd, Stream};
use crate::{Error, ErrorKind, Result, StepId, Timestamp};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What a frame holds before what its record says: kind, offset, time, step, attempt.
const HEAD: usize = 1 + 8 + 8 + 2 + 1;

const STARTED: u8 = 1;
const STDOUT: u8 = 2;
const STDERR: u8 = 3;
const SYSTEM: u8 = 4;
const PROGRESS: u8 = 5;
const GAP: u8 = 6;
const SUCCEEDED: u8 = 7;
const FAILED: u8 = 8;

/// Writes records as frames, one after the other.
pub fn pack(records: &[LogRecord]) -> Bytes {
    let mut out = BytesMut::new();
    for record in records {
        let (kind, rest): (u8, Bytes) = match &record.body {
            LogBody::Started => (STARTED, Bytes::new()),
            LogBody::Bytes { stream, data } => {
                let kind = match stream {
                    Stream::Stdout => STDOUT,
                    Stream::Stderr => STDERR,
                    Stream::System => SYSTEM,
                };
                (kind, data.clone())
            }
            // Texts and numbers are always JSON.
            LogBody::Progress(p) => (PROGRESS, serde_json::to_vec(p).unwrap_or_default().into()),
            LogBody::Gap { bytes, why } => {
                (GAP, [&bytes.to_le_bytes()[..], why.as_bytes()].concat().into())
            }
            LogBody::Ended(StepEnd::Succeeded) => (SUCCEEDED, Bytes::new()),
            LogBody::Ended(StepEnd::Failed) => (FAILED, Bytes::new()),
        };
        out.put_u32_le((HEAD + rest.len()) as u32);
        out.put_u8(kind);
        out.put_u64_le(record.at.0);
        out.put_u64_le(record.time.0);
        out.put_u16_le(record.step.0);
        out.put_u8(record.attempt);
        out.put(rest);
    }
    out.freeze()
}

/// Reads what [`pack`] wrote; output is shared with the bytes, not copied.
///
/// `Invalid` if it is something else, and `Unsupported` for a kind of record that only a newer
/// version knows. Whether the records follow each other is for the sink to judge.
pub fn unpack(mut bytes: Bytes) -> Result<Vec<LogRecord>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let length = bytes.try_get_u32_le().map_err(|_| broken())? as usize;
        if length < HEAD || length > bytes.len() {
            return Err(broken());
        }
        records.push(record(bytes.split_to(length))?);
    }
    Ok(records)
}

fn record(mut frame: Bytes) -> Result<LogRecord> {
    let kind = frame.get_u8();
    let (at, time) = (Offset(frame.get_u64_le()), Timestamp(frame.get_u64_le()));
    let (step, attempt) = (StepId(frame.get_u16_le()), frame.get_u8());
    let output = |stream| LogBody::Bytes { stream, data: frame.clone() };
    let body = match kind {
        STARTED => LogBody::Started,
        STDOUT => output(Stream::Stdout),
        STDERR => output(Stream::Stderr),
        SYSTEM => output(Stream::System),
        PROGRESS => LogBody::Progress(serde_json::from_slice(&frame).map_err(|_| broken())?),
        GAP => {
            let bytes = frame.try_get_u64_le().map_err(|_| broken())?;
            let why = String::from_utf8(frame.to_vec()).map_err(|_| broken())?;
            LogBody::Gap { bytes, why }
        }
        SUCCEEDED => LogBody::Ended(StepEnd::Succeeded),
        FAILED => LogBody::Ended(StepEnd::Failed),
        _ => {
            let message = "the log holds a kind of record that this version does not know";
            return Err(Error::new(ErrorKind::Unsupported, "unpack", message)
                .with("kind", kind)
                .hint("Bring server and agents to the same version."));
        }
    };
    Ok(LogRecord { at, time, step, attempt, body })
}

fn broken() -> Error {
    Error::new(ErrorKind::Invalid, "unpack", "the bytes are no row of log records")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::{Progress, ProgressUnit};
    use proptest::prelude::*;

    fn bodies() -> Vec<LogBody> {
        let progress = |total| Progress {
            item: "layer \u{1F525}".into(),
            action: "Pulling \"x\"".into(),
            done: 7,
            total,
            unit: ProgressUnit::Bytes,
        };
        let output = |stream, data: &'static [u8]| LogBody::Bytes { stream, data: data.into() };
        vec![
            LogBody::Started,
            output(Stream::Stdout, b"\0\xff\n"),
            output(Stream::Stderr, b"e"),
            output(Stream::System, b"s"),
            LogBody::Progress(progress(None)),
            LogBody::Progress(progress(Some(9))),
            LogBody::Gap { bytes: 1 << 40, why: "the disk is full \u{1F525}".into() },
            LogBody::Ended(StepEnd::Succeeded),
            LogBody::Ended(StepEnd::Failed),
        ]
    }

    fn records() -> Vec<LogRecord> {
        let mut at = Offset(1 << 33);
        let record = |body| {
            let (time, step) = (Timestamp(1 << 41), StepId(4095));
            let record = LogRecord { at, time, step, attempt: 3, body };
            at = record.end();
            record
        };
        bodies().into_iter().map(record).collect()
    }

    #[test]
    fn records_come_back_as_they_were() {
        assert_eq!(unpack(pack(&records())).unwrap(), records());
        assert_eq!(unpack(Bytes::new()).unwrap(), []);
    }

    #[test]
    fn what_is_cut_or_unknown_is_refused() {
        let whole = pack(&records());
        let mut ends = vec![0];
        for record in &records() {
            ends.push(ends[ends.len() - 1] + pack(std::slice::from_ref(record)).len());
        }
        for cut in (0..whole.len()).filter(|cut| !ends.contains(cut)) {
            assert_eq!(unpack(whole.slice(..cut)).unwrap_err().kind(), ErrorKind::Invalid, "{cut}");
        }
        let mut newer = BytesMut::from(&whole[..]);
        newer[4] = 99;
        assert_eq!(unpack(newer.freeze()).unwrap_err().kind(), ErrorKind::Unsupported);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(records) = unpack(bytes.clone().into()) {
                prop_assert!(pack(&records).len() >= records.len() * (4 + HEAD));
            }
        }
    }
}
