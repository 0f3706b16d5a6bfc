use super::{LONG, NONE, TTL, now, turns};
use crate::{
    Fresh,
    helpers::expect_kind,
    sample::{build, job, node},
};
use futures::future::join;
use kiln::{
    ErrorKind, NodeId, Placement, Resources, Timestamp,
    port::{Job, Lease, Queue, Settlement},
};
use std::collections::{BTreeMap, BTreeSet};

async fn push(queue: &(impl Queue + ?Sized), name: &str, owner: &str, priority: i32) {
    queue.push(Job { priority, ..job(name, owner) }).await.expect("a push");
}

/// Of one owner's jobs the highest priority goes first; below usual is possible.
pub async fn of_one_owner_the_highest_priority_goes_first<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let jobs = [("low", -5), ("usual", 0), ("max", i32::MAX), ("high", 7), ("min", i32::MIN)];
    for (name, priority) in jobs {
        push(&*queue, name, "o", priority).await;
    }
    assert_eq!(turns(&*queue, &node("n", 9)).await, "max high usual low min");
}

/// Of one owner's jobs of one priority the oldest goes first; one that was given back keeps its age.
pub async fn of_one_priority_the_oldest_goes_first<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    for name in ["z", "a", "m", "b"] {
        push(&*queue, name, "o", 3).await;
    }
    let lease = now(&*queue, &node("n", 9)).await.unwrap();
    assert_eq!(lease.job.build, build("z"));
    queue.settle(&lease, Settlement::Again(Timestamp(0))).await.unwrap();
    assert_eq!(turns(&*queue, &node("n", 9)).await, "z a m b");
}

/// The owner with the fewest leases goes first, whatever priorities others have; expired leases
/// do not count.
pub async fn the_owner_with_the_fewest_leases_goes_first<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let n = node("n", 9);
    for name in ["a1", "a2", "a3", "a4"] {
        push(&*queue, name, "ann", 99).await;
    }
    assert_eq!(now(&*queue, &n).await.unwrap().job.build, build("a1"));
    assert_eq!(now(&*queue, &n).await.unwrap().job.build, build("a2"));
    push(&*queue, "b1", "bob", 0).await;
    push(&*queue, "b2", "bob", 1).await;
    push(&*queue, "b3", "bob", 0).await;
    // Bob has no lease, then one; then both have two.
    for expected in ["b2", "b1"] {
        assert_eq!(now(&*queue, &n).await.unwrap().job.build, build(expected));
    }
    let two: Vec<_> = [now(&*queue, &n).await, now(&*queue, &n).await]
        .map(|l| l.unwrap().job.owner.to_string())
        .into();
    assert!(two.contains(&"ann".to_owned()) && two.contains(&"bob".to_owned()), "{two:?}");
    // Leases that expired are no leases.
    push(&*queue, "c1", "cem", 0).await;
    let lease = queue.lease(&n, TTL, NONE).await.unwrap().unwrap();
    assert_eq!(lease.job.build, build("c1"));
    queue.clock().pass(TTL * 2).await;
    assert_eq!(now(&*queue, &n).await.unwrap().job.build, build("c1"));
}

/// Jobs that this node, or no node, can run stand in nobody's way.
pub async fn a_job_that_does_not_fit_holds_up_nobody<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let elsewhere = || Placement { node: NodeId::new("far").ok(), ..Placement::default() };
    let later = queue.clock().now().plus(LONG);
    for i in 0..5 {
        let name = format!("far{i}");
        queue.push(Job { priority: 9, placement: elsewhere(), ..job(&name, "o") }).await.unwrap();
        let late = job(&format!("late{i}"), "o");
        queue.push(Job { priority: 9, not_before: later, ..late }).await.unwrap();
    }
    push(&*queue, "x", "o", 0).await;
    push(&*queue, "y", "p", 0).await;
    assert_eq!(turns(&*queue, &node("n", 9)).await, "x y");
}

/// A job goes only to a node with the name and all the labels it asks for.
pub async fn a_job_goes_where_its_placement_says<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    let mut linux = node("linux", 9);
    linux.labels = labels(&[("os", "linux"), ("zone", "1")]);
    let mut both = node("both", 9);
    both.labels = labels(&[("os", "linux"), ("gpu", "yes")]);
    let asks = |pairs| Placement { labels: labels(pairs), ..Placement::default() };
    let placements = [
        ("gpu", asks(&[("os", "linux"), ("gpu", "yes")])),
        ("no-gpu", asks(&[("gpu", "no")])),
        ("any-linux", asks(&[("os", "linux")])),
        ("named", Placement { node: NodeId::new("both").ok(), ..Placement::default() }),
    ];
    for (name, placement) in placements {
        queue.push(Job { placement, ..job(name, "o") }).await.unwrap();
    }
    assert_eq!(turns(&*queue, &node("bare", 9)).await, "");
    assert_eq!(turns(&*queue, &linux).await, "any-linux");
    assert_eq!(turns(&*queue, &both).await, "gpu named");
}

/// A node with all its slots leased gets nothing until one is free: settled, or expired.
pub async fn a_node_has_no_more_leases_than_slots<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let n = node("n", 2);
    for name in ["a", "b", "c", "d", "e"] {
        push(&*queue, name, "o", 0).await;
    }
    let first = now(&*queue, &n).await.unwrap();
    let second = queue.lease(&n, TTL, NONE).await.unwrap().unwrap();
    assert_eq!(now(&*queue, &n).await, None);
    assert_eq!(now(&*queue, &node("none", 0)).await, None);
    assert!(now(&*queue, &node("other", 1)).await.is_some());
    queue.settle(&first, Settlement::Done).await.unwrap();
    assert!(now(&*queue, &n).await.is_some());
    assert_eq!(now(&*queue, &n).await, None);
    queue.clock().pass(TTL * 2).await;
    assert_eq!(now(&*queue, &n).await.unwrap().job.build, second.job.build);
    expect_kind(queue.renew(&second, LONG).await, ErrorKind::Conflict, "an expired lease");
}

