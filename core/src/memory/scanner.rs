use super::{MemoryHost, lock};
use crate::{Report, Result, Severity, StepCx, port::Scanner};
use async_trait::async_trait;
use std::{collections::BTreeMap, sync::Mutex};

/// Finds what it was told to find.
#[derive(Debug, Default)]
pub struct MemoryScanner {
    host: MemoryHost,
    findings: Mutex<BTreeMap<Severity, u32>>,
}

impl MemoryScanner {
    /// A scanner for the images of a host that finds nothing.
    pub fn new(host: &MemoryHost) -> Self {
        Self { host: host.clone(), findings: Mutex::default() }
    }

    /// Finds so many of a severity from now on, in every image.
    pub fn find(&self, severity: Severity, count: u32) {
        lock(&self.findings).insert(severity, count);
    }
}

#[async_trait]
impl Scanner for MemoryScanner {
    async fn scan(&self, cx: &StepCx, image: &str) -> Result<Report> {
        const OP: &str = "Scanner::scan";
        if cx.cancel.is_cancelled() {
            return Err(cx.cancelled(OP));
        }
        self.host.lock().image(image, OP)?;
        Ok(Report { scanner: "memory".into(), findings: lock(&self.findings).clone() })
    }
}
