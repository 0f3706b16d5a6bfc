//! Segments: the files of one log, each named after the offset at which it begins.

use crate::dir::Dir;
use kiln::{BuildId, port::Offset};
use std::{
    io,
    path::{Path, PathBuf},
};

/// A segment is not written on once it has so many bytes.
pub(super) const SEGMENT_BYTES: u64 = 8 << 20;
/// The file in the directory of a log that its writers lock.
pub(super) const LOCK: &str = "lock";

/// One file of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The offset at which it begins.
    pub(super) start: Offset,
    /// Whether it is compressed.
    pub(super) packed: bool,
}

impl Segment {
    pub(super) fn plain(start: Offset) -> Self {
        Self { start, packed: false }
    }

    pub(super) fn name(self) -> String {
        let end = if self.packed { "klog.zst" } else { "klog" };
        format!("{:020}.{end}", self.start.0)
    }

    fn parse(name: &str) -> Option<Self> {
        let (digits, end) = name.split_once('.')?;
        let packed = match end {
            "klog" => false,
            "klog.zst" => true,
            _ => return None,
        };
        let whole = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
        Some(Self { start: Offset(digits.parse().ok().filter(|_| whole)?), packed })
    }

    /// The segments of a log in order. One that is there in both forms counts as packed: a packed
    /// one is whole once it has its name.
    pub(super) fn list(dir: &Dir) -> io::Result<Vec<Self>> {
        let names = dir.names()?;
        let mut all: Vec<_> = names.iter().filter_map(|name| Self::parse(name)).collect();
        all.sort_by_key(|s| (s.start, !s.packed));
        all.dedup_by_key(|s| s.start);
        Ok(all)
    }
}

/// Where the files of a log are.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    /// The directory of all logs.
    pub(super) above: PathBuf,
    /// The directory of this log.
    pub(super) directory: PathBuf,
    /// The log as version 1 had it while it was written.
    pub(super) old: PathBuf,
    /// The log as version 1 had it once it was closed.
    pub(super) old_packed: PathBuf,
}

impl Paths {
    pub(super) fn new(above: &Path, build: &BuildId) -> Self {
        let path = |end| above.join(format!("{build}{end}"));
        Self {
            above: above.to_owned(),
            directory: path(".log"),
            old: path(".klog"),
            old_packed: path(".klog.zst"),
        }
    }
}