/// What the leases of a node ask for together is no more than it has. What it has 0 of it does
/// not limit.
pub async fn a_node_gives_no_more_than_it_has<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let asks = |cpu_millis, memory_bytes| Placement {
        resources: Resources { cpu_millis, memory_bytes },
        ..Placement::default()
    };
    let big = 6 << 30;
    let placements =
        [("a", asks(600, 0)), ("b", asks(600, 0)), ("c", asks(400, big)), ("d", asks(0, big))];
    for (name, placement) in placements {
        queue.push(Job { placement, ..job(name, "o") }).await.unwrap();
    }
    let mut n = node("n", 9);
    n.resources = Resources { cpu_millis: 1000, memory_bytes: 8 << 30 };
    let first = now(&*queue, &n).await.unwrap();
    assert_eq!(first.job.build, build("a"));
    assert_eq!(now(&*queue, &n).await.unwrap().job.build, build("c"), "`b` has to wait");
    assert_eq!(now(&*queue, &n).await, None);
    queue.settle(&first, Settlement::Done).await.unwrap();
    assert_eq!(turns(&*queue, &n).await, "b");
    assert_eq!(turns(&*queue, &node("boundless", 9)).await, "d");
}

/// A drained node gets nothing new and keeps what it has.
pub async fn a_drained_node_gets_nothing<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let mut n = node("n", 9);
    push(&*queue, "x", "o", 0).await;
    push(&*queue, "y", "o", 0).await;
    let lease = now(&*queue, &n).await.unwrap();
    n.drained = true;
    assert_eq!(now(&*queue, &n).await, None);
    queue.renew(&lease, LONG).await.unwrap();
    assert_eq!(turns(&*queue, &node("other", 9)).await, "y");
}

/// A job with a limit for a group waits until there are fewer leases of that group, over all nodes
/// and owners, and holds up nobody; a job that does not name the group does not count.
pub async fn no_group_has_more_leases_than_a_job_allows<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let limits = |of: &[(&str, u32)]| of.iter().map(|(g, n)| ((*g).to_owned(), *n)).collect();
    let jobs = [
        ("a1", "ann", limits(&[("app", 2)])),
        ("a2", "ann", limits(&[("app", 2)])),
        ("b1", "bob", limits(&[("app", 2), ("bob", 1)])),
        ("b2", "bob", limits(&[("bob", 1)])),
        ("c1", "cem", limits(&[])),
        ("never", "dan", limits(&[("app", 0)])),
    ];
    for (name, owner, limits) in jobs {
        queue.push(Job { limits, ..job(name, owner) }).await.unwrap();
    }
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(now(&*queue, &node("n", 9)).await.unwrap());
    }
    let names = |leases: &[Lease]| -> String {
        let names: Vec<_> = leases.iter().map(|l| l.job.build.to_string()).collect();
        names.join(" ")
    };
    assert_eq!(names(&leases), "a1 b1 c1");
    assert_eq!(now(&*queue, &node("other", 9)).await, None, "both groups are full");
    assert_eq!(leases[1].job.limits, limits(&[("app", 2), ("bob", 1)]));
    // Whoever waits is told.
    let other = node("other", 9);
    let settled = async { queue.settle(&leases[1], Settlement::Done).await.unwrap() };
    let (got, ()) = join(queue.lease(&other, LONG, LONG), settled).await;
    let mut got = vec![got.unwrap().unwrap()];
    got.extend(now(&*queue, &other).await);
    got.sort_by_key(|l| l.job.build.to_string());
    assert_eq!(names(&got), "a2 b2");
    assert_eq!(now(&*queue, &other).await, None);
    // A lease that expired is none.
    queue.settle(&got[0], Settlement::Done).await.unwrap();
    queue.settle(&leases[0], Settlement::Done).await.unwrap();
    queue.push(Job { limits: limits(&[("app", 1)]), ..job("a3", "ann") }).await.unwrap();
    let short = queue.lease(&other, TTL, NONE).await.unwrap().unwrap();
    assert_eq!(short.job.build, build("a3"));
    queue.push(Job { limits: limits(&[("app", 1)]), ..job("a4", "ann") }).await.unwrap();
    assert_eq!(now(&*queue, &other).await, None);
    queue.clock().pass(TTL * 2).await;
    let names: BTreeSet<_> = now(&*queue, &other).await.map(|l| l.job.build).into_iter().collect();
    assert!(names.contains(&build("a3")) || names.contains(&build("a4")), "{names:?}");
    assert_eq!(now(&*queue, &other).await, None);
}

/// For durable queues: jobs and leases are there when the queue is opened again.
pub async fn jobs_outlive_the_process<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let n = node("n", 9);
    push(&*queue, "x", "o", 0).await;
    push(&*queue, "y", "o", 5).await;
    let lease = now(&*queue, &n).await.unwrap();
    assert_eq!(lease.job.build, build("y"));
    let Some(again) = queue.opened_again().await else { return };
    assert_eq!(turns(&*again, &n).await, "x");
    again.settle(&lease, Settlement::Again(Timestamp(0))).await.unwrap();
    expect_kind(queue.renew(&lease, LONG).await, ErrorKind::Conflict, "a lease given back");
    let new = now(&*queue, &n).await.unwrap();
    assert!(new.token > lease.token);
}
