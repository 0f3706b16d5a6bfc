//! A world of servers and agents, played from the first build to the last.

use crate::{
    dice::Dice,
    laws::{Ended, Ledgers, Seen},
    line::Line,
    load::{Sent, Submitter},
    process::{Process, Told},
    stores::{Open, Place, Stores},
    storm::Storm,
};
use futures::TryStreamExt;
use kiln::{BuildId, NodeId, Recorded, Seq, port::Offset};
use rustix::process::Signal;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

const AGENTS: usize = 6;
/// How many builds are submitted by how many clients, and unfinished at once.
const CLIENTS: u64 = 4;
const UNFINISHED_MAX: usize = 60;
/// How long anything may take after the storm.
const CALM: Duration = Duration::from_secs(120);

/// What a world is made of.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) servers: usize,
    pub(crate) postgres: Option<Place>,
    pub(crate) redis: Option<Place>,
}

/// What is said of a world and its seed.
#[derive(Debug)]
pub(crate) struct World {
    seed: u64,
    open: Open,
    servers: Vec<String>,
    nodes: BTreeMap<NodeId, PathBuf>,
    /// Gone with the world.
    _dir: TempDir,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How many builds there are.
fn builds() -> u64 {
    let usual = if std::env::var_os("KILN_LONG").is_some() { 2_000 } else { 60 };
    number("KILN_SCALE_BUILDS").unwrap_or(usual)
}

/// An address that nobody has just now.
fn address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Plays a world and checks every law.
pub(crate) async fn play(name: &str, shape: Shape) {
    let seed = number("KILN_SCALE_SEED").unwrap_or_else(|| {
        u64::from_str_radix(&BuildId::random().as_str()[..8], 16).unwrap_or_default()
    });
    println!("{name}: {} builds, KILN_SCALE_SEED={seed}", builds());
    let begin = Instant::now();
    let (world, storm) = World::new(seed, shape).await;
    let submitter = Submitter::new(world.servers.clone(), UNFINISHED_MAX);
    let stop = Arc::new(AtomicBool::new(false));
    let until = stop.clone();
    let raging = std::thread::spawn(move || storm.rage(&until));
    let ended = world.watch(&submitter, &raging).await;
    stop.store(true, Ordering::Relaxed);
    let storm = raging.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let sent = submitter.sent.lock().unwrap().clone();
    let tally = world.calm(&submitter, storm).await;
    let seen = world.check(&sent, &ended).await;
    println!("{name}: {tally}, {seen:?} in {:.1?}", begin.elapsed());
    // A world in which nothing happened proves nothing.
    assert!(seen.drivers > sent.len() && seen.reattached > 0, "{seen:?}");
}

impl World {
    async fn new(seed: u64, shape: Shape) -> (Self, Storm) {
        let dir = tempfile::tempdir().unwrap();
        let name = format!("scale_{}", &BuildId::random().as_str()[..16]);
        let Shape { postgres, redis, .. } = shape;
        let stores = Stores { postgres, redis, name, data: dir.path().into() };
        // Before any server is there: the first one makes the tables.
        let open = stores.open().await.unwrap();
        let (mut servers, mut addresses, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..shape.servers {
            let mut theirs = stores.clone();
            for place in [&mut theirs.postgres, &mut theirs.redis].into_iter().flatten() {
                let line = Line::to(place.port).await;
                *place = place.through(line.port);
                lines.push(line);
            }
            let address = address();
            let told = Told::Server { address: address.clone(), stores: theirs };
            let name = format!("server-{i}");
            servers.push(Process::new(name.clone(), told, dir.path().join(name + ".log")));
            addresses.push(address);
        }
        let (mut agents, mut nodes) = (Vec::new(), BTreeMap::new());
        for i in 0..AGENTS {
            let name = format!("agent-{i}");
            let (node, home) = (NodeId::new(&name).unwrap(), dir.path().join(&name));
            fs::create_dir(&home).unwrap();
            let server = format!("http://{}", addresses[i % addresses.len()]);
            let told = Told::Agent { node: node.clone(), server, dir: home.clone(), seed };
            agents.push(Process::new(name, told, home.join("log")));
            nodes.insert(node, home);
        }
        for process in servers.iter_mut().chain(&mut agents) {
            process.start();
        }
        let storm = Storm::new(seed, servers, agents, lines);
        (Self { seed, open, servers: addresses, nodes, _dir: dir }, storm)
    }

    /// Submits all builds and waits for their ends; returns each journal as it was when its end was
    /// seen first.
    async fn watch<T>(
        &self,
        submitter: &Arc<Submitter>,
        raging: &std::thread::JoinHandle<T>,
    ) -> BTreeMap<BuildId, Vec<Recorded>> {
        let mut dice = Dice::new(self.seed);
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            let many = builds() / CLIENTS + u64::from(client < builds() % CLIENTS);
            clients.spawn(submitter.clone().submit(dice.below(u64::MAX), many));
        }
        let store = &self.open.engine.tools().store;
        let mut ended = BTreeMap::new();
        let mut last = Instant::now();
        while !clients.is_empty() || ended.len() < submitter.sent.lock().unwrap().len() {
            while let Some(client) = clients.try_join_next() {
                client.unwrap();
            }
            assert!(!raging.is_finished(), "a process ended by itself");
            let sent: Vec<_> =
                submitter.sent.lock().unwrap().iter().map(|s| s.build.clone()).collect();
            let unfinished: BTreeSet<_> = store.unfinished().await.unwrap().into_iter().collect();
            let again = ended.keys().find(|build| unfinished.contains(*build));
            assert_eq!(again, None, "it ended, and now it did not");
            for build in sent {
                if !unfinished.contains(&build) && !ended.contains_key(&build) {
                    ended.insert(build.clone(), store.load(&build, Seq::START).await.unwrap());
                    submitter.room.add_permits(1);
                    last = Instant::now();
                }
            }
            if last.elapsed() > CALM {
                self.tell_of(&unfinished).await;
            }
            sleep(Duration::from_millis(100)).await;
        }
        ended
    }

