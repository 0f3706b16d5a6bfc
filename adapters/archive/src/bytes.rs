//! The bytes of an archive on their way to the thread that unpacks them.

use bytes::{Buf, Bytes};
use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, BufReader, Read};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Bytes from a channel, hashed as they are read.
pub(crate) struct Hashed {
    from: Receiver<Bytes>,
    piece: Bytes,
    hash: Sha256,
}

impl Hashed {
    /// Two ends: what is sent into one is read from the other.
    pub(crate) fn channel() -> (Sender<Bytes>, Self) {
        let (to, from) = channel(4);
        (to, Self { from, piece: Bytes::new(), hash: Sha256::new() })
    }

    /// Reads to the end and tells the digest of everything, as `sha256:…`.
    pub(crate) fn digest(mut self) -> io::Result<String> {
        io::copy(&mut self, &mut io::sink())?;
        let hash = self.hash.finalize();
        Ok(hash.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}")))
    }
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.from.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.piece.len());
        buffer[..n].copy_from_slice(&self.piece[..n]);
        self.hash.update(&self.piece[..n]);
        self.piece.advance(n);
        Ok(n)
    }
}

/// Gives the plain archive, however it is compressed, to `work`.
pub(crate) fn decoded<T>(
    from: &mut Hashed,
    work: impl FnOnce(&mut dyn Read) -> kiln::Result<T>,
) -> kiln::Result<T> {
    let failed = |e| crate::error::io("reading the archive", e);
    let mut from = BufReader::with_capacity(128 << 10, from);
    let head = from.fill_buf().map_err(failed)?;
    match head {
        [0x1f, 0x8b, ..] => work(&mut MultiGzDecoder::new(from)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(from).map_err(failed)?;
            // 128 MiB, which every level but the ultra ones keeps to.
            decoder.window_log_max(27).map_err(failed)?;
            work(&mut decoder)
        }
        [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', ..] | [b'P', b'K', 3, 4, ..] => {
            let message = "the archive is neither plain tar nor compressed by gzip or zstd";
            Err(kiln::Error::new(kiln::ErrorKind::Unsupported, crate::error::FETCH, message))
        }
        _ => work(&mut from),
    }
}
