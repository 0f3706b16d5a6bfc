use crate::{
    Result, SecretRef, StepCx,
    image::{Digest, ImageRef},
};
use async_trait::async_trait;
use std::fmt::Debug;

/// What to push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushSpec {
    /// The image on the host: its id or one of its names.
    pub image: String,
    /// Where to; `latest` if it has no tag.
    pub to: ImageRef,
    /// Credentials for this push alone; the host's own logins without it.
    pub credentials: Option<SecretRef>,
}

/// Sends images to registries.
#[async_trait]
pub trait Registry: Debug + Send + Sync + 'static {
    /// Pushes an image and returns the digest of its manifest in the registry.
    ///
    /// # Promises
    ///
    /// - Pushing twice gives the same digest.
    /// - Wrong or missing credentials are `Denied`; a registry that cannot be reached, or does not
    ///   speak TLS when it should, is `Unavailable` with a hint; an image the host does not have
    ///   is `NotFound`.
    /// - Credentials are used for this call alone and appear nowhere.
    async fn push(&self, cx: &StepCx, spec: &PushSpec) -> Result<Digest>;

    /// The digest a name has in its registry now; `None` if there is no such name.
    async fn digest(&self, cx: &StepCx, of: &ImageRef) -> Result<Option<Digest>>;
}
