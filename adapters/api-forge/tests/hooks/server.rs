//! A server with one hook, and requests as forges sign them.

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, Request, StatusCode},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::BodyExt;
use kiln::{
    BuildId, BuildState, Engine, NodeId, Owner, Resources, Result, Secret, SecretRef, Timestamp,
    memory::{MemoryQueue, MemorySecrets},
    port::{Node, Queue},
};
use kiln_api_forge::{BuildConfig, Forge, HookConfig, Hooks, Trigger, router};
use serde_json::Value;
use sha2::Sha256;
use std::{sync::Arc, time::Duration};
use tower::ServiceExt;

/// What forges and the server know.
pub(crate) const SECRET: &[u8] = b"correct horse battery staple";

pub(crate) struct Server {
    pub(crate) engine: Engine,
    queue: Arc<MemoryQueue>,
    config: HookConfig,
    routes: Router,
}

/// A hook that builds everything, and pushes it.
pub(crate) fn hook(forge: Forge) -> HookConfig {
    let revision = ("org.opencontainers.image.revision".to_owned(), "{commit}".to_owned());
    let hosts = ["github.com", "gitlab.acme.test", "gitea.acme.test"];
    HookConfig {
        forge,
        secret: SecretRef::new("hooks/app").unwrap(),
        owner: Owner::new("team").unwrap(),
        repos: vec!["acme/**".into()],
        on: vec![Trigger::Push, Trigger::Tag, Trigger::PullRequest],
        branches: vec![],
        tags: vec![],
        paths: vec![],
        forks: false,
        source: None,
        clone_hosts: hosts.map(str::to_owned).into(),
        credentials: None,
        submodules: false,
        priority: 0,
        build: BuildConfig {
            tags: vec!["hub.test/{repo}:{branch}-{short}".into(), "hub.test/{repo}:{tag}".into()],
            labels: [revision].into(),
            push: true,
            ..BuildConfig::default()
        },
    }
}

impl Server {
    pub(crate) fn new(forge: Forge) -> Self {
        Self::of(hook(forge))
    }

    pub(crate) fn of(config: HookConfig) -> Self {
        Self::with_secret(config, std::str::from_utf8(SECRET).unwrap())
    }

    pub(crate) fn with_secret(config: HookConfig, secret: &str) -> Self {
        let secrets = MemorySecrets::default();
        // As files end.
        let secret = Secret::new(format!("{secret}\n"));
        secrets.set(config.owner.clone(), SecretRef::new("hooks/app").unwrap(), secret);
        let engine = Engine::builder().secrets(Arc::new(secrets)).build();
        Self::on(engine, Arc::new(MemoryQueue::default()), config)
    }

    fn on(engine: Engine, queue: Arc<MemoryQueue>, config: HookConfig) -> Self {
        let hooks = [("app".to_owned(), config.clone())].into();
        let routes = router(Hooks::new(engine.clone(), queue.clone(), hooks).unwrap());
        Self { engine, queue, config, routes }
    }

    /// Another server over the same store, with nothing else kept.
    pub(crate) fn restarted(&self) -> Self {
        Self::on(self.engine.clone(), Arc::new(MemoryQueue::default()), self.config.clone())
    }

    /// Whether a server would start with such a hook.
    pub(crate) fn check(name: &str, config: HookConfig) -> Result<()> {
        let engine = Engine::builder().build();
        let queue = Arc::new(MemoryQueue::default());
        Hooks::new(engine, queue, [(name.to_owned(), config)].into()).map(drop)
    }

    /// The time in seconds.
    pub(crate) fn now(&self) -> u64 {
        self.engine.tools().clock.now().0 / 1000
    }

    /// Sends a payload as the forge of the hook does.
    pub(crate) async fn send(&self, event: &str, body: &str) -> (StatusCode, Value) {
        self.post("app", signed(self.config.forge, event, body), body).await
    }

    pub(crate) async fn post(
        &self,
        hook: &str,
        headers: HeaderMap,
        body: &str,
    ) -> (StatusCode, Value) {
        let request = Request::post(format!("/hooks/{hook}"));
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        *request.headers_mut() = headers;
        let response = self.routes.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub(crate) async fn build(&self, answer: &Value) -> BuildState {
        let id = BuildId::new(answer["build"].as_str().unwrap()).unwrap();
        self.engine.state(&id).await.unwrap()
    }

    /// How many builds wait, counted by taking them out of the store of the engine.
    pub(crate) async fn queued(&self) -> u32 {
        u32::try_from(self.engine.unfinished().await.unwrap().len()).unwrap()
    }

    /// How many builds a node with room gets side by side.
    pub(crate) async fn leasable(&self) -> usize {
        let node = Node {
            id: NodeId::new("n").unwrap(),
            labels: [].into(),
            slots: 9,
            resources: Resources::default(),
            drained: false,
            seen_at: Timestamp(0),
        };
        let mut leases = 0;
        let minute = Duration::from_secs(60);
        while self.queue.lease(&node, minute, Duration::ZERO).await.unwrap().is_some() {
            leases += 1;
        }
        leases
    }
}

/// A payload as it was kept.
pub(crate) fn golden(name: &str) -> String {
    let place = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/hooks");
    std::fs::read_to_string(format!("{place}/{name}")).unwrap()
}

pub(crate) fn hex_mac(key: &[u8], body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(body);
    mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect()
}

/// The headers of a request that nobody signed.
pub(crate) fn bare(forge: Forge, event: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let json = "application/json; charset=utf-8";
    headers.insert("content-type", HeaderValue::from_static(json));
    let name = match forge {
        Forge::GitHub => "x-github-event",
        Forge::GitLab => "x-gitlab-event",
        Forge::Gitea => "x-gitea-event",
    };
    headers.insert(name, HeaderValue::from_str(event).unwrap());
    headers
}

/// The headers of a request as the forge signs it.
pub(crate) fn signed(forge: Forge, event: &str, body: &str) -> HeaderMap {
    let mut headers = bare(forge, event);
    let mac = hex_mac(SECRET, body.as_bytes());
    let (name, value) = match forge {
        Forge::GitHub => ("x-hub-signature-256", format!("sha256={mac}")),
        Forge::Gitea => ("x-gitea-signature", mac),
        Forge::GitLab => ("x-gitlab-token", std::str::from_utf8(SECRET).unwrap().to_owned()),
    };
    headers.insert(name, HeaderValue::from_str(&value).unwrap());
    headers
}

/// The headers of a request of a GitLab that has a signing token.
pub(crate) fn standard(id: &str, time: u64, key: &str, body: &str) -> HeaderMap {
    let mut headers = bare(Forge::GitLab, "Push Hook");
    let key = BASE64_STANDARD.decode(key.strip_prefix("whsec_").unwrap()).unwrap();
    let mac =
        Hmac::<Sha256>::new_from_slice(&key).unwrap().chain_update(format!("{id}.{time}.{body}"));
    let signature = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
    for (name, value) in [
        ("webhook-id", id),
        ("webhook-timestamp", &time.to_string()),
        ("webhook-signature", &signature),
    ] {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}
