//! Where steps are found by name: the registry.

use async_trait::async_trait;
use futures::future::BoxFuture;
use kiln::{
    Attempts, Digest, Error, ErrorKind, Result,
    layer::{Again, Around, Call, Retry},
    port::Clock,
};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};

/// A registry of steps.
#[async_trait]
pub trait StepRegistry: Debug + Send + Sync + 'static {
    /// Finds a step in the version that is asked for; `*` is the newest.
    ///
    /// # Promises
    ///
    /// - The answer names an exact version, fit to be part of a path.
    /// - A step or a version that does not exist is `NotFound`; a registry that cannot be reached
    ///   or is broken is `Unavailable`, one that takes too long `Timeout`; an answer that makes no
    ///   sense is `Corrupt`.
    /// - It asks once: whoever wants more tries calls again.
    async fn find(&self, owner: &str, name: &str, version: &str) -> Result<Found>;
}

/// A step that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its exact version.
    pub version: String,
    /// Where its code is: a tar archive, in most cases compressed.
    pub tarball_url: String,
    /// The digest of the archive, where the registry tells it.
    pub sha256: Option<Digest>,
}

/// A registry in memory, with the strictest reading of the promises.
#[derive(Debug, Default)]
pub struct MemoryRegistry {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By owner and name: the versions in the order in which they came.
    steps: BTreeMap<(String, String), Vec<Found>>,
    gone: bool,
    asked: usize,
}

impl MemoryRegistry {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Publishes a version of a step: it is the newest from now on.
    pub fn publish(&self, owner: &str, name: &str, found: Found) {
        let key = (owner.to_owned(), name.to_owned());
        let mut state = self.state();
        let versions = state.steps.entry(key).or_default();
        versions.retain(|f| f.version != found.version);
        versions.push(found);
    }

    /// Makes it unreachable, or reachable again.
    pub fn set_gone(&self, gone: bool) {
        self.state().gone = gone;
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.state().asked
    }
}

#[async_trait]
impl StepRegistry for MemoryRegistry {
    async fn find(&self, owner: &str, name: &str, version: &str) -> Result<Found> {
        let mut state = self.state();
        state.asked += 1;
        let error = |kind, message: &str| {
            Error::new(kind, "StepRegistry::find", message)
                .with("step", format!("{owner}/{name}@{version}"))
        };
        if state.gone {
            return Err(error(ErrorKind::Unavailable, "the registry of steps cannot be reached"));
        }
        let versions = state.steps.get(&(owner.to_owned(), name.to_owned()));
        let found = versions.and_then(|all| match version {
            "*" => all.last(),
            exact => all.iter().find(|f| f.version == exact),
        });
        let none = || error(ErrorKind::NotFound, "the registry has no such step");
        found.cloned().ok_or_else(none)
    }
}

/// A registry with a layer around it, such as [`Retry`] or a timeout.
#[derive(Clone, Debug)]
pub struct LayeredRegistry<L> {
    inner: Arc<dyn StepRegistry>,
    layer: L,
}

impl<L: Around> LayeredRegistry<L> {
    /// Puts a layer around a registry.
    pub fn new(inner: Arc<dyn StepRegistry>, layer: L) -> Self {
        Self { inner, layer }
    }
}

/// A registry that is asked up to three times, as long as the reason is a passing one.
pub fn retried(inner: Arc<dyn StepRegistry>, clock: Arc<dyn Clock>) -> LayeredRegistry<Retry> {
    LayeredRegistry::new(inner, Retry::new(clock, Attempts::up_to(3)))
}

#[async_trait]
impl<L: Around> StepRegistry for LayeredRegistry<L> {
    async fn find(&self, owner: &str, name: &str, version: &str) -> Result<Found> {
        let call = Call {
            op: "StepRegistry::find",
            build: None,
            cx: None,
            again: Again::Safe,
            patience: Duration::ZERO,
        };
        let (inner, step) = (self.inner.clone(), [owner, name, version].map(str::to_owned));
        let work = move || -> BoxFuture<'_, Result<Found>> {
            let (inner, [owner, name, version]) = (inner.clone(), step.clone());
            Box::pin(async move { inner.find(&owner, &name, &version).await })
        };
        self.layer.around(call, work).await
    }
}
