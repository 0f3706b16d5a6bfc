//! Who may touch what: agents, their leases and their nodes.

use crate::served::{Served, agent, ann};
use async_trait::async_trait;
use kiln::{
    BoxName, BoxSpec, BuildId, DriverId, Engine, Error, ErrorKind, Event, Op, Owner, Plan, Result,
    Secret, SecretRef, Seq, Step, StepId, Submission, Timestamp, Toolbox, Value,
    memory::{MemoryFleet, MemoryLog, MemoryQueue, MemorySecrets, MemoryStore, VirtualClock},
    port::{
        BuildFilter, Entry, Fleet, Index, Job, Lease, LogBody, LogRecord, LogSink, Offset, Page,
        Queue, Secrets, Settlement, Store,
    },
};
use kiln_api_agent::{Access, Caller, Scope};
use kiln_conformance::sample::{image, node};
use kiln_remote::{
    RemoteClient, RemoteFleet, RemoteIndex, RemoteLogs, RemoteQueue, RemoteSecrets, RemoteStore,
};
use std::{sync::Arc, time::Duration};

const TTL: Duration = Duration::from_secs(10);
const NONE: Duration = Duration::ZERO;

/// Whose token begins with `agent` is one, `submit` is for something else, all others are nobody's.
#[derive(Debug)]
struct Names;

#[async_trait]
impl Access for Names {
    async fn caller(&self, token: Option<&str>) -> Result<Caller> {
        let name = token.unwrap_or_default().to_owned();
        let scope = match name.as_str() {
            name if name.starts_with("agent") => Scope::Agent,
            "submit" => Scope::Other,
            _ => return Err(Error::new(ErrorKind::Denied, "Access", "nobody has this token")),
        };
        Ok(Caller { name, scope })
    }
}

/// What outlives a server.
pub(crate) struct World {
    clock: VirtualClock,
    pub(crate) tools: Toolbox,
    pub(crate) queue: Arc<MemoryQueue>,
    fleet: Arc<MemoryFleet>,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = VirtualClock::at(Timestamp(1_000_000));
        let shared = Arc::new(clock.clone());
        let log = Arc::new(MemoryLog::with_clock(shared.clone()));
        let secrets = MemorySecrets::default();
        for name in ["token", "other"] {
            secrets.set(ann(), SecretRef::new(name).unwrap(), Secret::new("s3cret"));
        }
        let tools = Toolbox {
            store: Arc::new(MemoryStore::with_clock(shared.clone())),
            log_sink: log.clone(),
            log_reader: log,
            secrets: Arc::new(secrets),
            clock: shared.clone(),
            ..Toolbox::default()
        };
        let queue = Arc::new(MemoryQueue::with_clock(shared));
        Self { clock, tools, queue, fleet: Arc::new(MemoryFleet::default()) }
    }

    fn serve_after(&self, hold_back: Duration) -> String {
        let served = Served {
            tools: self.tools.clone(),
            queue: self.queue.clone(),
            fleet: self.fleet.clone(),
            access: Arc::new(Names),
            hold_back,
        };
        served.listen()
    }

    pub(crate) fn serve(&self) -> String {
        self.serve_after(NONE)
    }

    /// Accepts a build whose plan names the secret `token`, and queues it.
    pub(crate) async fn build(&self, owner: Owner) -> BuildId {
        let engine = Engine::builder().toolbox(self.tools.clone()).build();
        let build = engine.accept(Submission::new(plan()).owner(owner.clone())).await.unwrap();
        self.queue.push(Job::new(build.clone(), owner)).await.unwrap();
        build
    }
}

fn plan() -> Plan {
    let mut plan = Plan::builder();
    let name = BoxName::new("main").unwrap();
    let mut spec = BoxSpec::new(image("busybox"));
    spec.env.insert("T".into(), Value::Secret(SecretRef::new("token").unwrap()));
    plan.add_box(name.clone(), spec);
    let command = kiln::Command::new(["true"]);
    plan.step(Step::new("run", Op::Exec { in_box: name, command }));
    plan.finish().unwrap()
}

/// An agent that is enrolled as a node of its token's name.
pub(crate) struct Agent {
    pub(crate) client: RemoteClient,
    node: kiln::port::Node,
}

