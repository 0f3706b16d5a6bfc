//! Every version of the keys against its golden file: those that an older Kiln wrote hold what they
//! held, and what this one writes never changes within a version. A golden file has the keys as
//! commands that make them.

use crate::{
    common::{build, job, node, output},
    server::Server,
};
use kiln::{
    Event, Outcome, Owner, Placement, Resources, Seq, StepId, Timestamp, memory::VirtualClock,
    port::*, state::Phase,
};
use kiln_conformance::run;
use kiln_redis::{RedisDb, RedisQueue};
use redis::Connection;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

/// What this Kiln writes.
const VERSION: u32 = 1;
const NOW: u64 = 1_700_000_000_000;
const TTL: Duration = Duration::from_secs(60);

fn golden(version: u32) -> PathBuf {
    let name = format!("../../tests/golden/redis/v{version}.txt");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn events() -> [Event; 2] {
    let finished = Event::Finished { outcome: Outcome::Failed { step: StepId(1) } };
    [Event::StepStarted { step: StepId(1), attempt: 2 }, finished]
}

fn summary(name: &str, at: u64) -> BuildSummary {
    BuildSummary {
        build: build(name),
        seq: Seq(2),
        owner: Owner::new("ann").unwrap(),
        labels: BTreeMap::from([("repo".to_owned(), "it's \"app\"=x".to_owned())]),
        phase: Phase::Finished,
        outcome: Some(Outcome::TimedOut),
        accepted_at: Timestamp(at),
        finished_at: Some(Timestamp(at + 9)),
        steps: 3,
        steps_over: 2,
    }
}

fn records() -> Vec<LogRecord> {
    let mut at = Offset(0);
    let progress = Progress {
        item: "layer".into(),
        action: "Pulling".into(),
        done: 3,
        total: Some(7),
        unit: ProgressUnit::Bytes,
    };
    let bodies = [
        LogBody::Started,
        LogBody::Bytes { stream: Stream::Stdout, data: "plain\n".into() },
        LogBody::Bytes { stream: Stream::Stderr, data: vec![0xff, 0, b'\r', 0xfe].into() },
        LogBody::Bytes { stream: Stream::System, data: "x".into() },
        LogBody::Progress(progress),
        LogBody::Gap { bytes: 1000, why: "the disk is full".into() },
        LogBody::Ended(StepEnd::Succeeded),
        LogBody::Ended(StepEnd::Failed),
    ];
    let record = |body| {
        let record = LogRecord { at, body, time: Timestamp(NOW), step: StepId(2), attempt: 3 };
        at = record.end();
        record
    };
    bodies.into_iter().map(record).collect()
}

fn jobs() -> [Job; 3] {
    let placement = Placement {
        labels: BTreeMap::from([("arch".to_owned(), "arm64".to_owned())]),
        resources: Resources { cpu_millis: 500, memory_bytes: 1 << 30 },
        ..Placement::default()
    };
    let limits = BTreeMap::from([("branch=main".to_owned(), 2)]);
    [
        Job { limits, placement, ..job("held", "ann") },
        Job { priority: -3, ..job("free", "ann") },
        Job { not_before: Timestamp(NOW + 5000), ..job("late", "bob") },
    ]
}

fn machine() -> Node {
    let labels = BTreeMap::from([("arch".to_owned(), "arm64".to_owned())]);
    Node { labels, ..node("n-1", 4) }
}

fn queue(db: &RedisDb, at: u64) -> RedisQueue {
    RedisQueue::with_clock(db, Arc::new(VirtualClock::at(Timestamp(at))))
}

/// Stores one of each.
async fn fill(db: &RedisDb) {
    let store = db.store().unwrap();
    let entries = events().map(|event| Entry { at: Timestamp(NOW), event });
    store.append(&build("over"), Seq::START, &entries).await.unwrap();
    store.append(&build("open"), Seq::START, &entries[..1]).await.unwrap();
    for (name, at) in [("over", 5), ("open", 6)] {
        db.index().put(&summary(name, at)).await.unwrap();
    }
    for job in jobs() {
        queue(db, NOW).push(job).await.unwrap();
    }
    let lease = queue(db, NOW).lease(&machine(), TTL, Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(lease.job, jobs()[0]);
    db.fleet().enrol(&machine()).await.unwrap();
    db.fleet().beat(&machine().id, Timestamp(NOW)).await.unwrap();
    let logs = db.logs();
    logs.append(&build("over"), Offset(0), &records()).await.unwrap();
    logs.close(&build("over")).await.unwrap();
    logs.append(&build("open"), Offset(0), &[output(0, 3)]).await.unwrap();
}

/// Expects what `fill` stored.
async fn expect(db: &RedisDb) {
    let store = db.store().unwrap();
    let journal = store.load(&build("over"), Seq::START).await.unwrap();
    assert_eq!(journal.into_iter().map(|r| r.event).collect::<Vec<_>>(), events());
    assert_eq!(store.unfinished().await.unwrap(), [build("open")]);
    let page = Page { max: 9, after: None };
    let labels = summary("over", 5).labels;
    for filter in [BuildFilter::default(), BuildFilter { labels, ..BuildFilter::default() }] {
        let list = db.index().list(&filter, &page).await.unwrap();
        assert_eq!(list, [summary("open", 6), summary("over", 5)], "{filter:?}");
    }
    let seen = Node { seen_at: Timestamp(NOW), ..machine() };
    assert_eq!(db.fleet().nodes().await.unwrap(), [seen]);
    let logs = db.logs();
    let read = logs.read(&build("over"), Offset(0), 9999, TTL).await.unwrap();
    assert_eq!((read.records, read.closed), (records(), true));
    logs.append(&build("open"), Offset(3), &[output(3, 3)]).await.unwrap();
    // The first lease expires after those that come now.
    let [held, free, late] = jobs();
    for (at, job) in [(NOW, free), (NOW + 5000, late), (NOW + 60_000, held)] {
        let lease = queue(db, at).lease(&machine(), TTL * 9, Duration::ZERO).await.unwrap();
        assert_eq!(lease.unwrap().job, job);
    }
}

/// A word of a command, which any bytes can be.
fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

/// All keys, as commands that make them, by name.
fn dump(server: &mut Connection) -> String {
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(server).unwrap();
    keys.sort();
    let mut text = String::new();
    for key in keys {
        let of: String = redis::cmd("TYPE").arg(&key).query(server).unwrap();
        let (make, read, more): (_, _, &[&str]) = match of.as_str() {
            "string" => ("SET", "GET", &[]),
            "list" => ("RPUSH", "LRANGE", &["0", "-1"]),
            "set" => ("SADD", "SORT", &["ALPHA"]),
            "hash" => ("HSET", "HGETALL", &[]),
            "zset" => ("ZADD", "ZRANGE", &["0", "-1", "WITHSCORES"]),
            "stream" => ("XADD", "XRANGE", &["-", "+"]),
            other => panic!("{other} is no type of ours"),
        };
        let all: redis::Value = redis::cmd(read).arg(&key).arg(more).query(server).unwrap();
        let mut lines = lines(make, all);
        if make == "HSET" {
            lines.sort();
        }
        for line in lines {
            let words: Vec<_> = line.iter().map(|word| quoted(word)).collect();
            text.push_str(&format!("{make} {} {}\n", quoted(key.as_bytes()), words.join(" ")));
        }
    }
    text
}

/// What follows the key in the commands that make it.
fn lines(make: &str, all: redis::Value) -> Vec<Vec<Vec<u8>>> {
    let flat = |value| redis::from_redis_value::<Vec<Vec<u8>>>(value).unwrap();
    if make == "XADD" {
        let entries: Vec<(Vec<u8>, redis::Value)> = redis::from_redis_value(all).unwrap();
        return entries.into_iter().map(|(id, fields)| [vec![id], flat(fields)].concat()).collect();
    }
    let words = match all {
        redis::Value::BulkString(one) => vec![one],
        many => flat(many),
    };
    let pairs = |swap: bool| {
        words.chunks(2).map(move |pair| match swap {
            true => vec![pair[1].clone(), pair[0].clone()],
            false => pair.to_vec(),
        })
    };
    match make {
        "HSET" => pairs(false).collect(),
        "ZADD" => pairs(true).collect(),
        _ => words.iter().map(|word| vec![word.clone()]).collect(),
    }
}

/// Runs the commands of a golden file.
fn restore(server: &mut Connection, text: &str) {
    for line in text.lines() {
        let (name, mut rest) = line.split_once(' ').unwrap();
        let mut cmd = redis::cmd(name);
        while let Some(after) = rest.trim_start().strip_prefix('"') {
            let (mut word, mut bytes) = (Vec::new(), after.as_bytes());
            loop {
                match bytes {
                    [b'\\', b'x', high, low, more @ ..] => {
                        let hex = [*high, *low];
                        let hex = std::str::from_utf8(&hex).unwrap();
                        word.push(u8::from_str_radix(hex, 16).unwrap());
                        bytes = more;
                    }
                    [b'\\', mark, more @ ..] => {
                        word.push(match mark {
                            b'n' => b'\n',
                            b'r' => b'\r',
                            b't' => b'\t',
                            other => *other,
                        });
                        bytes = more;
                    }
                    [b'"', more @ ..] => {
                        rest = std::str::from_utf8(more).unwrap();
                        break;
                    }
                    [byte, more @ ..] => {
                        word.push(*byte);
                        bytes = more;
                    }
                    [] => panic!("{line} does not end"),
                }
            }
            cmd.arg(word);
        }
        cmd.query::<redis::Value>(server).unwrap();
    }
}

#[test]
fn golden_redis_of_this_version_is_what_is_written() {
    let Some(server) = Server::start(crate::server::DURABLE) else { return };
    run("golden_redis_of_this_version_is_what_is_written", async {
        fill(&server.connect().await).await;
        let text = dump(&mut server.raw());
        // A version is written once: other keys are another version.
        if std::env::var_os("KILN_BLESS").is_some() && !golden(VERSION).exists() {
            std::fs::create_dir_all(golden(VERSION).parent().unwrap()).unwrap();
            std::fs::write(golden(VERSION), &text).unwrap();
        }
        let golden = std::fs::read_to_string(golden(VERSION)).unwrap();
        assert_eq!(text, golden, "other keys need another version and a golden file of its own");
    });
}

#[test]
fn golden_redis_of_every_version_holds_what_it_held() {
    for version in 1..=VERSION {
        let Some(server) = Server::start(crate::server::DURABLE) else { return };
        run("golden_redis_of_every_version_holds_what_it_held", async {
            let text = std::fs::read_to_string(golden(version)).unwrap();
            restore(&mut server.raw(), &text);
            assert_eq!(dump(&mut server.raw()), text);
            expect(&server.connect().await).await;
        });
    }
}
