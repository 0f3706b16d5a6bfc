use crate::{
    Owner, Result,
    secret::{Secret, SecretRef},
};
use async_trait::async_trait;
use std::fmt::Debug;

/// Knows the values of secrets. Plans and journals hold references only.
#[async_trait]
pub trait Secrets: Debug + Send + Sync + 'static {
    /// The value of a secret for builds of an owner; `NotFound` if there is none for that owner.
    async fn reveal(&self, owner: &Owner, secret: &SecretRef) -> Result<Secret>;
}