impl Agent {
    pub(crate) async fn new(url: &str, name: &str) -> Self {
        let it = Self { client: agent(url, name, name).unwrap(), node: node(name, 9) };
        RemoteFleet::new(it.client.clone()).enrol(&it.node).await.unwrap();
        it
    }

    pub(crate) fn queue(&self) -> RemoteQueue {
        RemoteQueue::new(self.client.clone())
    }

    pub(crate) async fn lease(&self) -> Option<Lease> {
        self.queue().lease(&self.node, TTL, NONE).await.unwrap()
    }

    async fn adopt(&self, build: &BuildId) -> Result<Seq> {
        let store = RemoteStore::new(self.client.clone());
        let end = store.load(build, Seq::START).await?.len() as u64;
        let driver = DriverId::random();
        let event = Event::Adopted { driver, node: self.node.id.clone(), kept: vec![] };
        store.append(build, Seq(end), &[Entry { at: Timestamp(1), event }]).await
    }

    async fn print(&self, build: &BuildId) -> Result<Offset> {
        let logs = RemoteLogs::new(self.client.clone());
        let at = logs.end(build).await?;
        let body = LogBody::Gap { bytes: 5, why: "x".into() };
        let (time, step) = (Timestamp(1), StepId(0));
        logs.append(build, at, &[LogRecord { at, time, step, attempt: 1, body }]).await
    }

    async fn reveal(&self, owner: Owner, name: &str) -> Result<Secret> {
        let secrets = RemoteSecrets::new(self.client.clone());
        secrets.reveal(&owner, &SecretRef::new(name).unwrap()).await
    }
}

#[track_caller]
pub(crate) fn is<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind) {
    assert_eq!(result.unwrap_err().kind(), kind);
}

pub(crate) fn test(name: &str, work: impl Future<Output = ()>) {
    kiln_conformance::run(name, work);
}

#[test]
fn an_agent_touches_only_what_it_leased() {
    test("an_agent_touches_only_what_it_leased", async {
        let world = World::new();
        let (mine, other) = (world.build(ann()).await, world.build(Owner::local()).await);
        let url = world.serve();
        let (a, b) = (Agent::new(&url, "agent-a").await, Agent::new(&url, "agent-b").await);
        is(a.adopt(&mine).await, ErrorKind::Denied);
        is(a.print(&mine).await, ErrorKind::Denied);
        is(a.reveal(ann(), "token").await, ErrorKind::Denied);
        let lease = a.lease().await.unwrap();
        assert_eq!(lease.job.build, mine);
        assert_eq!(a.adopt(&mine).await.unwrap(), Seq(2));
        assert_eq!(a.print(&mine).await.unwrap(), Offset(5));
        is(a.adopt(&other).await, ErrorKind::Denied);
        // Somebody who knows the number of a lease has not got it.
        is(b.queue().renew(&lease, TTL).await, ErrorKind::Conflict);
        is(b.queue().settle(&lease, Settlement::Done).await, ErrorKind::Conflict);
        is(b.adopt(&mine).await, ErrorKind::Denied);
        // Nor has somebody who says to be that node.
        let c = agent(&url, "agent-c", "agent-a").unwrap();
        is(RemoteQueue::new(c.clone()).renew(&lease, TTL).await, ErrorKind::Conflict);
        is(RemoteFleet::new(c).enrol(&a.node).await, ErrorKind::Denied);
        a.queue().settle(&lease, Settlement::Done).await.unwrap();
        is(a.print(&mine).await, ErrorKind::Denied);
    });
}

#[test]
fn secrets_are_for_builds_that_name_them() {
    test("secrets_are_for_builds_that_name_them", async {
        let world = World::new();
        let url = world.serve();
        let a = Agent::new(&url, "agent-a").await;
        world.build(ann()).await;
        a.lease().await.unwrap();
        assert_eq!(a.reveal(ann(), "token").await.unwrap().expose(), b"s3cret");
        is(a.reveal(ann(), "other").await, ErrorKind::Denied);
        is(a.reveal(Owner::local(), "token").await, ErrorKind::Denied);
        let b = Agent::new(&url, "agent-b").await;
        is(b.reveal(ann(), "token").await, ErrorKind::Denied);
    });
}

