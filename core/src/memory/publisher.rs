use super::{MemoryHost, lock, sha256};
use crate::{Digest, Result, StepCx, StepKey, Target, port::Publisher};
use async_trait::async_trait;
use std::{collections::BTreeMap, sync::Mutex};

/// Clouds in memory. Plans call it `memory`.
#[derive(Debug, Default)]
pub struct MemoryPublisher {
    host: MemoryHost,
    published: Mutex<BTreeMap<StepKey, (Target, Digest)>>,
}

impl MemoryPublisher {
    /// Clouds that take the images of a host.
    pub fn new(host: &MemoryHost) -> Self {
        Self { host: host.clone(), published: Mutex::default() }
    }

    /// What was published, and where to.
    pub fn published(&self) -> Vec<(Target, Digest)> {
        lock(&self.published).values().cloned().collect()
    }
}

#[async_trait]
impl Publisher for MemoryPublisher {
    fn name(&self) -> &str {
        "memory"
    }

    async fn publish(&self, cx: &StepCx, image: &str, target: &Target) -> Result<Digest> {
        const OP: &str = "Publisher::publish";
        if cx.cancel.is_cancelled() {
            return Err(cx.cancelled(OP));
        }
        let id = self.host.lock().image(image, OP)?.id.clone();
        let mut published = lock(&self.published);
        let new = || (target.clone(), sha256(format!("{id} at {}", target.place).as_bytes()));
        Ok(published.entry(cx.key.clone()).or_insert_with(new).1.clone())
    }
}
