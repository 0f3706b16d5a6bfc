//! How the records of a log are stored: some of them are a piece, one entry of a stream. Numbers are
//! little-endian; `docs/redis.md` has the layout.

use bytes::{Buf, Bytes};
use kiln::{
    Error, ErrorKind, Result, StepId, Timestamp,
    port::{LogBody, LogRecord, Offset, RECORD_BYTES_MAX, StepEnd, Stream},
};

/// Once a piece is as long as this, it gets no more records; in bytes.
const PIECE: usize = 64 * 1024;
/// How many bytes stand before the body of a record: kind, time, step, attempt, length.
const HEAD: usize = 1 + 8 + 2 + 1 + 4;
/// How many bytes a body may have.
const BODY_MAX: usize = 2 * RECORD_BYTES_MAX;

const STARTED: u8 = 1;
const STDOUT: u8 = 2;
const STDERR: u8 = 3;
const SYSTEM: u8 = 4;
const PROGRESS: u8 = 5;
const GAP: u8 = 6;
const SUCCEEDED: u8 = 7;
const FAILED: u8 = 8;

/// Checks that records follow each other from an offset on, and says where they end.
pub(crate) fn check(op: &'static str, at: Offset, records: &[LogRecord]) -> Result<Offset> {
    let refuse = |why| Error::new(ErrorKind::Invalid, op, why);
    let mut end = at;
    for record in records {
        if let LogBody::Bytes { data, .. } = &record.body
            && !(1..=RECORD_BYTES_MAX).contains(&data.len())
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
    Ok(end)
}

/// Records as pieces, each with its offset.
pub(crate) fn pieces(op: &'static str, records: &[LogRecord]) -> Result<Vec<(Offset, Vec<u8>)>> {
    let mut pieces: Vec<(Offset, Vec<u8>)> = Vec::new();
    for record in records {
        let (kind, body) = body(op, &record.body)?;
        let room = |piece: &&mut (Offset, Vec<u8>)| piece.1.len() + HEAD + body.len() <= PIECE;
        let piece = match pieces.last_mut().filter(room) {
            Some(piece) => &mut piece.1,
            None => &mut pieces.push_mut((record.at, Vec::new())).1,
        };
        piece.push(kind);
        piece.extend(record.time.0.to_le_bytes());
        piece.extend(record.step.0.to_le_bytes());
        piece.push(record.attempt);
        piece.extend((body.len() as u32).to_le_bytes());
        piece.extend(&body);
    }
    Ok(pieces)
}

fn body(op: &'static str, body: &LogBody) -> Result<(u8, Bytes)> {
    let (kind, body) = match body {
        LogBody::Started => (STARTED, Bytes::new()),
        LogBody::Bytes { stream, data } => {
            let kind = match stream {
                Stream::Stdout => STDOUT,
                Stream::Stderr => STDERR,
                Stream::System => SYSTEM,
            };
            (kind, data.clone())
        }
        LogBody::Progress(progress) => (PROGRESS, crate::error::json(op, progress)?.into()),
        LogBody::Gap { bytes, why } => {
            (GAP, [&bytes.to_le_bytes()[..], why.as_bytes()].concat().into())
        }
        LogBody::Ended(StepEnd::Succeeded) => (SUCCEEDED, Bytes::new()),
        LogBody::Ended(StepEnd::Failed) => (FAILED, Bytes::new()),
        _ => return Err(Error::new(ErrorKind::Unsupported, op, "a record is of a newer kind")),
    };
    if body.len() > BODY_MAX {
        let error = Error::new(ErrorKind::Invalid, op, "a record says too much");
        return Err(error.with("bytes_max", BODY_MAX));
    }
    Ok((kind, body))
}

/// The records of a piece, or what is wrong with it.
pub(crate) fn records(at: Offset, mut piece: Bytes) -> Result<Vec<LogRecord>, &'static str> {
    let (mut records, mut at) = (Vec::new(), at);
    while !piece.is_empty() {
        if piece.len() < HEAD {
            return Err("a record is cut off");
        }
        let kind = piece.get_u8();
        let (time, step) = (Timestamp(piece.get_u64_le()), StepId(piece.get_u16_le()));
        let (attempt, length) = (piece.get_u8(), piece.get_u32_le() as usize);
        if length > BODY_MAX || length > piece.len() {
            return Err("a record is cut off, or too long");
        }
        let body = unpacked(kind, piece.split_to(length))?;
        let record = LogRecord { at, time, step, attempt, body };
        at = Offset(at.0.checked_add(record.width()).ok_or("a record ends beyond all offsets")?);
        records.push(record);
    }
    Ok(records)
}

