use crate::Timestamp;
use async_trait::async_trait;
use std::{fmt::Debug, time::Duration};

/// Tells the time and waits. The engine reads no other clock.
#[async_trait]
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Returns when this much time has passed; not before, and soon after.
    async fn sleep(&self, time: Duration);
}
