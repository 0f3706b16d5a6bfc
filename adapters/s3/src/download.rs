//! Downloads that are compared to what was put.

use crate::{error::translate, record::Record};
use bytes::Bytes;
use futures::{
    TryStreamExt,
    stream::{self, BoxStream, StreamExt},
};
use kiln::{
    Digest, Error, ErrorKind, Result,
    port::{ArtifactKey, ByteStream},
};
use object_store::GetResult;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

struct Reading {
    op: &'static str,
    key: ArtifactKey,
    pieces: BoxStream<'static, object_store::Result<Bytes>>,
    patience: Duration,
    hash: Sha256,
    left: u64,
    digest: Digest,
}

/// The bytes of an artifact. They end with `Corrupt` if they are not what its record says.
pub(crate) fn verified(
    op: &'static str,
    key: &ArtifactKey,
    record: &Record,
    got: GetResult,
    patience: Duration,
) -> Result<ByteStream> {
    let reading = Reading {
        op,
        key: key.clone(),
        patience,
        hash: Sha256::new(),
        left: record.bytes,
        digest: record.digest.clone(),
        pieces: Box::pin(stream::empty()),
    };
    if got.meta.size != record.bytes {
        return Err(reading.corrupt());
    }
    let reading = Reading { pieces: got.into_stream(), ..reading };
    Ok(stream::try_unfold(reading, |mut reading| async move {
        Ok(reading.next().await?.map(|piece| (piece, reading)))
    })
    .boxed())
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let next = tokio::time::timeout(self.patience, self.pieces.try_next()).await;
        let next = next.map_err(|_| {
            Error::new(ErrorKind::Timeout, self.op, "the server stopped within the artifact")
                .with("artifact", &self.key)
        })?;
        let next = next.map_err(|e| translate(self.op, &self.key.to_string(), e))?;
        let Some(piece) = next else {
            let digest = Digest::sha256(self.hash.finalize_reset().into());
            let whole = self.left == 0 && digest == self.digest;
            return if whole { Ok(None) } else { Err(self.corrupt()) };
        };
        self.left = self.left.checked_sub(piece.len() as u64).ok_or_else(|| self.corrupt())?;
        self.hash.update(&piece);
        Ok(Some(piece))
    }

    fn corrupt(&self) -> Error {
        Error::new(ErrorKind::Corrupt, self.op, "the bytes of the artifact are not what was put")
            .with("artifact", &self.key)
            .hint("Build it again; somebody, or the server, changed the object in the bucket.")
    }
}
