//! From the engine's words to those of the wire.

use crate::wire::{LogLine, Says};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kiln::{
    Error, ErrorKind, Result,
    port::{LogBody, LogRecord, PageToken},
};

pub(crate) fn line(record: &LogRecord) -> LogLine {
    let says = match &record.body {
        LogBody::Started => Says::Started,
        LogBody::Bytes { stream, data } => {
            let text = std::str::from_utf8(data).ok().map(str::to_owned);
            let base64 = text.is_none().then(|| STANDARD.encode(data));
            Says::Output { stream: *stream, text, base64 }
        }
        LogBody::Progress(progress) => Says::Progress(progress.clone()),
        LogBody::Gap { bytes, why } => Says::Gap { bytes: *bytes, why: why.clone() },
        LogBody::Ended(how) => Says::Ended { how: *how },
        // A kind this version does not know takes its place all the same.
        _ => Says::Gap { bytes: record.width(), why: "a record of a newer kind".into() },
    };
    LogLine {
        at: record.at.0,
        next: record.end().0,
        time: record.time,
        step: record.step.0,
        attempt: record.attempt,
        says,
    }
}

/// A page token as clients see it: nothing to read anything from.
pub(crate) fn cursor(token: &PageToken) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .encode(serde_json::to_vec(token).unwrap_or_default())
}

pub(crate) fn read_cursor(text: &str) -> Result<PageToken> {
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(|| Error::new(ErrorKind::Invalid, "list", "that is no cursor of this server"))
}
