//! Whole agents on a machine that is only pretended, behind a network that breaks all the time.

use crate::served::{Served, ann};
use futures::TryStreamExt;
use kiln::{
    Attempts, BoxName, BoxSpec, BuildId, Command, Engine, Event, Op, Outcome, Plan, Seq, Step,
    StepId, StopReason, Submission, Toolbox,
    memory::{MemoryFleet, MemoryHost, MemoryQueue, MemoryRuntime, MemoryWorkspaces},
    port::{Job, LogBody, Offset, Queue},
};
use kiln_agent::{Agent, Stop, run};
use kiln_api_agent::{Everybody, Scope};
use kiln_conformance::sample::{image, node};
use kiln_remote::{RemoteClient, RemoteConfig};
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// A row of numbers that looks like chance and comes again from the same seed.
#[derive(Debug)]
struct Chance(AtomicU64);

impl Chance {
    fn below(&self, limit: u64) -> u64 {
        let n = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (n ^ (n >> 31)) % limit
    }
}

/// Listens and passes everything on, and breaks every connection somewhere: before a request has
/// arrived, or when it has and its answer is on the way.
fn flaky(to: &str, seed: u64) -> (String, Arc<AtomicU64>) {
    let to = to.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (chance, broken) = (Arc::new(Chance(seed.into())), Arc::new(AtomicU64::new(0)));
    let count = broken.clone();
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(&to) else { return };
            let mut limits = [u64::MAX; 2];
            limits[chance.below(2) as usize] = chance.below(6_000);
            let [up, down] = limits;
            for (mut from, mut to, limit) in
                [(near.try_clone().unwrap(), far.try_clone().unwrap(), up), (far, near, down)]
            {
                let count = count.clone();
                thread::spawn(move || pass(&mut from, &mut to, limit, &count));
            }
        }
    });
    (url, broken)
}

/// Passes bytes on until a limit, and then breaks the connection off.
fn pass(from: &mut TcpStream, to: &mut TcpStream, limit: u64, count: &AtomicU64) {
    let (mut left, mut buffer) = (limit, [0; 4096]);
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let read = (read as u64).min(left) as usize;
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
        left -= read as u64;
        if left == 0 {
            count.fetch_add(1, Ordering::Relaxed);
            break;
        }
    }
    // Either side may be gone already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Two steps that print what can be told apart.
fn plan(number: usize) -> (Plan, [String; 2]) {
    let mut plan = Plan::builder();
    let name = BoxName::new("main").unwrap();
    plan.add_box(name.clone(), BoxSpec::new(image("busybox")));
    let mut before = None;
    let printed = [0, 1].map(|step| {
        let lines: Vec<_> = (0..40).map(|i| format!("echo {number}/{step}/{i}")).collect();
        let command = Command::script(lines.join("; sleep 5; "));
        let exec = Op::Exec { in_box: name.clone(), command };
        let mut it =
            Step::new(format!("step-{step}"), exec).attempts(Attempts { max: 20, backoff_ms: 10 });
        it.needs.extend(before);
        before = Some(plan.step(it));
        lines.iter().map(|l| format!("{}\n", &l[5..])).collect()
    });
    (plan.finish().unwrap(), printed)
}

fn agent(url: &str, name: &str, dir: &Path) -> Agent {
    let client = RemoteClient::new(&RemoteConfig::new(url)).unwrap();
    let (host, tools) = (MemoryHost::default(), Toolbox::default());
    let effects = Toolbox {
        runtime: Some(Arc::new(MemoryRuntime::new(&host, tools.clock.clone()))),
        workspaces: Arc::new(MemoryWorkspaces::default()),
        ..tools
    };
    Agent {
        client,
        effects,
        node: node(name, 4),
        leases: dir.join(format!("{name}.json")),
        lease_time: Duration::from_secs(3),
        drain_time: Duration::from_secs(20),
        leftovers: None,
    }
}

/// What the attempt of a step that succeeded printed, and how the build ended.
async fn ended(engine: &Engine, build: &BuildId) -> (Outcome, [String; 2]) {
    let journal: Vec<_> = engine.events(build, Seq::START).try_collect().await.unwrap();
    let mut good = [0; 2];
    for recorded in &journal {
        if let Event::StepSucceeded { step, attempt, .. } = recorded.event {
            good[step.index()] = attempt;
        }
    }
    let finished: Vec<_> = journal
        .iter()
        .filter_map(|r| match &r.event {
            Event::Finished { outcome } => Some(outcome.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(finished.len(), 1, "{journal:?}");
    let records: Vec<_> = engine.log(build, Offset(0)).try_collect().await.unwrap();
    let mut printed = [const { String::new() }; 2];
    for record in records {
        let StepId(step) = record.step;
        if let LogBody::Gap { .. } = record.body {
            panic!("a gap: {record:?}");
        }
        if let LogBody::Bytes { data, stream: kiln::port::Stream::Stdout } = record.body
            && good[usize::from(step)] == record.attempt
        {
            printed[usize::from(step)].push_str(std::str::from_utf8(&data).unwrap());
        }
    }
    (finished[0].clone(), printed)
}

#[test]
fn a_network_that_breaks_costs_no_build_and_no_byte() {
    let seed = std::env::var("KILN_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(17);
    println!("seed {seed}");
    kiln_conformance::run("a network that breaks", async move {
        let (tools, dir) = (Toolbox::default(), tempfile::tempdir().unwrap());
        let engine = Engine::builder().toolbox(tools.clone()).build();
        let (queue, fleet) = (Arc::new(MemoryQueue::default()), Arc::new(MemoryFleet::default()));
        let url = Served {
            tools,
            queue: queue.clone(),
            fleet: fleet.clone(),
            access: Arc::new(Everybody(Scope::Agent)),
            hold_back: Duration::ZERO,
        }
        .listen();
        let (url, broken) = flaky(&url, seed);
        let mut builds = Vec::new();
        for number in 0..12 {
            let (plan, printed) = plan(number);
            let build = engine.accept(Submission::new(plan).owner(ann())).await.unwrap();
            queue.push(Job::new(build.clone(), ann())).await.unwrap();
            builds.push((build, printed));
        }
        let stop = Stop::default();
        let agents = ["one", "two"]
            .map(|name| tokio::spawn(run(agent(&url, name, dir.path()), stop.clone())));
        for (build, printed) in builds {
            assert_eq!(ended(&engine, &build).await, (Outcome::Succeeded, printed), "seed {seed}");
        }
        let broken = broken.load(Ordering::Relaxed);
        assert!(broken > 20, "only {broken} connections were broken");
        stop.drain.cancel(StopReason::Cancel);
        for ended in agents {
            ended.await.unwrap().unwrap();
        }
        assert_eq!(engine.unfinished().await.unwrap(), []);
    });
}
