//! Several servers that ask at once.

use crate::common::{Place, build};
use futures::future::join_all;
use kiln::port::*;
use kiln_conformance::sample::{job, node};
use kiln_postgres::PgQueue;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// What each of the queues leases when all ask at once, several times each.
async fn leased(queues: &[PgQueue], slots: u16) -> Vec<Lease> {
    let asking = queues.iter().flat_map(|queue| (0..4).map(move |_| queue.clone()));
    let asking = asking.map(|queue| {
        tokio::spawn(async move { queue.lease(&node("n", slots), LONG, Duration::ZERO).await })
    });
    let all: Vec<_> = asking.collect();
    join_all(all).await.into_iter().filter_map(|lease| lease.unwrap().unwrap()).collect()
}

/// However many servers lease at the same moment, a group has no more leases than its limit, a node
/// no more than its slots, and an owner not much more than another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_lease_at_once_keep_to_limits_slots_and_turns() {
    let test = "servers_that_lease_at_once_keep_to_limits_slots_and_turns";
    let Some(place) = Place::new(test) else { return };
    let mut queues = Vec::new();
    for _ in 0..6 {
        queues.push(place.db().await.queue());
    }
    for round in 0..8 {
        let names: Vec<_> = (0..30).map(|i| format!("r{round}-{i}")).collect();
        for (i, name) in names.iter().enumerate() {
            let owner = if i < 20 { "many" } else { "few" };
            let limits = [("g".to_owned(), 6)].into();
            queues[0].push(Job { limits, ..job(name, owner) }).await.unwrap();
        }
        let few = leased(&queues, 5).await;
        assert_eq!(few.len(), 5, "a node of 5 slots");
        let more = leased(&queues, 100).await;
        assert_eq!(more.len(), 1, "5 leases of 6");
        let all: Vec<_> = few.iter().chain(&more).collect();
        let of_few = all.iter().filter(|l| l.job.owner.as_str() == "few").count();
        assert_eq!(of_few, 3, "two owners have their turns");
        for lease in all {
            queues[round % 6].settle(lease, Settlement::Done).await.unwrap();
        }
        for name in names {
            queues[0].remove(&build(&name)).await.unwrap();
        }
    }
}

/// Whoever waits for a job is told when to look again, if that is ever, and asks nothing meanwhile.
#[tokio::test]
async fn an_empty_queue_asks_nobody_to_look_again() {
    let Some(place) = Place::new("an_empty_queue_asks_nobody_to_look_again") else { return };
    let queue = place.db().await.queue();
    let raw = place.raw().await;
    let again = async || -> Option<i64> {
        let ask =
            "SELECT again FROM lease('n', '{}', 9, 2147483647, 9223372036854775807, 60000, 1000)";
        raw.query_one(ask, &[]).await.unwrap().get(0)
    };
    assert_eq!(again().await, None);
    // A job that has to wait says for how long; by the clock that is given it is 1,000.
    let late = Job { not_before: kiln::Timestamp(9_000_000_000_000), ..job("late", "o") };
    queue.push(late).await.unwrap();
    assert_eq!(again().await, Some(9_000_000_000_000 - 1_000));
}
