//! From a push on a forge to the state of its commit there; and notices over a real PostgreSQL.

use crate::machine::{Machine, commands};
use async_trait::async_trait;
use axum::{Json, Router, body::Body, extract::State, http::Uri, routing::post};
use kiln::{
    BuildId, BuildSpec, CancelToken, Courier, Engine, Image, NodeId, NotifierName, Notifiers,
    Outbox, Owner, Recipe, Result, Secret, SecretRef, StepCx, StopReason, Submission, Worker,
    memory::{MemoryBuilder, MemoryQueue, MemoryStore, SystemClock},
    port::{Builder, Clock, Notice, Notifier, Queue, Store},
};
use kiln_api_forge::{HookConfig, Hooks, router};
use kiln_conformance::sample::node;
use kiln_forge::{StatusConfig, Statuses, Webhook, WebhookConfig};
use kiln_postgres::{PgConfig, PgDb};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tower::ServiceExt;

/// Takes any Dockerfile for the emptiest there is.
#[derive(Debug)]
struct AnyDockerfile(MemoryBuilder);

#[async_trait]
impl Builder for AnyDockerfile {
    fn accepts(&self, _: &Recipe) -> bool {
        true
    }

    async fn build(&self, cx: &StepCx, spec: &BuildSpec) -> Result<Image> {
        let recipe = Recipe::Inline { text: "FROM scratch".into() };
        self.0.build(cx, &BuildSpec { recipe, ..spec.clone() }).await
    }

    async fn sweep(&self, build: &BuildId) -> Result<()> {
        self.0.sweep(build).await
    }
}

type Told = Arc<Mutex<Vec<(String, Value)>>>;

