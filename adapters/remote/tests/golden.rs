//! The protocol as it is stored in `tests/golden/agent`, one file a version: against a server that
//! answers what was written down, this agent asks what was written down and understands the answers.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

mod script;

use futures::{StreamExt, TryStreamExt, stream};
use kiln::{
    BuildId, DriverId, ErrorKind, Event, NodeId, Owner, Resources, Secret, SecretRef, Seq, StepId,
    Timestamp,
    port::{
        ArtifactKey, ArtifactStore, BuildSummary, Entry, Fleet, Index, Job, Lease, LogBody,
        LogReader, LogRecord, LogSink, Node, Offset, Progress, ProgressUnit, Queue, Secrets,
        Settlement, Store, Stream,
    },
    state::Phase,
};
use kiln_remote::{
    RemoteArtifacts, RemoteClient, RemoteConfig, RemoteFleet, RemoteIndex, RemoteLogs, RemoteQueue,
    RemoteSecrets, RemoteStore,
};
use script::{newer, play, read};
use std::{collections::BTreeMap, time::Duration};

const TTL: Duration = Duration::from_secs(30);

fn build() -> BuildId {
    BuildId::new("b1").unwrap()
}

fn node() -> Node {
    Node {
        id: NodeId::new("builder-1").unwrap(),
        labels: BTreeMap::from([("os".to_owned(), "linux".to_owned())]),
        slots: 2,
        resources: Resources { cpu_millis: 4000, memory_bytes: 1 << 30 },
        drained: false,
        seen_at: Timestamp(1_000_000),
    }
}

fn lease() -> Lease {
    let job = Job::new(build(), Owner::new("ann").unwrap());
    Lease { job, token: 2, until: Timestamp(1_030_000) }
}

fn records() -> Vec<LogRecord> {
    let progress = Progress {
        item: "layer".into(),
        action: "Pulling".into(),
        done: 1,
        total: Some(2),
        unit: ProgressUnit::Bytes,
    };
    let bodies = [
        LogBody::Started,
        LogBody::Bytes { stream: Stream::Stdout, data: (&b"hello \xff\n"[..]).into() },
        LogBody::Progress(progress),
        LogBody::Gap { bytes: 5, why: "the disk is full".into() },
        LogBody::Ended(kiln::port::StepEnd::Succeeded),
    ];
    let (mut at, mut time) = (Offset(0), Timestamp(1_000_004));
    let record = |body| {
        time.0 += 1;
        let record = LogRecord { at, time, step: StepId(0), attempt: 1, body };
        at = record.end();
        record
    };
    bodies.into_iter().map(record).collect()
}

/// Everything an agent does, once.
async fn session(url: &str, asks_for_nodes: bool) {
    let token = Some(Secret::new("kiln_golden"));
    let client = RemoteClient::new(&RemoteConfig { token, ..RemoteConfig::new(url) }).unwrap();
    let fleet = RemoteFleet::new(client.clone());
    fleet.enrol(&node()).await.unwrap();
    assert!(!fleet.beat_and_hear(&node().id, Timestamp(1_000_001)).await.unwrap());
    if asks_for_nodes {
        let known = fleet.nodes().await.unwrap();
        assert_eq!(known[0].labels["kiln.token"], "everybody");
    }
    let queue = RemoteQueue::new(client.clone());
    assert_eq!(queue.lease(&node(), TTL, Duration::ZERO).await.unwrap(), Some(lease()));
    journal(&RemoteStore::new(client.clone())).await;
    logs(&RemoteLogs::new(client.clone())).await;
    index(&RemoteIndex::new(client.clone())).await;
    artifacts(&RemoteArtifacts::new(client.clone())).await;
    let (ann, name) = (Owner::new("ann").unwrap(), SecretRef::new("token").unwrap());
    let secret = RemoteSecrets::new(client.clone()).reveal(&ann, &name).await.unwrap();
    assert_eq!(secret.expose(), b"s3cret");
    assert_eq!(queue.renew(&lease(), TTL).await.unwrap(), lease());
    queue.settle(&lease(), Settlement::Again(Timestamp(1_000_500))).await.unwrap();
    let refused = RemoteStore::new(client).load(&build(), Seq::START).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    assert!(refused.message().starts_with("an agent touches only builds"), "{refused}");
    fleet.remove(&node().id).await.unwrap();
}