#[test]
fn a_lease_that_another_has_now_is_worth_nothing() {
    test("a_lease_that_another_has_now_is_worth_nothing", async {
        let world = World::new();
        let build = world.build(ann()).await;
        let url = world.serve();
        let (a, b) = (Agent::new(&url, "agent-a").await, Agent::new(&url, "agent-b").await);
        let old = a.lease().await.unwrap();
        a.adopt(&build).await.unwrap();
        // Late, and nobody else has it: as if it had been renewed.
        world.clock.advance(TTL * 2);
        a.adopt(&build).await.unwrap();
        world.clock.advance(TTL * 2);
        let new = b.lease().await.unwrap();
        assert!(new.token > old.token);
        is(a.adopt(&build).await, ErrorKind::Conflict);
        is(a.print(&build).await, ErrorKind::Conflict);
        is(a.queue().renew(&old, TTL).await, ErrorKind::Conflict);
        let journal = world.tools.store.load(&build, Seq::START).await.unwrap();
        assert_eq!(journal.len(), 3, "{journal:?}");
        assert_eq!(world.tools.log_sink.end(&build).await.unwrap(), Offset(0));
        b.adopt(&build).await.unwrap();
    });
}

#[test]
fn a_lease_outlives_the_server_that_gave_it() {
    test("a_lease_outlives_the_server_that_gave_it", async {
        let world = World::new();
        let build = world.build(ann()).await;
        let first = world.serve();
        let a = Agent::new(&first, "agent-a").await;
        let lease = a.lease().await.unwrap();
        a.adopt(&build).await.unwrap();
        // Another server, or that one again: nothing is known there of the lease.
        let second = world.serve();
        let b = Agent::new(&second, "agent-b").await;
        is(b.queue().renew(&lease, TTL).await, ErrorKind::Conflict);
        let again = agent(&second, "agent-a", "agent-a").unwrap();
        let again = Agent { client: again, node: a.node.clone() };
        again.queue().renew(&lease, TTL).await.unwrap();
        again.adopt(&build).await.unwrap();
        again.print(&build).await.unwrap();
    });
}

#[test]
fn a_token_of_another_scope_is_refused() {
    test("a_token_of_another_scope_is_refused", async {
        let url = World::new().serve();
        for (token, said) in [("submit", "--scope agent"), ("nobody", "token list")] {
            let fleet = RemoteFleet::new(agent(&url, token, "n").unwrap());
            let e = fleet.enrol(&node("n", 1)).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Denied);
            assert!(e.hint_text().unwrap().contains(said), "{e:?}");
        }
    });
}

#[test]
fn what_is_for_admins_is_not_for_agents() {
    test("what_is_for_admins_is_not_for_agents", async {
        let world = World::new();
        let build = world.build(ann()).await;
        let url = world.serve();
        let a = Agent::new(&url, "agent-a").await;
        a.lease().await.unwrap();
        let (store, client) = (RemoteStore::new(a.client.clone()), a.client.clone());
        is(store.unfinished().await, ErrorKind::Denied);
        is(store.forget(&build).await, ErrorKind::Denied);
        is(RemoteLogs::new(client.clone()).forget(&build).await, ErrorKind::Denied);
        is(a.queue().push(Job::new(BuildId::random(), ann())).await, ErrorKind::Denied);
        is(a.queue().remove(&build).await, ErrorKind::Denied);
        let index = RemoteIndex::new(client);
        is(index.forget(&build).await, ErrorKind::Denied);
        let page = Page { max: 9, after: None };
        is(index.list(&BuildFilter::default(), &page).await, ErrorKind::Denied);
        // A summary says whose the build is, and that is not for an agent to say.
        let mut summary = kiln_conformance::sample::summary("x", 1);
        summary.build = build.clone();
        is(index.put(&summary).await, ErrorKind::Invalid);
        summary.owner = ann();
        index.put(&summary).await.unwrap();
    });
}

