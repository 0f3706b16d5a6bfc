//! A context as a tar archive, in pieces.

use super::{
    Entry, Files, Kind,
    root::{Opener, resized},
};
use bytes::Bytes;
use kiln::CancelToken;
use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};
use tokio::sync::mpsc;

/// How many bytes go to the engine at a time.
const CHUNK: usize = 256 * 1024;

impl Files {
    /// Writes the archive from a thread of its own; pieces arrive in the channel, and an error
    /// last if there is one. Stops when told to, or when nobody takes the pieces any more.
    pub fn stream(
        self,
        cancel: CancelToken,
        mut sent: impl FnMut(u64) + Send + 'static,
    ) -> mpsc::Receiver<io::Result<Bytes>> {
        let (to, from) = mpsc::channel(8);
        tokio::task::spawn_blocking(move || {
            let pieces = Pieces { to: to.clone(), buffer: Vec::with_capacity(CHUNK), cancel };
            if let Err(e) = self.write(pieces, &mut sent) {
                // Nobody listens any more: there is nobody to tell.
                let _ = to.blocking_send(Err(e));
            }
        });
        from
    }

    fn write(&self, pieces: Pieces, sent: &mut dyn FnMut(u64)) -> io::Result<()> {
        let mut tar = tar::Builder::new(pieces);
        let mut opener = self.root.as_deref().map(Opener::new);
        for entry in &self.entries {
            append(&mut tar, opener.as_mut(), entry, sent)?;
        }
        tar.into_inner()?.flush()
    }
}

fn append(
    tar: &mut tar::Builder<Pieces>,
    opener: Option<&mut Opener<'_>>,
    entry: &Entry,
    sent: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_mtime(u64::try_from(entry.modified / 1_000_000_000).unwrap_or(0));
    header.set_size(entry.bytes());
    match (&entry.kind, opener) {
        (Kind::Link(target), _) => {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, &entry.path, target)
        }
        (Kind::Directory, _) => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, &entry.path, io::empty())
        }
        (Kind::Held(content), _) => tar.append_data(&mut header, &entry.path, &content[..]),
        (Kind::File(bytes), Some(opener)) => {
            let file = opener.open(&entry.path, *bytes)?;
            let mut exact = Exact { file, left: *bytes, path: &entry.path, sent };
            tar.append_data(&mut header, &entry.path, &mut exact)
        }
        (Kind::File(_), None) => Err(io::ErrorKind::NotFound.into()),
    }
}

/// A file that must have the size that its header says.
struct Exact<'a> {
    file: File,
    left: u64,
    path: &'a Path,
    sent: &'a mut dyn FnMut(u64),
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        if n as u64 > self.left || (n == 0 && self.left > 0) {
            return Err(resized(self.path));
        }
        self.left -= n as u64;
        (self.sent)(n as u64);
        Ok(n)
    }
}

/// Cuts what is written into pieces and hands them on.
struct Pieces {
    to: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    cancel: CancelToken,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("stopped"));
        }
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.to.blocking_send(Ok(piece.into())).map_err(|_| io::Error::other("nobody listens"))
    }
}