    /// Panics with what is known of builds that came to no end.
    async fn tell_of(&self, builds: &BTreeSet<BuildId>) {
        for build in builds {
            println!("{build}: {:#?}", self.open.engine.view(build).await);
        }
        panic!("nothing ended in {CALM:?}; unfinished: {builds:?}");
    }

    /// After the storm everything works; then the agents come to an orderly end, and with them
    /// whatever a driver may still have had to say.
    async fn calm(&self, submitter: &Arc<Submitter>, mut storm: Storm) -> String {
        let all = submitter.sent.lock().unwrap().len();
        submitter.clone().submit(self.seed, AGENTS as u64).await;
        let store = &self.open.engine.tools().store;
        let begin = Instant::now();
        while !store.unfinished().await.unwrap().is_empty() {
            assert!(begin.elapsed() < CALM, "what was submitted after the storm does not end");
            storm.all_live();
            sleep(Duration::from_millis(50)).await;
        }
        submitter.sent.lock().unwrap().truncate(all);
        // Whoever drove a build to its end may have died before it closed the log; somebody does.
        let sent = submitter.sent.lock().unwrap().clone();
        for Sent { build, .. } in sent {
            while !self.has_closed_log(&build).await {
                assert!(begin.elapsed() < CALM, "nobody closes the log of {build}");
                sleep(Duration::from_millis(50)).await;
            }
        }
        for agent in &storm.agents {
            agent.signal(Signal::TERM);
        }
        for agent in &mut storm.agents {
            let status = loop {
                if let Some(status) = agent.ended() {
                    break status;
                }
                assert!(begin.elapsed() < CALM, "{} does not end", agent.name);
                sleep(Duration::from_millis(20)).await;
            };
            assert!(status.success(), "{}: {status}", agent.name);
        }
        for kind in storm.kinds() {
            assert!(storm.tally.contains_key(&kind), "no {kind:?} in {:?}", storm.tally);
        }
        format!("{:?}", storm.tally)
    }

    async fn has_closed_log(&self, build: &BuildId) -> bool {
        let tools = self.open.engine.tools();
        let end = tools.log_sink.end(build).await.unwrap();
        tools.log_reader.read(build, end, 1, Duration::ZERO).await.unwrap().closed
    }

    /// Checks every build, and that nothing was added to its journal after its end.
    async fn check(&self, sent: &[Sent], ended: &BTreeMap<BuildId, Vec<Recorded>>) -> Seen {
        let mut ledgers = Ledgers::default();
        for (node, dir) in &self.nodes {
            ledgers.read(node, dir);
        }
        let (mut seen, engine) = (Seen::default(), &self.open.engine);
        let store = &engine.tools().store;
        let mut all: BTreeSet<_> = BTreeSet::new();
        for sent in sent {
            let build = &sent.build;
            assert!(all.insert(build), "{build} was made of two submissions");
            let journal = store.load(build, Seq::START).await.unwrap();
            assert_eq!(journal, ended[build], "{build} went on after its end");
            let log = engine.log(build, Offset(0)).try_collect::<Vec<_>>();
            let log = timeout(CALM, log).await.expect("the log is open").unwrap();
            let (seed, ledgers) = (self.seed, &ledgers);
            Ended { seed, sent, journal: &journal, log: &log, ledgers }.check(&mut seen);
        }
        seen
    }
}
