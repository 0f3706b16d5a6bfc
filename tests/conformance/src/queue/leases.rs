use super::{LONG, NONE, TTL, now, turns};
use crate::{
    Fresh,
    helpers::{expect_kind, soon, waits},
    poll_times,
    sample::{TEXT, build, job, node},
};
use futures::future::join_all;
use kiln::{
    ErrorKind, NodeId, Placement, Resources, Timestamp,
    port::{Job, Lease, Queue, Settlement},
};
use std::{collections::BTreeMap, collections::BTreeSet, time::Duration};

/// A job comes back with all that was said of it.
pub async fn a_job_comes_back_as_it_was<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let labels = BTreeMap::from([(TEXT.to_owned(), TEXT.to_owned())]);
    let resources = Resources { cpu_millis: 5, memory_bytes: 1 << 40 };
    let placement = Placement { node: NodeId::new("n").ok(), labels: labels.clone(), resources };
    let pushed = Job { priority: -7, placement, not_before: Timestamp(3), ..job("b", "someone") };
    queue.push(pushed.clone()).await.unwrap();
    let mut n = node("n", 1);
    (n.labels, n.resources) = (labels, resources);
    let lease = now(&*queue, &n).await.expect("a job that fits");
    assert_eq!(lease.job, pushed);
    let left = lease.until.since(queue.clock().now());
    assert!(left <= LONG && left > LONG / 2, "a lease of {LONG:?} expires in {left:?}");
}

/// While a lease lasts nobody else gets the job, the same node neither.
pub async fn a_job_is_leased_to_one_node_at_a_time<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let (a, b) = (node("a", 9), node("b", 9));
    queue.push(job("x", "o")).await.unwrap();
    queue.push(job("y", "o")).await.unwrap();
    assert_eq!(now(&*queue, &a).await.unwrap().job.build, build("x"));
    assert_eq!(now(&*queue, &b).await.unwrap().job.build, build("y"));
    assert_eq!(now(&*queue, &a).await, None);
    assert_eq!(now(&*queue, &b).await, None);
}

/// However many nodes ask at once, each job is leased once.
pub async fn of_racing_nodes_each_job_goes_to_one<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    for i in 0..20 {
        queue.push(job(&format!("b{i}"), &format!("o{}", i % 3))).await.unwrap();
    }
    let racers = (0..8).map(|i| {
        let queue = queue.port();
        tokio::spawn(async move { turns(&*queue, &node(&format!("n{i}"), 20)).await })
    });
    let got: Vec<String> = join_all(racers).await.into_iter().map(|r| r.unwrap()).collect();
    let all: Vec<_> = got.iter().flat_map(|names| names.split_whitespace()).collect();
    assert_eq!(all.len(), 20, "{got:?}");
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 20, "{got:?}");
}

/// Pushing a build that is in the queue changes nothing, leased or not.
pub async fn a_job_that_is_there_stays_as_it_is<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let n = node("n", 9);
    queue.push(job("b", "first")).await.unwrap();
    let again = Job { priority: 9, not_before: Timestamp(u64::MAX >> 2), ..job("b", "second") };
    queue.push(again.clone()).await.unwrap();
    let lease = now(&*queue, &n).await.unwrap();
    assert_eq!(lease.job, job("b", "first"));
    queue.push(again).await.unwrap();
    assert_eq!(now(&*queue, &n).await, None);
    queue.settle(&lease, Settlement::Again(Timestamp(0))).await.unwrap();
    assert_eq!(now(&*queue, &n).await.unwrap().job.owner, job("b", "first").owner);
}

/// When a lease expires, its job is free for any node, and not before.
pub async fn an_expired_lease_makes_its_job_free<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let (a, b) = (node("a", 1), node("b", 1));
    queue.push(job("x", "o")).await.unwrap();
    let old = queue.lease(&a, TTL, NONE).await.unwrap().unwrap();
    queue.clock().pass(TTL / 4).await;
    assert_eq!(now(&*queue, &b).await, None, "a quarter of the lease's time has passed");
    queue.clock().pass(TTL).await;
    let new = now(&*queue, &b).await.expect("the job is free");
    assert_eq!(new.job, old.job);
    assert!(new.token > old.token, "{} after {}", new.token, old.token);
}

/// A renewed lease lasts from then on, as the answer says, also shorter than before.
pub async fn a_renewed_lease_does_not_expire<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let (a, b) = (node("a", 1), node("b", 1));
    queue.push(job("x", "o")).await.unwrap();
    let lease = queue.lease(&a, TTL, NONE).await.unwrap().unwrap();
    let renewed = queue.renew(&lease, LONG).await.unwrap();
    assert_eq!((&renewed.job, renewed.token), (&lease.job, lease.token));
    assert!(renewed.until > lease.until);
    queue.clock().pass(TTL * 2).await;
    assert_eq!(now(&*queue, &b).await, None);
    queue.renew(&renewed, TTL).await.unwrap();
    queue.clock().pass(TTL * 2).await;
    assert!(now(&*queue, &b).await.is_some());
}

