//! Work on files, away from the threads that serve everybody.

use crate::error::translate;
use bytes::Bytes;
use futures::StreamExt;
use kiln::{Error, ErrorKind, Result, port::ByteStream};
use std::{fs::File, io::Read, path::PathBuf};

/// How many bytes of a file are in memory at once.
const PIECE_BYTES: u64 = 256 * 1024;

/// Runs what may wait for a disk. If the caller goes away, it is done all the same.
pub(crate) async fn blocking<T: Send + 'static>(
    op: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::new(ErrorKind::Unexpected, op, e.to_string()))?
}

/// The first bytes of a file, and fewer if there are not so many. A file that grows meanwhile ends
/// all the same.
pub(crate) fn pieces(op: &'static str, path: PathBuf, file: File, bytes: u64) -> ByteStream {
    futures::stream::try_unfold((file, bytes), move |(mut file, left)| {
        let path = path.clone();
        blocking(op, move || {
            let mut piece = Vec::with_capacity(left.min(PIECE_BYTES) as usize);
            let n = (&mut file)
                .take(left.min(PIECE_BYTES))
                .read_to_end(&mut piece)
                .map_err(|e| translate(op, &path, e))?;
            Ok((n > 0).then(|| (Bytes::from(piece), (file, left - n as u64))))
        })
    })
    .boxed()
}
