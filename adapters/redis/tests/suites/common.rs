//! What the tests of this crate append and push.

use kiln::{
    BuildId, Error, ErrorKind, Event, NodeId, Owner, Resources, Seq, StepId, Timestamp,
    port::{Entry, Job, LogBody, LogRecord, Node, Offset, Store, Stream},
};
use kiln_redis::RedisStore;
use std::{collections::BTreeMap, time::Duration};

pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn build(name: &str) -> BuildId {
    BuildId::new(name).unwrap()
}

pub(crate) fn job(name: &str, owner: &str) -> Job {
    Job::new(build(name), Owner::new(owner).unwrap())
}

pub(crate) fn node(name: &str, slots: u16) -> Node {
    Node {
        id: NodeId::new(name).unwrap(),
        labels: BTreeMap::new(),
        slots,
        resources: Resources::default(),
        drained: false,
        seen_at: Timestamp(1),
    }
}

/// Appends one event to a journal that has so many.
pub(crate) async fn append(store: &RedisStore, name: &str, after: u64) -> Result<Seq, Error> {
    let entry = Entry { at: Timestamp(after), event: Event::StepDue { step: StepId(7) } };
    store.append(&build(name), Seq(after), &[entry]).await
}

/// How many events a journal has; fails if they are not those of [`append`].
pub(crate) async fn loaded(store: &RedisStore, name: &str) -> u64 {
    let journal = match store.load(&build(name), Seq::START).await {
        Err(e) if e.kind() == ErrorKind::NotFound => return 0,
        journal => journal.unwrap(),
    };
    for (i, recorded) in journal.iter().enumerate() {
        assert_eq!((recorded.seq.0, recorded.at.0), (i as u64 + 1, i as u64));
    }
    journal.len() as u64
}

/// A record of output.
pub(crate) fn output(at: u64, len: usize) -> LogRecord {
    let body =
        LogBody::Bytes { stream: Stream::Stdout, data: vec![b'a' + (at % 26) as u8; len].into() };
    LogRecord { at: Offset(at), time: Timestamp(at), step: StepId(0), attempt: 1, body }
}