#[test]
fn a_drained_node_gets_nothing_and_stays_drained() {
    test("a_drained_node_gets_nothing_and_stays_drained", async {
        let world = World::new();
        world.build(ann()).await;
        let url = world.serve();
        let a = Agent::new(&url, "agent-a").await;
        let fleet = RemoteFleet::new(a.client.clone());
        let known = fleet.nodes().await.unwrap().remove(0);
        assert_eq!(known.labels.get("kiln.token").map(String::as_str), Some("agent-a"));
        let beat = async || fleet.beat_and_hear(&a.node.id, Timestamp(9)).await.unwrap();
        assert!(!beat().await);
        world.fleet.enrol(&kiln::port::Node { drained: true, ..known }).await.unwrap();
        assert!(beat().await);
        assert_eq!(a.lease().await, None);
        // It says that it is not; an operator said that it is.
        fleet.enrol(&a.node).await.unwrap();
        assert!(beat().await);
        assert_eq!(a.lease().await, None);
        fleet.remove(&a.node.id).await.unwrap();
        is(a.queue().lease(&a.node, TTL, NONE).await, ErrorKind::NotFound);
        is(fleet.beat(&a.node.id, Timestamp(9)).await, ErrorKind::NotFound);
        fleet.enrol(&a.node).await.unwrap();
        assert!(a.lease().await.is_some());
    });
}

#[test]
fn after_an_outage_those_who_drive_come_first() {
    test("after_an_outage_those_who_drive_come_first", async {
        let world = World::new();
        let build = world.build(ann()).await;
        let first = world.serve();
        let (a, b) = (Agent::new(&first, "agent-a").await, Agent::new(&first, "agent-b").await);
        let lease = a.lease().await.unwrap();
        a.adopt(&build).await.unwrap();
        world.clock.advance(TTL * 2);
        let second = world.serve_after(Duration::from_secs(600));
        let (a2, b2) = (Agent::new(&second, "agent-a").await, Agent::new(&second, "agent-b").await);
        assert_eq!(b2.lease().await, None, "the lease has lapsed, and its holder had no chance");
        a2.queue().renew(&lease, TTL).await.unwrap();
        let other = world.build(ann()).await;
        assert_eq!(b2.lease().await, None, "others may come yet");
        let third = world.serve_after(Duration::from_secs(1));
        let b3 = Agent::new(&third, "agent-b").await;
        let got = b3.queue().lease(&b3.node, TTL, Duration::from_secs(60)).await.unwrap();
        assert_eq!(got.unwrap().job.build, other);
        drop((a2, b, b2));
    });
}

#[test]
fn an_agent_cannot_say_what_is_for_the_server_to_say() {
    test("an_agent_cannot_say_what_is_for_the_server_to_say", async {
        let world = World::new();
        let mut job = Job::new(BuildId::random(), ann());
        job.placement.labels.insert("kiln.courier".into(), "1".into());
        world.queue.push(job).await.unwrap();
        let url = world.serve();
        let mut a = Agent::new(&url, "agent-a").await;
        a.node.labels.insert("kiln.courier".into(), "1".into());
        a.node.labels.insert("kiln.token".into(), "agent-b".into());
        let fleet = RemoteFleet::new(a.client.clone());
        fleet.enrol(&a.node).await.unwrap();
        let known = fleet.nodes().await.unwrap().remove(0);
        assert_eq!(known.labels, [("kiln.token".to_owned(), "agent-a".to_owned())].into());
        assert_eq!(a.lease().await, None);
    });
}

#[test]
fn a_clock_that_is_wrong_delays_no_job_for_long() {
    test("a_clock_that_is_wrong_delays_no_job_for_long", async {
        let world = World::new();
        world.build(ann()).await;
        let url = world.serve();
        let a = Agent::new(&url, "agent-a").await;
        let lease = a.lease().await.unwrap();
        let next_year = Timestamp(1 << 42);
        a.queue().settle(&lease, Settlement::Again(next_year)).await.unwrap();
        assert_eq!(a.lease().await, None);
        world.clock.advance(Duration::from_secs(61));
        assert!(a.lease().await.is_some());
    });
}

/// An open server, or a token of an admin, takes agents too.
#[test]
fn an_admin_is_an_agent_whose_node_can_be_drained() {
    test("an_admin_is_an_agent_whose_node_can_be_drained", async {
        let world = World::new();
        world.build(ann()).await;
        let (queue, fleet) = (world.queue.clone(), world.fleet.clone());
        let served = Served { tools: world.tools.clone(), queue, fleet, ..Served::default() };
        let client = served.client();
        let (queue, n) = (RemoteQueue::new(client), node("n", 1));
        world.fleet.enrol(&kiln::port::Node { drained: true, ..n.clone() }).await.unwrap();
        assert_eq!(queue.lease(&n, TTL, NONE).await.unwrap(), None);
        world.fleet.enrol(&n).await.unwrap();
        assert!(queue.lease(&n, TTL, NONE).await.unwrap().is_some());
    });
}