fn unpacked(kind: u8, mut body: Bytes) -> Result<LogBody, &'static str> {
    let output = |stream, data: Bytes| match (1..=RECORD_BYTES_MAX).contains(&data.len()) {
        true => Ok(LogBody::Bytes { stream, data }),
        false => Err("a record has no bytes, or too many"),
    };
    Ok(match kind {
        STARTED => LogBody::Started,
        STDOUT => output(Stream::Stdout, body)?,
        STDERR => output(Stream::Stderr, body)?,
        SYSTEM => output(Stream::System, body)?,
        PROGRESS => {
            LogBody::Progress(serde_json::from_slice(&body).map_err(|_| "a progress is none")?)
        }
        GAP if body.len() >= 8 => {
            let bytes = body.get_u64_le();
            let why = String::from_utf8(body.into()).map_err(|_| "a reason is no text")?;
            LogBody::Gap { bytes, why }
        }
        SUCCEEDED => LogBody::Ended(StepEnd::Succeeded),
        FAILED => LogBody::Ended(StepEnd::Failed),
        _ => return Err("a record is of no kind"),
    })
}

/// How much of a page a record takes, in bytes.
pub(crate) fn cost(record: &LogRecord) -> usize {
    match &record.body {
        LogBody::Bytes { data, .. } => HEAD + data.len(),
        _ => HEAD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever bytes a piece has, reading it ends, with records that follow each other or an error.
    #[test]
    fn no_piece_is_read_beyond_its_end() {
        let record = |at, body| LogRecord {
            at: Offset(at),
            time: Timestamp(7),
            step: StepId(1),
            attempt: 2,
            body,
        };
        let data = Bytes::from_static(b"hello");
        let all = [
            record(0, LogBody::Started),
            record(1, LogBody::Bytes { stream: Stream::Stderr, data }),
            record(6, LogBody::Gap { bytes: 9, why: "full".into() }),
        ];
        let [(at, piece)] = &pieces("test", &all).unwrap()[..] else { panic!("one piece") };
        assert_eq!(records(*at, Bytes::from(piece.clone())).unwrap(), all);
        let heads = [16, 16 + 21, piece.len()];
        for cut in 1..piece.len() {
            let read = records(*at, Bytes::copy_from_slice(&piece[..cut]));
            assert_eq!(read.is_ok(), heads.contains(&cut), "cut at {cut}");
        }
        for (i, byte) in (0..piece.len()).flat_map(|i| [0, 1, 9, 127, 255].map(|b| (i, b))) {
            let mut bent = piece.clone();
            bent[i] = byte;
            if let Ok(read) = records(Offset(u64::MAX - 40), bent.into()) {
                assert!(read.iter().zip(&read[1..]).all(|(a, b)| a.end() == b.at));
            }
        }
    }

    #[test]
    fn a_piece_is_no_longer_than_it_has_to_be() {
        let mut at = 0;
        let all: Vec<_> = [PIECE / 2, PIECE / 2 - 100, 100, RECORD_BYTES_MAX, 1]
            .map(|len| {
                let data = Bytes::from(vec![b'x'; len]);
                let body = LogBody::Bytes { stream: Stream::Stdout, data };
                let (step, time) = (StepId(0), Timestamp(0));
                let record = LogRecord { at: Offset(at), time, step, attempt: 1, body };
                at = record.end().0;
                record
            })
            .into();
        let lengths: Vec<_> =
            pieces("test", &all).unwrap().iter().map(|(_, piece)| piece.len()).collect();
        assert_eq!(
            lengths,
            [PIECE - 100 + 2 * HEAD, 100 + HEAD, RECORD_BYTES_MAX + HEAD, 1 + HEAD]
        );
    }
}
