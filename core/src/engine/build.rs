use super::{Engine, Policy};
use crate::{
    NodeId,
    port::{
        ArtifactStore, Builder, Clock, Containers, Index, LogReader, LogSink, Notifier, Planner,
        Publisher, Registry, Runtime, Scanner, Secrets, Source, Store, Workspaces,
    },
    toolbox::Toolbox,
};
use std::{sync::Arc, time::Duration};

/// Makes an [`Engine`]. Every port is the memory adapter, or absent, until another is given.
#[derive(Clone, Debug)]
pub struct EngineBuilder {
    tools: Toolbox,
    policy: Policy,
}

impl Default for EngineBuilder {
    fn default() -> Self {
        let policy = Policy {
            slots: 4,
            local_paths: false,
            grace: Duration::from_secs(30),
            outage_max: Duration::from_secs(300),
        };
        Self { tools: Toolbox::default(), policy }
    }
}

macro_rules! one {
    ($($(#[$doc:meta])* $name:ident: $port:ident),* $(,)?) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(mut self, adapter: Arc<dyn $port>) -> Self {
            self.tools.$name = adapter.into();
            self
        })*
    };
}

impl EngineBuilder {
    one! {
        /// Where journals are kept.
        store: Store,
        /// Where logs go.
        log_sink: LogSink,
        /// Where logs are read.
        log_reader: LogReader,
        /// What lists builds.
        index: Index,
        /// Where artifacts are kept.
        artifacts: ArtifactStore,
        /// What knows secrets.
        secrets: Secrets,
        /// What tells the time.
        clock: Clock,
        /// What gives builds their directories.
        workspaces: Workspaces,
        /// What runs commands.
        runtime: Runtime,
        /// What works on containers.
        containers: Containers,
        /// What pushes images.
        registry: Registry,
        /// What scans images.
        scanner: Scanner,
    }

    /// Adds a source; of several that accept a spec the first is asked.
    #[must_use]
    pub fn source(mut self, adapter: impl Source) -> Self {
        self.tools.sources.push(Arc::new(adapter));
        self
    }

    /// Adds a builder; of several that accept a recipe the first is asked.
    #[must_use]
    pub fn builder(mut self, adapter: impl Builder) -> Self {
        self.tools.builders.push(Arc::new(adapter));
        self
    }

    /// Adds a publisher.
    #[must_use]
    pub fn publisher(mut self, adapter: impl Publisher) -> Self {
        self.tools.publishers.push(Arc::new(adapter));
        self
    }

    /// Adds a planner; of several that accept a name the first is asked.
    #[must_use]
    pub fn planner(mut self, adapter: impl Planner) -> Self {
        self.tools.planners.push(Arc::new(adapter));
        self
    }

    /// Adds a notifier.
    #[must_use]
    pub fn notifier(mut self, adapter: impl Notifier) -> Self {
        self.tools.notifiers.push(Arc::new(adapter));
        self
    }

    /// Takes a whole set of adapters.
    #[must_use]
    pub fn toolbox(mut self, tools: Toolbox) -> Self {
        self.tools = tools;
        self
    }

    /// Names the node that this engine's drivers run on; `local` without it.
    #[must_use]
    pub fn node(mut self, node: NodeId) -> Self {
        self.tools.node = node;
        self
    }

    /// Says how many steps of one build run side by side at most; 4 without it, and at least 1.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.policy.slots = slots.max(1);
        self
    }

    /// Allows plans to name paths of this host. Never on a server that takes plans from others.
    #[must_use]
    pub fn allow_local_paths(mut self, allow: bool) -> Self {
        self.policy.local_paths = allow;
        self
    }

    /// Says how long a step that was told to stop may take to do so before it is given up; 30 s
    /// without it.
    #[must_use]
    pub fn grace(mut self, time: Duration) -> Self {
        self.policy.grace = time;
        self
    }

    /// Says how long a driver waits for a store that is out of reach; 5 minutes without it.
    #[must_use]
    pub fn outage_max(mut self, time: Duration) -> Self {
        self.policy.outage_max = time;
        self
    }

    /// Makes the engine.
    pub fn build(self) -> Engine {
        Engine { tools: Arc::new(self.tools), policy: self.policy }
    }
}
