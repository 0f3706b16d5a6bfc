//! What every [`Fleet`] must do.
//!
//! `kiln_conformance::fleet_suite!(Fresh::new(Arc::new(MyFleet::open())))`

use crate::{
    Fresh,
    helpers::expect_kind,
    sample::{TEXT, node},
};
use kiln::{ErrorKind, Resources, Timestamp, port::Fleet};
use std::collections::BTreeMap;

/// Makes a test of every promise of a fleet. The expression makes a `Fresh<F>` for some `F: Fleet`.
#[macro_export]
macro_rules! fleet_suite {
    ($fresh:expr) => {
        $crate::tests_of! { fleet, $fresh,
            a_node_comes_back_as_it_was
            nodes_come_by_name
            enrolling_again_replaces
            a_beat_tells_when_a_node_was_seen
            a_beat_of_a_stranger_is_not_found
            removing_is_repeatable
        }
    };
}

/// Whatever a node says of itself comes back.
pub async fn a_node_comes_back_as_it_was<F: Fleet + ?Sized>(fleet: Fresh<F>) {
    assert_eq!(fleet.nodes().await.unwrap(), []);
    let mut n = node("n", 65535);
    n.labels = BTreeMap::from([(TEXT.to_owned(), TEXT.to_owned()), Default::default()]);
    n.resources = Resources { cpu_millis: u32::MAX, memory_bytes: 1 << 50 };
    (n.drained, n.seen_at) = (true, Timestamp(1 << 41));
    fleet.enrol(&n).await.unwrap();
    assert_eq!(fleet.nodes().await.unwrap(), [n]);
}

/// Nodes come in the order of their names.
pub async fn nodes_come_by_name<F: Fleet + ?Sized>(fleet: Fresh<F>) {
    for name in ["b", "a", "C", "a.1", "a-1"] {
        fleet.enrol(&node(name, 1)).await.unwrap();
    }
    let names: Vec<_> =
        fleet.nodes().await.unwrap().into_iter().map(|n| n.id.to_string()).collect();
    assert_eq!(names, ["C", "a", "a-1", "a.1", "b"]);
}

/// Who enrols again is known once, as it says now.
pub async fn enrolling_again_replaces<F: Fleet + ?Sized>(fleet: Fresh<F>) {
    let mut n = node("n", 1);
    n.labels.insert("old".into(), "1".into());
    fleet.enrol(&n).await.unwrap();
    let new = node("n", 4);
    fleet.enrol(&new).await.unwrap();
    assert_eq!(fleet.nodes().await.unwrap(), [new]);
}

/// A beat changes when the node was last heard of and nothing else; a late one changes nothing.
pub async fn a_beat_tells_when_a_node_was_seen<F: Fleet + ?Sized>(fleet: Fresh<F>) {
    let mut n = node("n", 2);
    n.drained = true;
    fleet.enrol(&n).await.unwrap();
    fleet.enrol(&node("other", 2)).await.unwrap();
    for (beat, seen) in [(50, 50), (40, 50), (60, 60)] {
        fleet.beat(&n.id, Timestamp(beat)).await.unwrap();
        n.seen_at = Timestamp(seen);
        assert_eq!(fleet.nodes().await.unwrap(), [n.clone(), node("other", 2)]);
    }
}

/// A node that was never enrolled, or was removed, learns it by its next beat.
pub async fn a_beat_of_a_stranger_is_not_found<F: Fleet + ?Sized>(fleet: Fresh<F>) {
    let n = node("n", 1);
    expect_kind(fleet.beat(&n.id, Timestamp(5)).await, ErrorKind::NotFound, "a stranger");
    fleet.enrol(&n).await.unwrap();
    fleet.remove(&n.id).await.unwrap();
    expect_kind(fleet.beat(&n.id, Timestamp(5)).await, ErrorKind::NotFound, "a removed node");
    assert_eq!(fleet.nodes().await.unwrap(), []);
}

/// Removing a node nobody knows succeeds, and touches no other.
pub async fn removing_is_repeatable<F: Fleet + ?Sized>(fleet: Fresh<F>) {
    fleet.enrol(&node("n", 1)).await.unwrap();
    fleet.enrol(&node("other", 1)).await.unwrap();
    for _ in 0..2 {
        fleet.remove(&node("n", 1).id).await.unwrap();
        assert_eq!(fleet.nodes().await.unwrap(), [node("other", 1)]);
    }
}
