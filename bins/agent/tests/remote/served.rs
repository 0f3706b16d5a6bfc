//! A server for one test, on a port of its own.

use kiln::{
    Engine, Owner, Result, Secret, Toolbox,
    memory::{MemoryFleet, MemoryQueue},
    port::{Fleet, Queue},
};
use kiln_api_agent::{Access, AgentApi, Everybody, Scope, router};
use kiln_remote::{RemoteClient, RemoteConfig};
use std::{sync::Arc, time::Duration};

/// What a server is made of.
pub(crate) struct Served {
    pub(crate) tools: Toolbox,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) fleet: Arc<dyn Fleet>,
    pub(crate) access: Arc<dyn Access>,
    pub(crate) hold_back: Duration,
}

impl Default for Served {
    fn default() -> Self {
        Self {
            tools: Toolbox::default(),
            queue: Arc::new(MemoryQueue::default()),
            fleet: Arc::new(MemoryFleet::default()),
            access: Arc::new(Everybody(Scope::Admin)),
            hold_back: Duration::ZERO,
        }
    }
}

impl Served {
    /// Listens, and says where. It serves as long as the runtime of the test lives.
    pub(crate) fn listen(self) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let api = AgentApi {
            engine: Engine::builder().toolbox(self.tools).build(),
            queue: self.queue,
            fleet: self.fleet,
            access: self.access,
            hold_back: self.hold_back,
        };
        tokio::spawn(async move { axum::serve(listener, router(api)).await });
        format!("http://{address}")
    }

    /// Listens, and returns the way there.
    pub(crate) fn client(self) -> RemoteClient {
        RemoteClient::new(&RemoteConfig::new(self.listen())).unwrap()
    }
}

/// A way to a server with a token, as a node.
pub(crate) fn agent(url: &str, token: &str, node: &str) -> Result<RemoteClient> {
    RemoteClient::new(&RemoteConfig {
        token: Some(Secret::new(token)),
        node: Some(kiln::NodeId::new(node).unwrap()),
        ..RemoteConfig::new(url)
    })
}

pub(crate) fn ann() -> Owner {
    Owner::new("ann").unwrap()
}
