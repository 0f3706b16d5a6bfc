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

/// Tells others.
///
/// A notifier that an engine has is told beside the work, for as long as a driver lives: what
/// fails then is not told again. With a [`Courier`](crate::Courier) delivery is at least once,
/// whoever dies meanwhile, and never holds up a build.
#[async_trait]
pub trait Notifier: Debug + Send + Sync + 'static {
    /// Delivers a notice.
    ///
    /// # Promises
    ///
    /// - Once it returned, the other side has the notice; told twice, it can tell by the key.
    /// - An error that is not [`Permanent`](crate::Status::Permanent) may pass; one that is means
    ///   that this notice will never be taken.
    async fn notify(&self, notice: &Notice) -> Result<()>;

    /// Whether it would tell anybody of such an event. Of what it would not, nobody need remind it.
    fn wants(&self, event: &Event) -> bool {
        let _ = event;
        true
    }
}
