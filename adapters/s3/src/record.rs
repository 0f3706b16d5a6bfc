//! Records: what a bucket says of an artifact, in JSON; see `docs/formats.md`.
//!
//! A record is small and written in one request, so it is there as a whole or not at all, and it
//! names a content that is there already and never changes.

use crate::keys::record_name;
use kiln::{Digest, Error, ErrorKind, RelPath, Result};
use serde::{Deserialize, Serialize};

/// The version of records and notes.
const VERSION: u32 = 1;
/// No record or note is longer, in bytes: a name has at most 4,096, each at most 6 in JSON.
pub(crate) const RECORD_MAX: u64 = 32 * 1024;

/// What is kept of an artifact beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    pub(crate) name: RelPath,
    pub(crate) bytes: u64,
    pub(crate) digest: Digest,
    /// The last part of the key of the bytes.
    pub(crate) content: String,
}

/// What is kept of an upload until it is over, so that one that nobody ends can be ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    version: u32,
    /// The key that is uploaded.
    pub(crate) key: String,
    /// The server's name of the upload.
    pub(crate) upload: String,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Record {
    pub(crate) fn new(name: RelPath, bytes: u64, digest: Digest, content: String) -> Self {
        Self { version: VERSION, name, bytes, digest, content }
    }

    /// Reads a record that has a file name in the bucket.
    pub(crate) fn read(op: &'static str, file: &str, text: &[u8]) -> Result<Self> {
        let record: Self = read(op, file, text)?;
        if record_name(record.name.as_str()) != file || !is_id(&record.content) {
            return Err(corrupt(op, file));
        }
        Ok(record)
    }
}

impl Note {
    pub(crate) fn new(key: String, upload: String) -> Self {
        Self { version: VERSION, key, upload }
    }

    pub(crate) fn read(op: &'static str, file: &str, text: &[u8]) -> Result<Self> {
        read(op, file, text)
    }
}

/// The stored form of a record or a note.
pub(crate) fn write<T: Serialize>(op: &'static str, value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|e| Error::new(ErrorKind::Unexpected, op, "this is no JSON").source(e))
}

fn read<T: for<'a> Deserialize<'a>>(op: &'static str, file: &str, text: &[u8]) -> Result<T> {
    let versioned: Versioned = serde_json::from_slice(text).map_err(|_| corrupt(op, file))?;
    if versioned.version > VERSION {
        let message = "an artifact was stored by a newer version of Kiln";
        return Err(Error::new(ErrorKind::Unsupported, op, message)
            .with("version", versioned.version)
            .hint("Use that version, or a later one."));
    }
    serde_json::from_slice(text).map_err(|_| corrupt(op, file))
}

fn corrupt(op: &'static str, file: &str) -> Error {
    Error::new(ErrorKind::Corrupt, op, "the record of an artifact is not what was written")
        .with("record", file)
}

/// Whether this is the name of a content; the bucket is not trusted to lead elsewhere.
fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
