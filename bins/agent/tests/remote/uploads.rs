//! Contexts that clients uploaded are for agents whose build fetches them.

use crate::served::{agent, ann};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use kiln::{
    BuildId, Engine, ErrorKind, Op, Plan, RelPath, Result, SourceSpec, Step, Submission, Toolbox,
    memory::{MemoryFleet, MemoryQueue},
    port::{ArtifactKey, ArtifactStore, Fleet, Job, Queue},
};
use kiln_api_agent::{Access, AgentApi, Caller, Scope};
use kiln_conformance::sample::node;
use kiln_remote::{RemoteArtifacts, RemoteClient, RemoteFleet, RemoteQueue};
use std::{sync::Arc, time::Duration};

/// Every token is an agent's, and its name.
#[derive(Debug)]
struct Agents;

#[async_trait::async_trait]
impl Access for Agents {
    async fn caller(&self, token: Option<&str>) -> Result<Caller> {
        Ok(Caller { name: token.unwrap_or("nobody").to_owned(), scope: Scope::Agent })
    }
}

const LONG: Duration = Duration::from_secs(60);

fn key(upload: &str) -> ArtifactKey {
    ArtifactKey { build: BuildId::new(upload).unwrap(), name: RelPath::new("context.tar").unwrap() }
}

async fn accept(engine: &Engine, queue: &MemoryQueue, upload: &str) -> BuildId {
    let mut plan = Plan::builder();
    let source = SourceSpec::new(format!("upload:{upload}"));
    plan.step(Step::new("fetch", Op::Fetch { source, into: RelPath::root() }));
    let plan = plan.finish().unwrap();
    let build = engine.accept(Submission::new(plan).owner(ann())).await.unwrap();
    queue.push(Job::new(build.clone(), ann())).await.unwrap();
    build
}

async fn read(client: &RemoteClient, upload: &str) -> Result<Vec<u8>> {
    let artifacts = RemoteArtifacts::new(client.clone());
    let body = artifacts.get(&key(upload)).await?;
    body.try_fold(Vec::new(), async |mut all, piece| {
        all.extend_from_slice(&piece);
        Ok(all)
    })
    .await
}

#[test]
fn an_upload_is_read_by_whoever_leased_a_build_that_fetches_it() {
    kiln_conformance::run("uploads", async {
        let tools = Toolbox::default();
        let (queue, fleet) = (Arc::new(MemoryQueue::default()), Arc::new(MemoryFleet::default()));
        for upload in ["upload-a", "upload-b", "upload-c"] {
            let body = stream::iter([Ok(Bytes::from(upload))]).boxed();
            tools.artifacts.put(&key(upload), body).await.unwrap();
        }
        let engine = Engine::builder().toolbox(tools).build();
        let api = AgentApi {
            engine: engine.clone(),
            queue: queue.clone(),
            fleet,
            access: Arc::new(Agents),
            hold_back: Duration::ZERO,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = kiln_api_agent::router(api);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let client = agent(&url, "a", "a").unwrap();
        let a = node("a", 9);
        RemoteFleet::new(client.clone()).enrol(&a).await.unwrap();
        let denied = async |upload| match read(&client, upload).await {
            Err(e) => e.kind() == ErrorKind::Denied,
            Ok(_) => false,
        };
        accept(&engine, &queue, "upload-a").await;
        assert!(denied("upload-a").await, "nothing is leased yet");
        accept(&engine, &queue, "upload-b").await;
        let leases = RemoteQueue::new(client.clone());
        for _ in 0..2 {
            leases.lease(&a, LONG, Duration::ZERO).await.unwrap().unwrap();
        }
        for upload in ["upload-a", "upload-b"] {
            assert_eq!(read(&client, upload).await.unwrap(), upload.as_bytes());
            let listed = RemoteArtifacts::new(client.clone()).list(&key(upload).build).await;
            assert_eq!(listed.unwrap()[0].key, format!("{upload}/context.tar"));
        }
        assert!(denied("upload-c").await, "no plan of a leased build fetches it");
        // Nor does a lease of one agent help another.
        let other = agent(&url, "b", "b").unwrap();
        RemoteFleet::new(other.clone()).enrol(&node("b", 9)).await.unwrap();
        assert_eq!(read(&other, "upload-a").await.unwrap_err().kind(), ErrorKind::Denied);
    });
}
