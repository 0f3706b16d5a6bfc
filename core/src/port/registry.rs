use crate::{
    BuildId, Result, SecretRef, StepCx,
    image::{Digest, ImageRef},
};
use async_trait::async_trait;
use std::fmt::Debug;

/// What to push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushSpec {
    /// The image on the host: its id or one of its names.
    pub image: String,
    /// Where to: `latest` if it has no tag. It has no digest.
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
    /// - A target with a digest is `Invalid`: nobody chooses the digest of what is pushed.
    /// - The names of images on the host are as before when the call returns, but that an image
    ///   without a name may keep that of the target. Pushes to one name do not disturb each other:
    ///   where two images are pushed to it at one time, each call returns the digest of its own
    ///   image or fails.
    /// - A cancelled call returns within a second with `Cancelled`, and the push ends.
    /// - Wrong or missing credentials are `Denied`; a registry that cannot be reached, or does not
    ///   speak TLS when it should, is `Unavailable` with a hint; an image the host does not have
    ///   is `NotFound`.
    /// - Credentials are used for this call alone and appear nowhere.
    async fn push(&self, cx: &StepCx, spec: &PushSpec) -> Result<Digest>;

    /// The digest a name has in its registry now; `None` if there is no such name. A name with a
    /// digest is asked for by it: the answer is that digest or `None`.
    async fn digest(&self, cx: &StepCx, of: &ImageRef) -> Result<Option<Digest>>;

    /// Removes what pushes of this build left behind on this host after a crash, such as a name
    /// that an image had for a push; never what is in a registry.
    ///
    /// # Promises
    ///
    /// - It is safe to call twice, or for a build nobody knows; nothing foreign is touched.
    async fn sweep(&self, build: &BuildId) -> Result<()>;
}
