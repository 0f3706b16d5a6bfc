//! Texts of any kind, where the suites do not look: what PostgreSQL keeps in no text or no index.

use crate::common::{Place, build};
use kiln::{ErrorKind, Owner, Placement, Seq, StepId, Timestamp, port::*, state::Phase};
use kiln_conformance::sample::{TEXT, job, node, summary};
use std::{collections::BTreeMap, time::Duration};

const TTL: Duration = Duration::from_secs(60);

/// As long as no index of PostgreSQL takes it, and not to be packed.
fn long() -> String {
    (0..4000).map(|_| kiln::BuildId::random().to_string()).collect()
}

#[tokio::test]
async fn a_filter_may_say_anything() {
    let Some(place) = Place::new("a_filter_may_say_anything") else { return };
    let index = place.db().await.index();
    let (long, page) = (long(), Page { max: 9, after: None });
    let mut b = summary("b", 1);
    b.labels = BTreeMap::from([(long.clone(), long.clone()), ("a".into(), "b=c".into())]);
    index.put(&b).await.unwrap();
    let with = |k: &str, v: &str| BuildFilter {
        labels: BTreeMap::from([(k.to_owned(), v.to_owned())]),
        ..BuildFilter::default()
    };
    for (filter, found) in [
        (with(&long, &long), true),
        (with("a", "b=c"), true),
        (with("a=b", "c"), false),
        (with("ab=c", ""), false),
        (BuildFilter { id_prefix: Some("b\0".into()), ..BuildFilter::default() }, false),
        (BuildFilter { id_prefix: Some("b'; DROP".into()), ..BuildFilter::default() }, false),
        (BuildFilter { id_prefix: Some("é".into()), ..BuildFilter::default() }, false),
        (BuildFilter { outcome: Some("succeeded\0".into()), ..BuildFilter::default() }, false),
        (BuildFilter { outcome: Some(TEXT.into()), ..BuildFilter::default() }, false),
        (BuildFilter { owner: Owner::new("local").ok(), ..BuildFilter::default() }, true),
        (BuildFilter { phase: Some(Phase::Running), ..BuildFilter::default() }, true),
        (BuildFilter { phase: Some(Phase::Finished), ..BuildFilter::default() }, false),
    ] {
        let list = index.list(&filter, &page).await.unwrap();
        assert_eq!(list.len(), usize::from(found), "{filter:?}");
    }
    let all = Page { max: usize::MAX, after: None };
    assert_eq!(index.list(&BuildFilter::default(), &all).await.unwrap(), [b]);
}

#[tokio::test]
async fn a_job_may_ask_for_anything() {
    let Some(place) = Place::new("a_job_may_ask_for_anything") else { return };
    let queue = place.db().await.queue();
    let long = long();
    let labels = |k: &str, v: &str| BTreeMap::from([(k.to_owned(), v.to_owned())]);
    for (i, (key, value)) in
        [("a=b", "c"), ("a", "b=c"), ("a\\", "\0"), ("a", "\\0"), (TEXT, &long)].iter().enumerate()
    {
        let placement = Placement { labels: labels(key, value), ..Placement::default() };
        let limits = BTreeMap::from([(TEXT.to_owned(), 1), (long.clone(), u32::MAX)]);
        let pushed = Job { placement, limits, ..job(&format!("b{i}"), "o") };
        queue.push(pushed.clone()).await.unwrap();
        let mut n = node("n", 9);
        for (k, v) in [("a=b", "d"), ("a", "b"), ("b", "c"), ("a\\", ""), ("a\0", "\\0")] {
            n.labels = labels(k, v);
            assert_eq!(queue.lease(&n, TTL, Duration::ZERO).await.unwrap(), None, "{key} {k}");
        }
        n.labels = labels(key, value);
        let lease = queue.lease(&n, TTL, Duration::ZERO).await.unwrap().unwrap();
        assert_eq!(lease.job, pushed);
        queue.settle(&lease, Settlement::Done).await.unwrap();
    }
}

/// The largest numbers there are neither fail nor come back as others, but for times beyond all
/// time.
#[tokio::test]
async fn numbers_may_be_large() {
    let Some(place) = Place::new("numbers_may_be_large") else { return };
    let db = place.db().await;
    let queue = db.queue();
    let resources = kiln::Resources { cpu_millis: u32::MAX, memory_bytes: u64::MAX };
    let placement = Placement { resources, ..Placement::default() };
    for i in 0..2 {
        let pushed = Job { placement: placement.clone(), ..job(&format!("b{i}"), "o") };
        queue.push(pushed.clone()).await.unwrap();
        let lease = queue.lease(&node("n", 9), Duration::MAX, Duration::ZERO).await.unwrap();
        let lease = lease.unwrap();
        assert_eq!(lease.job, pushed);
        let renewed = queue.renew(&lease, Duration::MAX).await.unwrap();
        assert!(renewed.until >= lease.until);
        queue.settle(&renewed, Settlement::Done).await.unwrap();
    }
    queue.push(job("free", "o")).await.unwrap();
    let free = queue.lease(&node("n", 9), TTL, Duration::ZERO).await.unwrap().unwrap();
    queue.settle(&free, Settlement::Again(Timestamp(0))).await.unwrap();
    for token in [0, u64::MAX] {
        // Somebody makes up a lease of a job that nobody has.
        let made_up = Lease { token, ..free.clone() };
        assert_eq!(queue.renew(&made_up, TTL).await.unwrap_err().kind(), ErrorKind::Conflict);
        let settled = queue.settle(&made_up, Settlement::Done).await;
        assert_eq!(settled.unwrap_err().kind(), ErrorKind::Conflict);
    }
    assert!(queue.remove(&build("free")).await.unwrap());
    queue.push(Job { not_before: Timestamp(u64::MAX), ..job("late", "o") }).await.unwrap();
    let patience = Duration::from_millis(50);
    assert_eq!(queue.lease(&node("n", 9), TTL, patience).await.unwrap(), None);
    let event = || kiln::Event::StepSkipped { step: StepId(u16::MAX) };
    let entry = |at| Entry { at: Timestamp(at), event: event() };
    let far = i64::MAX as u64;
    db.store().append(&build("b"), Seq::START, &[entry(far)]).await.unwrap();
    assert_eq!(db.store().load(&build("b"), Seq::START).await.unwrap()[0].at, Timestamp(far));
    assert!(db.store().append(&build("b"), Seq(u64::MAX), &[entry(1)]).await.is_err());
    assert_eq!(db.store().load(&build("b"), Seq(u64::MAX)).await.unwrap(), []);
}
