use super::BuildSummary;
use crate::{Event, Result, Seq};
use async_trait::async_trait;
use std::fmt::Debug;

/// Something that happened in a build, for others to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The build after it happened.
    pub build: BuildSummary,
    /// Its place in the journal. With the build's id it is the key by which a receiver can tell
    /// that it was told twice.
    pub seq: Seq,
    /// What happened.
    pub event: Event,
}

/// Tells others. Delivery is at least once for as long as a driver lives, and never holds up a build.
#[async_trait]
pub trait Notifier: Debug + Send + Sync + 'static {
    /// Delivers a notice.
    async fn notify(&self, notice: &Notice) -> Result<()>;
}
