//! Takes away what builds left here that are driven by nobody here.

use crate::kept::Kept;
use async_trait::async_trait;
use kiln::{BuildId, Result, Toolbox};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long a build that is not leased here may come back before what it left is removed: a build
/// that was given back is often leased by the same node again, and goes on with what runs.
const WAIT_FOR_IT: Duration = Duration::from_secs(20);

/// Knows which builds left something where this node works, beside their directories.
#[async_trait]
pub trait Leftovers: Debug + Send + Sync + 'static {
    /// Those builds.
    async fn builds(&self) -> Result<Vec<BuildId>>;
}

/// Sweeps what is left.
#[derive(Debug)]
pub(crate) struct Janitor {
    pub(crate) tools: Toolbox,
    pub(crate) kept: Arc<Kept>,
    pub(crate) leftovers: Option<Arc<dyn Leftovers>>,
}

impl Janitor {
    /// Sweeps for as long as it is polled.
    pub(crate) async fn work(&self) {
        let mut strangers = BTreeMap::new();
        loop {
            self.kept.settle_late().await;
            match self.round(&mut strangers).await {
                Ok(()) => {}
                Err(e) => tracing::warn!(error = ?e, "what is left here is not known"),
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn round(&self, strangers: &mut BTreeMap<BuildId, Instant>) -> Result<()> {
        let here = self.here().await?;
        strangers.retain(|build, _| here.contains(build) && !self.kept.has(build));
        for build in here {
            if self.kept.has(&build) {
                continue;
            }
            let since = *strangers.entry(build.clone()).or_insert_with(Instant::now);
            if since.elapsed() >= WAIT_FOR_IT {
                self.sweep_unless_leased(&build).await;
            }
        }
        Ok(())
    }

    async fn here(&self) -> Result<BTreeSet<BuildId>> {
        let mut here: BTreeSet<_> = self.tools.workspaces.list().await?.into_iter().collect();
        if let Some(leftovers) = &self.leftovers {
            here.extend(leftovers.builds().await?);
        }
        Ok(here)
    }

    async fn sweep_unless_leased(&self, build: &BuildId) {
        let _nobody_leases = self.kept.sweeping.lock().await;
        if self.kept.has(build) {
            return;
        }
        match self.sweep(build).await {
            Ok(()) => tracing::info!(%build, "swept: it is not driven here any more"),
            Err(e) => tracing::warn!(%build, error = ?e, "not everything was swept"),
        }
    }

    /// Removes what a build has on this machine; its journal and its log are not ours.
    pub(crate) async fn sweep(&self, build: &BuildId) -> Result<()> {
        for builder in &self.tools.builders {
            builder.sweep(build).await?;
        }
        if let Some(runtime) = &self.tools.runtime {
            runtime.sweep(build).await?;
        }
        if let Some(registry) = &self.tools.registry {
            registry.sweep(build).await?;
        }
        // Last: as long as it is there, somebody will try again.
        self.tools.workspaces.remove(build).await
    }
}
