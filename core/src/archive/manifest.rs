//! The manifest of an archived log, in JSON; see `docs/formats.md`.

use crate::{
    BuildId, Digest, Error, ErrorKind, RelPath, Result,
    port::{ArtifactKey, Offset},
};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// The version of manifests, and of the segments they name.
const VERSION: u32 = 1;
/// No manifest is longer, in bytes; one of a log of 100 GiB has a tenth.
pub(super) const MANIFEST_MAX: u64 = 32 << 20;

/// What an archived log is made of. Once it is there, the log has moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    version: u32,
    build: BuildId,
    /// Where the log ends.
    pub(super) end: Offset,
    /// In order, without a gap.
    pub(super) segments: Vec<Part>,
}

/// A segment of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// Where its first record stands.
    pub(super) start: Offset,
    /// Its length as it is stored, in bytes.
    pub(super) bytes: u64,
    /// SHA-256 of these bytes.
    pub(super) digest: Digest,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Manifest {
    pub(super) fn new(build: BuildId, end: Offset, segments: Vec<Part>) -> Self {
        Self { version: VERSION, build, end, segments }
    }

    /// Reads a manifest, which may be anything.
    pub(super) fn read(build: &BuildId, text: &[u8]) -> Result<Self> {
        let versioned: Versioned = serde_json::from_slice(text).map_err(|_| corrupt(build))?;
        if versioned.version > VERSION {
            let message = "a newer version of Kiln archived the log";
            return Err(Error::new(ErrorKind::Unsupported, OP, message)
                .with("build", build)
                .with("version", versioned.version)
                .hint("Use that version, or a later one."));
        }
        let manifest: Self = serde_json::from_slice(text).map_err(|_| corrupt(build))?;
        let starts = || manifest.segments.iter().map(|part| part.start);
        let ordered = starts().zip(starts().skip(1)).all(|(a, b)| a < b);
        let whole = starts().next().unwrap_or(manifest.end) == Offset(0)
            && starts().next_back().is_none_or(|last| last < manifest.end);
        if manifest.build == *build && ordered && whole {
            Ok(manifest)
        } else {
            Err(corrupt(build))
        }
    }

    pub(super) fn write(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|e| Error::new(ErrorKind::Unexpected, OP, "this is no JSON").source(e))
    }

    /// The segment that holds an offset, by its place; none at the end.
    pub(super) fn segment_at(&self, at: Offset) -> Option<usize> {
        let after = self.segments.partition_point(|part| part.start <= at);
        (at < self.end).then(|| after.checked_sub(1)).flatten()
    }
}

/// The operation that errors of reading an archive name.
pub(super) const OP: &str = "LogReader::read";

/// The archive of a log is not what was written.
pub(super) fn corrupt(build: &BuildId) -> Error {
    let message = "the archive of the log is not what was written";
    Error::new(ErrorKind::Corrupt, OP, message).with("build", build)
}

/// The build id under which the log of a build is archived: as long for any build, and none that a
/// build has, since those of builds are digits only or chosen by whoever embeds Kiln.
pub(super) fn shelf_of(build: &BuildId) -> Result<BuildId> {
    let hash = sha2::Sha256::digest(build.as_str());
    let hex: String = hash.iter().take(30).map(|b| format!("{b:02x}")).collect();
    BuildId::new(format!("log.{hex}"))
        .map_err(|e| Error::new(ErrorKind::Unexpected, OP, e.to_string()))
}

/// The key of a part of an archive: `manifest`, or a segment.
pub(super) fn key(build: &BuildId, name: &str) -> Result<ArtifactKey> {
    let name =
        RelPath::new(name).map_err(|e| Error::new(ErrorKind::Unexpected, OP, e.to_string()))?;
    Ok(ArtifactKey { build: shelf_of(build)?, name })
}

/// The key of the segment that begins at an offset.
pub(super) fn segment_key(build: &BuildId, start: Offset) -> Result<ArtifactKey> {
    key(build, &format!("segments/{:020}", start.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_manifest_is_refused() {
        let build = BuildId::new("b").unwrap();
        let part = |start| {
            let digest = Digest::sha256([7; 32]);
            Part { start: Offset(start), bytes: 9, digest }
        };
        let good = Manifest::new(build.clone(), Offset(20), vec![part(0), part(10)]);
        let text = String::from_utf8(good.write().unwrap()).unwrap();
        assert_eq!(Manifest::read(&build, text.as_bytes()).unwrap(), good);
        assert_eq!(good.segment_at(Offset(9)), Some(0));
        assert_eq!(good.segment_at(Offset(10)), Some(1));
        assert_eq!(good.segment_at(Offset(20)), None);
        for bad in [
            text.replace("\"start\":10", "\"start\":0"),
            text.replace("\"start\":10", "\"start\":20"),
            text.replace("\"start\":0", "\"start\":1"),
            text.replace("\"build\":\"b\"", "\"build\":\"c\""),
            text[1..].to_owned(),
        ] {
            assert_eq!(
                Manifest::read(&build, bad.as_bytes()).unwrap_err().kind(),
                ErrorKind::Corrupt
            );
        }
        let newer = text.replace("\"version\":1", "\"version\":2");
        let e = Manifest::read(&build, newer.as_bytes()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported);
    }
}
