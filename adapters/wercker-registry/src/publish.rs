//! Publishes steps: announce, send, confirm.

use crate::{
    HttpRegistry,
    error::PUBLISH,
    wire::{Announce, Announced, Done},
};
use bytes::Bytes;
use kiln::{Error, ErrorKind, Result};
use sha2::{Digest as _, Sha256};

/// How long the archive of a step may be, in bytes.
pub const PUBLISH_MAX: usize = 64 * 1024 * 1024;

/// A step that is to be published.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Who publishes it.
    pub owner: String,
    /// Its manifest: the text of `step.yml`.
    pub manifest: String,
    /// Its files: a tar archive, compressed by gzip.
    pub tarball: Bytes,
    /// Whether nobody else finds it.
    pub private: bool,
}

impl HttpRegistry {
    /// Publishes a step. The registry is told its digest and length, says where the files are to
    /// be put, and is told when they are there. It needs a [`token`](Self::token).
    ///
    /// A version that is there already is `AlreadyExists`. It is not tried again: a call that fails
    /// may be made anew as a whole.
    pub async fn publish(&self, step: &Publish) -> Result<()> {
        let error = |kind, message: &str| Error::new(kind, PUBLISH, message);
        let Some(token) = &self.token else {
            return Err(error(ErrorKind::Denied, "there is no token for the registry of steps")
                .hint("Give `auth-token`, by a variable that nobody sees."));
        };
        if step.tarball.is_empty() || step.tarball.len() > PUBLISH_MAX {
            let message = "the archive of the step is empty or too long";
            return Err(error(ErrorKind::Invalid, message)
                .with("bytes", step.tarball.len())
                .with("bytes_max", PUBLISH_MAX));
        }
        let hash = Sha256::digest(&step.tarball);
        let checksum: String = hash.iter().map(|b| format!("{b:02x}")).collect();
        let announce = Announce {
            checksum: &checksum,
            size: step.tarball.len(),
            manifest: &step.manifest,
            username: &step.owner,
            private: step.private,
        };
        let url = self.at(&["api", "publish"]);
        let answer = self.outward.post(PUBLISH, &url, &announce, token).await?;
        let wrong = || {
            let host = url.host_str().unwrap_or_default();
            error(ErrorKind::Corrupt, "the registry of steps did not say where to send it")
                .with("host", host)
        };
        let answer: Announced = serde_json::from_slice(&answer).map_err(|_| wrong())?;
        let to = self.base.join(&answer.upload_url).map_err(|_| wrong())?;
        let login = !to.username().is_empty() || to.password().is_some();
        let plain = to.scheme() == "http" && self.base.scheme() == "http";
        if !(to.scheme() == "https" || plain) || login || !to.has_host() {
            return Err(wrong());
        }
        self.outward.put(PUBLISH, &to, step.tarball.clone()).await?;
        let done = Done { token: &answer.token };
        let url = self.at(&["api", "publish", "done"]);
        self.outward.post(PUBLISH, &url, &done, token).await.map(|_| ())
    }
}
