use crate::{Report, Result, StepCx};
use async_trait::async_trait;
use std::fmt::Debug;

/// Looks for known vulnerabilities in images.
#[async_trait]
pub trait Scanner: Debug + Send + Sync + 'static {
    /// Scans an image, named by its id or by one of its names.
    ///
    /// # Promises
    ///
    /// - Findings are an answer, never an error.
    async fn scan(&self, cx: &StepCx, image: &str) -> Result<Report>;
}
