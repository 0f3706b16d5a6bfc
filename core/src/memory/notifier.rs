use super::lock;
use crate::{
    Result,
    port::{Notice, Notifier},
};
use async_trait::async_trait;
use std::sync::Mutex;

/// Collects notices in memory.
#[derive(Debug, Default)]
pub struct MemoryNotifier(Mutex<Vec<Notice>>);

impl MemoryNotifier {
    /// What was told so far, in order.
    pub fn notices(&self) -> Vec<Notice> {
        lock(&self.0).clone()
    }
}

#[async_trait]
impl Notifier for MemoryNotifier {
    async fn notify(&self, notice: &Notice) -> Result<()> {
        lock(&self.0).push(notice.clone());
        Ok(())
    }
}