/// Stands in for the forge and for a receiver of webhooks; returns its address.
async fn receiver(told: Told) -> String {
    async fn keep(State(told): State<Told>, uri: Uri, Json(body): Json<Value>) {
        told.lock().unwrap().push((uri.path().to_owned(), body));
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().fallback(post(keep)).with_state(told);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

fn notifiers(m: &Machine, address: &str) -> Notifiers {
    let status: StatusConfig = serde_json::from_value(json!({
        "forge": "gitlab", "api": format!("{address}/api/v4"), "token": "token", "owner": "team",
        "repos": ["acme/**"], "hook": "app", "allow_http": true, "allow_private_network": true,
    }))
    .unwrap();
    let webhook: WebhookConfig = serde_json::from_value(json!({
        "url": format!("{address}/ci"), "secret": "token", "owner": "team",
        "allow_http": true, "allow_private_network": true,
    }))
    .unwrap();
    let clock = Arc::new(SystemClock::default());
    let named: [(&str, Arc<dyn Notifier>); 2] = [
        ("gitlab", Arc::new(Statuses::new(status, m.secrets.clone()).unwrap())),
        ("ci", Arc::new(Webhook::new(webhook, m.secrets.clone(), clock).unwrap())),
    ];
    Arc::new(named.into_iter().map(|(n, a)| (NotifierName::new(n).unwrap(), a)).collect())
}

#[test]
fn a_push_is_built_and_its_commit_gets_a_state() {
    kiln_conformance::run("told", async {
        let (m, told) = (Machine::new(), Told::default());
        let team = Owner::new("team").unwrap();
        m.secrets.set(team, SecretRef::new("token").unwrap(), Secret::new("s3cret"));
        let notifiers = notifiers(&m, &receiver(told.clone()).await);
        let (store, queue) = (Arc::new(MemoryStore::default()), Arc::new(MemoryQueue::default()));
        let outbox = Outbox::new(store.clone(), queue.clone(), notifiers.clone());
        let mut tools = m.engine.tools().clone();
        tools.store = Arc::new(outbox);
        tools.builders = vec![Arc::new(AnyDockerfile(MemoryBuilder::new(&m.host)))];
        let engine = Engine::builder().toolbox(tools).build();

        let commit = m.source.set("memory:code", "main", "fn main() {}").id;
        let hook: HookConfig = serde_json::from_value(json!({
            "forge": "gitlab", "secret": "token", "owner": "team", "repos": ["acme/**"],
            "source": "memory:code",
            "build": { "tags": ["hub.test/{repo}:{branch}"], "push": true },
        }))
        .unwrap();
        let hooks = [("app".to_owned(), hook)].into();
        let routes = router(Hooks::new(engine.clone(), queue.clone(), hooks).unwrap());
        let file =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../golden/hooks/gitlab/push.json");
        let mut push: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        (push["after"], push["checkout_sha"]) = (json!(commit), json!(commit));
        let request = axum::http::Request::post("/hooks/app")
            .header("content-type", "application/json")
            .header("x-gitlab-event", "Push Hook")
            .header("x-gitlab-token", "s3cret")
            .body(Body::from(push.to_string()))
            .unwrap();
        assert_eq!(routes.oneshot(request).await.unwrap().status(), 201);

        let stop = CancelToken::new();
        let worker = Worker::new(engine, queue.clone(), node("n", 1));
        let clock = Arc::new(SystemClock::default());
        let name = NodeId::new("courier").unwrap();
        let courier = Courier::new(name, store, queue, notifiers, clock.clone());
        let watch = async {
            while told.lock().unwrap().len() < 6 {
                clock.sleep(Duration::from_millis(2)).await;
            }
            stop.cancel(StopReason::Cancel);
        };
        let (worked, carried, ()) =
            tokio::join!(worker.run(stop.clone()), courier.run(stop.clone()), watch);
        worked.and(carried).unwrap();

        let told = told.lock().unwrap();
        let of = |wanted: &str, field: &str| -> Vec<Value> {
            told.iter().filter(|(p, _)| p == wanted).map(|(_, b)| b[field].clone()).collect()
        };
        let path = format!("/api/v4/projects/acme%2Fteam%2Fapp/statuses/{commit}");
        assert_eq!(of(&path, "state"), ["pending", "running", "success"], "{told:?}");
        let types = ["build.accepted", "build.adopted", "build.finished"];
        assert_eq!(of("/ci", "type"), types);
        let pushed = m.registry.pushed();
        assert!(pushed.iter().any(|(n, _)| n == "hub.test/acme/team/app:main"), "{pushed:?}");
    });
}

/// Keeps what it hears, and takes its time to say so: that is when couriers die.
#[derive(Debug, Default)]
struct Ear(Mutex<Vec<(BuildId, u64)>>, SystemClock);

#[async_trait]
impl Notifier for Ear {
    async fn notify(&self, notice: &Notice) -> Result<()> {
        self.0.lock().unwrap().push((notice.build.build.clone(), notice.seq.0));
        self.1.sleep(Duration::from_millis(20)).await;
        Ok(())
    }
}

fn postgres(test: &str) -> Option<String> {
    let path = std::env::var_os("KILN_TEST_SERVICES")
        .filter(|_| std::env::var_os("KILN_TEST_REAL").is_some_and(|v| v == "1"));
    let all = path.map(|p| serde_json::from_slice::<Value>(&std::fs::read(p).unwrap()).unwrap());
    let url = all.and_then(|a| a["services"]["postgres"]["url"].as_str().map(str::to_owned));
    if url.is_none() {
        println!("SKIPPED: {test}: the service postgres does not run");
    }
    url
}

#[test]
fn servers_on_one_postgresql_tell_all_in_order_while_couriers_die() {
    let name = "servers_on_one_postgresql_tell_all_in_order_while_couriers_die";
    let Some(url) = postgres(name) else { return };
    kiln_conformance::run(name, async {
        let schema = format!("t_{}", &BuildId::random().as_str()[..16]);
        let ear = Arc::new(Ear::default());
        let ci = NotifierName::new("ci").unwrap();
        let one: BTreeMap<_, Arc<dyn Notifier>> = BTreeMap::from([(ci, ear.clone() as _)]);
        let notifiers: Notifiers = Arc::new(one);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let mut servers: Vec<(Engine, Courier)> = Vec::new();
        for i in 0..3 {
            let config = PgConfig::new(&url).unwrap().schema(&schema).unwrap();
            let db = PgDb::connect(&config).await.unwrap();
            let store: Arc<dyn Store> = Arc::new(db.store());
            let queue: Arc<dyn Queue> = Arc::new(db.queue());
            let outbox = Outbox::new(store.clone(), queue.clone(), notifiers.clone());
            let name = NodeId::new(format!("courier-{i}")).unwrap();
            let courier = Courier::new(name, store, queue, notifiers.clone(), clock.clone());
            let ttl = Duration::from_millis(1500);
            servers.push((Engine::builder().store(Arc::new(outbox)).build(), courier.ttl(ttl)));
        }
        let builds: Vec<_> = (0..30).map(|i| BuildId::new(format!("b{i}")).unwrap()).collect();
        let work = async {
            for (i, build) in builds.iter().enumerate() {
                let submission = Submission::new(commands(&["true"])).id(build.clone());
                servers[i % 3].0.accept(submission).await.unwrap();
                servers[(i + 1) % 3].0.cancel(build, "enough", true).await.unwrap();
            }
        };
        // Two die again and again, in the middle of whatever they do; the third only works. What they
        // held is free when their leases expire, so they do not die for ever.
        let stop = CancelToken::new();
        let dying = |i: usize, life: u64| {
            let (courier, clock, stop) = (&servers[i].1, clock.clone(), stop.clone());
            async move {
                for _ in 0..20 {
                    let life = clock.sleep(Duration::from_millis(life));
                    tokio::select! { _ = courier.run(stop.clone()) => {}, () = life => {} }
                }
            }
        };
        let all = || -> bool {
            let heard = ear.0.lock().unwrap();
            let is_told = |b: &BuildId| heard.iter().filter(|(h, s)| h == b && *s == 4).count() > 0;
            builds.iter().all(is_told)
        };
        let watch = async {
            while !all() {
                clock.sleep(Duration::from_millis(10)).await;
            }
            stop.cancel(StopReason::Cancel);
        };
        let (ran, ..) =
            tokio::join!(servers[2].1.run(stop.clone()), dying(0, 37), dying(1, 61), work, watch);
        ran.unwrap();
        let heard = ear.0.lock().unwrap();
        for build in &builds {
            let mut first: Vec<u64> = Vec::new();
            for (_, seq) in heard.iter().filter(|(b, _)| b == build) {
                if !first.contains(seq) {
                    first.push(*seq);
                }
            }
            assert_eq!(first, [1, 2, 3, 4], "{build}");
        }
        println!("{} notices for {} events", heard.len(), builds.len() * 4);
    });
}
