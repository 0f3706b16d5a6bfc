//! The adapters an engine was given. Registration is a value, never a global.

use crate::{
    Error, ErrorKind, NodeId, Recipe, Result, SourceSpec, Target,
    layer::{Around, Layered},
    memory::{
        MemoryArtifacts, MemoryIndex, MemoryLog, MemorySecrets, MemoryStore, MemoryWorkspaces,
        SystemClock,
    },
    port::{
        ArtifactStore, Builder, Clock, Containers, Index, LogReader, LogSink, Notifier, Planner,
        Publisher, Registry, Runtime, Scanner, Secrets, Source, Store, Workspaces,
    },
};
use std::sync::Arc;

/// The adapters of an engine: one for each kind of memory and surrounding, and as many effects as
/// there are. The default remembers in memory and has no effects.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each field is the port of its type")]
pub struct Toolbox {
    pub store: Arc<dyn Store>,
    pub log_sink: Arc<dyn LogSink>,
    pub log_reader: Arc<dyn LogReader>,
    pub index: Arc<dyn Index>,
    pub artifacts: Arc<dyn ArtifactStore>,
    pub secrets: Arc<dyn Secrets>,
    pub clock: Arc<dyn Clock>,
    pub workspaces: Arc<dyn Workspaces>,
    pub sources: Vec<Arc<dyn Source>>,
    pub builders: Vec<Arc<dyn Builder>>,
    pub runtime: Option<Arc<dyn Runtime>>,
    pub containers: Option<Arc<dyn Containers>>,
    pub registry: Option<Arc<dyn Registry>>,
    pub scanner: Option<Arc<dyn Scanner>>,
    pub publishers: Vec<Arc<dyn Publisher>>,
    pub planners: Vec<Arc<dyn Planner>>,
    pub notifiers: Vec<Arc<dyn Notifier>>,
    /// The node that drivers run on.
    pub node: NodeId,
}

impl Default for Toolbox {
    fn default() -> Self {
        let clock = Arc::new(SystemClock::default());
        let log = Arc::new(MemoryLog::with_clock(clock.clone()));
        Self {
            store: Arc::new(MemoryStore::with_clock(clock.clone())),
            log_sink: log.clone(),
            log_reader: log,
            index: Arc::new(MemoryIndex::default()),
            artifacts: Arc::new(MemoryArtifacts::default()),
            secrets: Arc::new(MemorySecrets::default()),
            clock,
            workspaces: Arc::new(MemoryWorkspaces::new("/nowhere")),
            sources: Vec::new(),
            builders: Vec::new(),
            runtime: None,
            containers: None,
            registry: None,
            scanner: None,
            publishers: Vec::new(),
            planners: Vec::new(),
            notifiers: Vec::new(),
            node: NodeId::new("local").expect("a legal name"),
        }
    }
}

impl Toolbox {
    /// Puts a layer around everything that acts on the world: sources, builders, runtime,
    /// containers, registry, scanner, publishers, planners. All of them share what the layer holds.
    #[must_use]
    pub fn layer_effects<A: Around>(self, around: &A) -> Self {
        macro_rules! layered {
            ($ports:expr, $port:ident) => {
                $ports
                    .into_iter()
                    .map(|p| Arc::new(Layered::new(p, around.clone())) as Arc<dyn $port>)
            };
        }
        Self {
            sources: layered!(self.sources, Source).collect(),
            builders: layered!(self.builders, Builder).collect(),
            runtime: layered!(self.runtime, Runtime).next(),
            containers: layered!(self.containers, Containers).next(),
            registry: layered!(self.registry, Registry).next(),
            scanner: layered!(self.scanner, Scanner).next(),
            publishers: layered!(self.publishers, Publisher).collect(),
            planners: layered!(self.planners, Planner).collect(),
            ..self
        }
    }

    /// Puts a layer around everything that remembers: store, log, index, artifacts. All of them
    /// share what the layer holds.
    #[must_use]
    pub fn layer_memory<A: Around>(self, around: &A) -> Self {
        Self {
            store: Arc::new(Layered::new(self.store, around.clone())),
            log_sink: Arc::new(Layered::new(self.log_sink, around.clone())),
            log_reader: Arc::new(Layered::new(self.log_reader, around.clone())),
            index: Arc::new(Layered::new(self.index, around.clone())),
            artifacts: Arc::new(Layered::new(self.artifacts, around.clone())),
            ..self
        }
    }

    /// The first source that accepts the spec.
    pub fn source(&self, spec: &SourceSpec) -> Result<&Arc<dyn Source>> {
        self.sources.iter().find(|s| s.accepts(spec)).ok_or_else(|| {
            missing("source").with("url", &spec.url).hint("Check how the source is written.")
        })
    }

    /// The first builder that accepts the recipe.
    pub fn builder(&self, recipe: &Recipe) -> Result<&Arc<dyn Builder>> {
        self.builders.iter().find(|b| b.accepts(recipe)).ok_or_else(|| missing("builder"))
    }

    /// The publisher that a target names.
    pub fn publisher(&self, target: &Target) -> Result<&Arc<dyn Publisher>> {
        let found = self.publishers.iter().find(|p| p.name() == target.publisher);
        found.ok_or_else(|| missing("publisher").with("name", &target.publisher))
    }

    /// The planner that a step names.
    pub fn planner(&self, name: &str) -> Result<&Arc<dyn Planner>> {
        let found = self.planners.iter().find(|p| p.accepts(name));
        found.ok_or_else(|| missing("planner").with("name", name))
    }

    /// The runtime.
    pub fn runtime(&self) -> Result<&Arc<dyn Runtime>> {
        self.runtime.as_ref().ok_or_else(|| missing("runtime"))
    }

    /// What works on containers.
    pub fn containers(&self) -> Result<&Arc<dyn Containers>> {
        self.containers.as_ref().ok_or_else(|| missing("container adapter"))
    }

    /// The registry.
    pub fn registry(&self) -> Result<&Arc<dyn Registry>> {
        self.registry.as_ref().ok_or_else(|| missing("registry"))
    }

    /// The scanner.
    pub fn scanner(&self) -> Result<&Arc<dyn Scanner>> {
        self.scanner.as_ref().ok_or_else(|| missing("scanner"))
    }
}

fn missing(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, "Toolbox", format!("no {what} of this engine can do that"))
}
