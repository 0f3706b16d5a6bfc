use crate::{Result, StepCx, Target, image::Digest};
use async_trait::async_trait;
use std::fmt::Debug;

/// Makes images usable in places that are not registries, such as clouds.
#[async_trait]
pub trait Publisher: Debug + Send + Sync + 'static {
    /// What plans call it, in [`Target::publisher`].
    fn name(&self) -> &str;

    /// Publishes an image, named by its id or by one of its names.
    ///
    /// # Promises
    ///
    /// - Publishing twice under one [`StepKey`](crate::StepKey) makes one image there.
    async fn publish(&self, cx: &StepCx, image: &str, target: &Target) -> Result<Digest>;
}