/// Who is late finds its lease still there if nobody else got the job.
pub async fn an_expired_lease_can_be_renewed_until_another_has_it<Q: Queue + ?Sized>(
    queue: Fresh<Q>,
) {
    let (a, b) = (node("a", 1), node("b", 1));
    queue.push(job("x", "o")).await.unwrap();
    let lease = queue.lease(&a, TTL, NONE).await.unwrap().unwrap();
    queue.clock().pass(TTL * 2).await;
    let lease = queue.renew(&lease, LONG).await.unwrap();
    assert_eq!(now(&*queue, &b).await, None);
    queue.settle(&lease, Settlement::Done).await.unwrap();
}

/// Once a job was leased anew, or settled, its older holder is told so whatever it asks.
pub async fn an_older_holder_can_neither_renew_nor_settle<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let (a, b) = (node("a", 1), node("b", 1));
    let refused = async |old: &Lease, what: &str| {
        expect_kind(queue.renew(old, LONG).await, ErrorKind::Conflict, what);
        for how in [Settlement::Done, Settlement::Again(Timestamp(0))] {
            expect_kind(queue.settle(old, how).await, ErrorKind::Conflict, what);
        }
    };
    queue.push(job("x", "o")).await.unwrap();
    let first = queue.lease(&a, TTL, NONE).await.unwrap().unwrap();
    queue.clock().pass(TTL * 2).await;
    let second = now(&*queue, &b).await.unwrap();
    refused(&first, "a lease that expired").await;
    queue.settle(&second, Settlement::Again(Timestamp(0))).await.unwrap();
    refused(&second, "a lease that was given back").await;
    let third = now(&*queue, &a).await.unwrap();
    refused(&second, "a lease that was given back").await;
    queue.settle(&third, Settlement::Done).await.unwrap();
    refused(&third, "a lease that was settled").await;
    assert_eq!(now(&*queue, &a).await, None);
}

/// Tokens of a build grow also when its job was settled and pushed again.
pub async fn a_token_never_comes_again<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let n = node("n", 1);
    let mut last: Option<Lease> = None;
    for _ in 0..4 {
        queue.push(job("x", "o")).await.unwrap();
        let lease = now(&*queue, &n).await.unwrap();
        if let Some(last) = &last {
            assert!(lease.token > last.token, "{} after {}", lease.token, last.token);
            expect_kind(queue.renew(last, LONG).await, ErrorKind::Conflict, "an old lease");
        }
        queue.settle(&lease, Settlement::Done).await.unwrap();
        last = Some(lease);
    }
}

/// Whoever makes a lease up, of a job that waits or of one that is leased, holds nothing.
pub async fn a_token_that_was_never_given_is_refused<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let n = node("n", 9);
    queue.push(job("x", "o")).await.unwrap();
    let until = queue.clock().now().plus(LONG);
    for token in [0, 1, u64::MAX] {
        let made_up = Lease { job: job("x", "o"), token, until };
        let renewed = queue.renew(&made_up, LONG).await;
        expect_kind(renewed, ErrorKind::Conflict, "a lease that was made up");
        let settled = queue.settle(&made_up, Settlement::Done).await;
        expect_kind(settled, ErrorKind::Conflict, "a lease that was made up");
    }
    let lease = now(&*queue, &n).await.expect("the job is still there");
    for token in [0, u64::MAX, lease.token.wrapping_add(1)] {
        let made_up = Lease { token, ..lease.clone() };
        let settled = queue.settle(&made_up, Settlement::Done).await;
        expect_kind(settled, ErrorKind::Conflict, "a lease that was made up");
    }
    queue.settle(&lease, Settlement::Done).await.unwrap();
}

/// A job that is over is gone for everybody.
pub async fn a_settled_job_is_gone<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let n = node("n", 2);
    queue.push(job("x", "o")).await.unwrap();
    let lease = now(&*queue, &n).await.unwrap();
    queue.settle(&lease, Settlement::Done).await.unwrap();
    assert_eq!(now(&*queue, &n).await, None);
    assert!(!queue.remove(&build("x")).await.unwrap());
}

/// A job that is given back is free from the time that was said.
pub async fn a_job_given_back_waits_for_its_time<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let n = node("n", 1);
    queue.push(job("x", "o")).await.unwrap();
    let lease = now(&*queue, &n).await.unwrap();
    let later = queue.clock().now().plus(TTL);
    queue.settle(&lease, Settlement::Again(later)).await.unwrap();
    assert_eq!(now(&*queue, &n).await, None);
    queue.clock().pass(TTL + Duration::from_millis(1)).await;
    let again = now(&*queue, &n).await.unwrap();
    queue.settle(&again, Settlement::Again(Timestamp(0))).await.unwrap();
    assert!(now(&*queue, &n).await.is_some(), "a time that is over is now");
}

