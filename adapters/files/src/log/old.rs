//! Logs of version 1: one file each, which is packed as a whole once it is closed.

use super::{
    frame::{self, Frames, HEADER, Seen},
    segment::{Paths, Segment},
    trouble::Trouble,
};
use crate::{dir::Dir, half::Half};
use kiln::port::Offset;
use std::{
    fs::{self, File},
    io::{self, BufReader, Write},
    path::Path,
    sync::Arc,
};

const BUFFER_BYTES: usize = 1 << 18;

/// A log of version 1.
pub(super) enum Old {
    /// One that was not packed yet.
    Plain(File),
    /// The frames of one that was, from its beginning.
    Packed(Frames<BufReader<zstd::Decoder<'static, BufReader<File>>>>),
}

/// Opens a log of version 1, if there is one.
pub(super) fn open(paths: &Paths) -> io::Result<Option<Old>> {
    let open = |path: &Path| match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    };
    if let Some(file) = open(&paths.old_packed)? {
        let text = BufReader::with_capacity(BUFFER_BYTES, zstd::Decoder::new(file)?);
        return Ok(Some(Old::Packed(Frames::old(text, 0, Offset(0)))));
    }
    Ok(open(&paths.old)?.map(Old::Plain))
}

/// Where a log ends that is packed.
pub(super) fn end(paths: &Paths) -> Result<Offset, Trouble> {
    match open(paths)? {
        Some(Old::Packed(mut frames)) => {
            while frames.next()?.is_some() {}
            Ok(frames.at())
        }
        _ => Ok(Offset(0)),
    }
}

/// Writes a log that was not packed yet anew, as the first segment of the directory of a log.
pub(super) fn bring_in(dir: &Arc<Dir>, paths: &Paths) -> Result<(), Trouble> {
    let text = BufReader::with_capacity(BUFFER_BYTES, File::open(&paths.old)?);
    let mut frames = Frames::old(text, 0, Offset(0));
    let mut half = Half::create(dir.clone())?;
    let mut out = HEADER.to_vec();
    while let Some(seen) = frames.next()? {
        match seen {
            Seen::Closed => frame::write_mark(&mut out, frame::CLOSED),
            Seen::Sealed => frame::write_mark(&mut out, frame::SEALED),
            Seen::Record(_) => frame::copy(&mut out, &frames),
        }
        if out.len() >= BUFFER_BYTES {
            half.file.write_all(&out)?;
            out.clear();
        }
    }
    half.file.write_all(&out)?;
    half.keep(dir, &Segment::plain(Offset(0)).name())?;
    Ok(fs::remove_file(&paths.old)?)
}
