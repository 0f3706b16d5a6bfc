//! A server in memory, and how it is asked.

use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode},
};
use http_body_util::BodyExt;
use kiln::{
    CancelToken, Engine, Error, ErrorKind, Owner, Result, StopReason, Worker,
    memory::{
        MemoryBuilder, MemoryHost, MemoryQueue, MemoryRegistry, MemoryRuntime, MemorySource,
        SystemClock,
    },
};
use kiln_api_native::{Access, Api, Caller, Everybody, Scope, router};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};
use tower::ServiceExt;

/// A server in memory, with a worker.
pub(crate) struct Server {
    pub(crate) routes: Router,
    pub(crate) engine: Engine,
    worker: tokio::task::JoinHandle<Result<()>>,
    stop: CancelToken,
}

fn sources() -> MemorySource {
    let source = MemorySource::default();
    source.set("memory:code", "main", "fn main() {}");
    source
}

/// The token `OWNER-SCOPE` has that scope of that owner.
#[derive(Debug)]
pub(crate) struct ByName;

#[async_trait]
impl Access for ByName {
    async fn caller(&self, token: Option<&str>) -> Result<Caller> {
        let denied = || Error::new(ErrorKind::Denied, "Access", "no such token");
        let (owner, scope) = token.and_then(|t| t.split_once('-')).ok_or_else(denied)?;
        let scope: Scope = serde_json::from_value(json!(scope)).map_err(|_| denied())?;
        Ok(Caller {
            owner: Owner::new(owner).unwrap(),
            name: Some(format!("{owner}'s")),
            scopes: BTreeSet::from([scope]),
        })
    }
}

impl Server {
    pub(crate) fn new(access: impl Access) -> Self {
        Self::with(access, |api| api)
    }

    pub(crate) fn with(access: impl Access, change: impl FnOnce(Api) -> Api) -> Self {
        let queue = Arc::new(MemoryQueue::default());
        Self::of(access, queue.clone(), queue, change)
    }

    /// A server whose builds nobody takes from their queue.
    pub(crate) fn idle(queue: Arc<MemoryQueue>) -> Self {
        Self::of(Everybody, queue, Arc::new(MemoryQueue::default()), |api| api)
    }

    fn of(
        access: impl Access,
        queue: Arc<MemoryQueue>,
        worked: Arc<MemoryQueue>,
        change: impl FnOnce(Api) -> Api,
    ) -> Self {
        let host = MemoryHost::default();
        let engine = Engine::builder()
            .builder(MemoryBuilder::new(&host))
            .registry(Arc::new(MemoryRegistry::new(&host)))
            .runtime(Arc::new(MemoryRuntime::new(&host, Arc::new(SystemClock::default()))))
            .source(sources())
            .build();
        let (stop, node) = (CancelToken::new(), kiln_conformance::sample::node("local", 4));
        let worker = Worker::new(engine.clone(), worked, node);
        let until = stop.clone();
        let worker = tokio::spawn(async move { worker.run(until).await });
        let routes = router(change(Api::new(engine.clone(), queue, Arc::new(access))));
        Self { routes, engine, worker, stop }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.routes.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path);
        let request = match token {
            "" => request,
            token => request.header("authorization", format!("Bearer {token}")),
        };
        let request = match body {
            Value::Null => request.body(Body::empty()),
            body => request
                .header("content-type", "application/json")
                .body(Body::from(body.to_string())),
        };
        let response = self.send(request.unwrap()).await;
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, "", Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    pub(crate) async fn submit(&self, body: Value) -> String {
        let (status, answer) = self.ask("POST", "/api/v1/builds", "", body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        answer["build"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn text(&self, path: &str, accept: &str, last: Option<&str>) -> String {
        let mut request = Request::builder().uri(path).header("accept", accept);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = self.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    pub(crate) async fn end(self) {
        self.stop.cancel(StopReason::Cancel);
        self.worker.await.unwrap().unwrap();
    }
}

pub(crate) fn say(text: &str) -> Value {
    json!({"run": {"image": "busybox", "command": {"argv": ["echo", text]}}})
}