/// Removing says whether the job was there; its holder learns it by its next word.
pub async fn a_removed_job_is_gone_and_its_holder_learns_it<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let n = node("n", 1);
    assert!(!queue.remove(&build("x")).await.unwrap());
    queue.push(job("x", "o")).await.unwrap();
    queue.push(job("y", "o")).await.unwrap();
    let lease = now(&*queue, &n).await.unwrap();
    assert!(queue.remove(&build("x")).await.unwrap());
    assert!(!queue.remove(&build("x")).await.unwrap());
    expect_kind(queue.renew(&lease, LONG).await, ErrorKind::Conflict, "a removed job");
    let settled = queue.settle(&lease, Settlement::Done).await;
    expect_kind(settled, ErrorKind::Conflict, "a removed job");
    assert!(queue.remove(&build("y")).await.unwrap());
    assert_eq!(now(&*queue, &n).await, None);
}

/// A lease of nothing with no patience returns at once.
pub async fn with_no_patience_a_lease_returns_at_once<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let lease = soon("no patience", queue.lease(&node("n", 1), LONG, NONE)).await.unwrap();
    assert_eq!(lease, None);
    queue.push(job("x", "o")).await.unwrap();
    let lease = soon("a job", queue.lease(&node("n", 1), LONG, LONG)).await.unwrap();
    assert!(lease.is_some());
}

/// Who waits gets a job as soon as one is pushed, given back, or a slot is free again.
pub async fn a_lease_waits_for_a_job<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let n = node("n", 1);
    let mut wait = Box::pin(queue.lease(&n, LONG, LONG));
    waits("for a job", &mut wait).await;
    queue.push(job("x", "o")).await.unwrap();
    let lease = soon("a push", wait).await.unwrap().unwrap();

    let mut wait = Box::pin(queue.lease(&n, LONG, LONG));
    waits("for the job to be given back", &mut wait).await;
    queue.settle(&lease, Settlement::Again(Timestamp(0))).await.unwrap();
    soon("a job given back", wait).await.unwrap().unwrap();

    queue.push(job("y", "o")).await.unwrap();
    let mut wait = Box::pin(queue.lease(&n, LONG, LONG));
    waits("for a slot", &mut wait).await;
    assert!(queue.remove(&build("x")).await.unwrap());
    assert_eq!(soon("a free slot", wait).await.unwrap().unwrap().job.build, build("y"));
}

/// Who waits gets a job whose time comes while it waits.
pub async fn a_lease_waits_for_a_time_to_come<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let n = node("n", 1);
    let not_before = queue.clock().now().plus(TTL);
    queue.push(Job { not_before, ..job("x", "o") }).await.unwrap();
    assert_eq!(now(&*queue, &n).await, None);
    let wait = queue.clock().hurry(queue.lease(&n, LONG, LONG));
    assert!(soon("the time of a job", wait).await.unwrap().is_some());
    assert!(queue.clock().now() >= not_before);
}

/// Who waits gets a job whose lease expires while it waits.
pub async fn a_lease_waits_for_another_to_expire<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    queue.push(job("x", "o")).await.unwrap();
    let old = queue.lease(&node("a", 1), TTL, NONE).await.unwrap().unwrap();
    let b = node("b", 1);
    let wait = queue.clock().hurry(queue.lease(&b, LONG, LONG));
    let new = soon("an expired lease", wait).await.unwrap().unwrap();
    assert!(new.token > old.token && queue.clock().now() >= old.until);
}

/// Who waits for nothing is told so when patience is over, and not before.
pub async fn a_lease_ends_with_patience<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    let (n, start) = (node("n", 1), queue.clock().now());
    let wait = queue.clock().hurry(queue.lease(&n, LONG, TTL));
    assert_eq!(soon("patience", wait).await.unwrap(), None);
    // Times are whole milliseconds, cut off.
    assert!(queue.clock().now().since(start) + Duration::from_millis(1) >= TTL);
}

/// A call that is dropped has leased nothing, or what it leased expires.
pub async fn a_cancelled_lease_costs_nothing_for_long<Q: Queue + ?Sized>(queue: Fresh<Q>) {
    for polls in 0..6 {
        poll_times(queue.lease(&node("gone", 9), TTL, LONG), polls).await;
    }
    queue.push(job("x", "o")).await.unwrap();
    for polls in 0..8 {
        poll_times(queue.lease(&node("gone", 9), TTL, NONE), polls).await;
        queue.clock().pass(TTL * 2).await;
        let n = node("n", 1);
        let lease = now(&*queue, &n).await.expect("what was leased has expired");
        queue.settle(&lease, Settlement::Again(Timestamp(0))).await.unwrap();
    }
}