async fn journal(store: &RemoteStore) {
    let journal = store.load(&build(), Seq::START).await.unwrap();
    assert!(matches!(&journal[0].event, Event::Accepted { plan, .. } if plan.steps().len() == 1));
    let driver = DriverId::new("d1").unwrap();
    let event = Event::Adopted { driver, node: node().id, kept: vec![] };
    let entries = [Entry { at: Timestamp(1_000_001), event }];
    assert_eq!(store.append(&build(), Seq(1), &entries).await.unwrap(), Seq(2));
    let conflict = store.append(&build(), Seq(1), &entries).await.unwrap_err();
    assert_eq!(conflict.kind(), ErrorKind::Conflict);
    assert_eq!(conflict.message(), "the journal moved on (build: b1, after: 1, end: 2)");
    assert!(store.wait(&build(), Seq(1), Duration::ZERO).await.unwrap());
}

async fn logs(logs: &RemoteLogs) {
    assert_eq!(logs.end(&build()).await.unwrap(), Offset(0));
    assert_eq!(logs.append(&build(), Offset(0), &records()).await.unwrap(), Offset(16));
    let page = logs.read(&build(), Offset(0), 1000, Duration::ZERO).await.unwrap();
    assert_eq!((page.records, page.next, page.closed), (records(), Offset(16), false));
    logs.close(&build()).await.unwrap();
}

async fn index(index: &RemoteIndex) {
    let summary = BuildSummary {
        build: build(),
        seq: Seq(2),
        owner: Owner::new("ann").unwrap(),
        labels: BTreeMap::new(),
        phase: Phase::Running,
        outcome: None,
        accepted_at: Timestamp(1_000_000),
        finished_at: None,
        steps: 1,
        steps_over: 0,
    };
    index.put(&summary).await.unwrap();
}

async fn artifacts(artifacts: &RemoteArtifacts) {
    let key = ArtifactKey { build: build(), name: kiln::RelPath::new("dir/a b").unwrap() };
    let body = stream::iter([Ok("by".into()), Ok("tes".into())]).boxed();
    let artifact = artifacts.put(&key, body).await.unwrap();
    assert_eq!((artifact.key.as_str(), artifact.bytes), ("b1/dir/a b", 5));
    let got: Vec<_> = artifacts.get(&key).await.unwrap().try_collect().await.unwrap();
    assert_eq!(got.concat(), b"bytes");
    assert_eq!(artifacts.list(&build()).await.unwrap(), [artifact]);
}

fn test(name: &str, work: impl Future<Output = ()>) {
    kiln_conformance::run(name, work);
}

#[test]
fn a_server_of_this_version_is_asked_as_written_down() {
    test("golden 1.1", async {
        let server = play("1.1", read("1.1"));
        session(&server.url, true).await;
        server.end();
    });
}

/// It does not say with the beat whether a node is drained, so it is asked.
#[test]
fn a_server_one_minor_version_older_is_understood() {
    test("golden 1.0", async {
        let server = play("1.0", read("1.0"));
        session(&server.url, false).await;
        server.end();
    });
}

#[test]
fn a_server_one_minor_version_newer_is_understood() {
    test("golden 1.2", async {
        let mut golden = read("1.1");
        golden.iter_mut().filter_map(|e| e.response.json.as_mut()).for_each(newer);
        let server = play("1.2", golden);
        session(&server.url, true).await;
        server.end();
    });
}

#[test]
fn a_server_further_away_is_not_talked_to() {
    test("golden 1.3", async {
        for (version, word) in [("1.3", "Update the agent"), ("0.9", "Update the server")] {
            let server = play(version, read("1.1"));
            let fleet =
                RemoteFleet::new(RemoteClient::new(&RemoteConfig::new(&server.url)).unwrap());
            let e = fleet.enrol(&node()).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Unsupported);
            assert!(e.hint_text().unwrap().starts_with(word), "{e:?}");
        }
    });
}
