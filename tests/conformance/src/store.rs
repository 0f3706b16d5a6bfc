//! What every [`Store`] must do.
//!
//! ```
//! # use kiln::memory::MemoryStore;
//! # use kiln_conformance::Fresh;
//! # use std::sync::Arc;
//! kiln_conformance::store_suite!(Fresh::new(Arc::new(MemoryStore::default())));
//! ```
//!
//! A durable store adds [`Fresh::reopen`], with which the suite opens it a second time beside the
//! first, as another process would.

use crate::{
    Fresh,
    helpers::{expect_kind, soon, waits},
    poll_times,
    sample::{accepted, build, entries, events, finished, more},
};
use futures::future::join_all;
use kiln::{BuildId, ErrorKind, Event, Recorded, Seq, port::Store};
use std::{collections::BTreeSet, time::Duration};

/// Makes a test of every promise of a store. The expression makes a [`Fresh`] store; its type is
/// `Fresh<S>` for some `S: Store`.
#[macro_export]
macro_rules! store_suite {
    ($fresh:expr) => {
        $crate::tests_of! { store, $fresh,
            a_journal_grows_in_order
            every_event_is_kept_as_it_was
            a_stale_end_conflicts_and_stores_nothing
            of_racing_appends_one_succeeds
            a_reader_never_sees_a_part
            appending_nothing_stores_nothing_and_checks
            a_cancelled_append_stores_all_or_nothing
            an_unknown_build_is_not_found
            journals_are_apart
            a_long_journal_is_read_from_any_place
            a_wait_for_what_is_there_returns_at_once
            a_wait_ends_when_an_append_comes
            a_wait_never_misses_an_append
            a_wait_for_an_unknown_build_waits_for_it
            a_wait_ends_with_patience
            a_dropped_wait_harms_nobody
            unfinished_builds_are_those_without_an_end
            forgetting_is_thorough_and_repeatable
            stored_events_outlive_the_process
        }
    };
}

const LONG: Duration = Duration::from_secs(60);

async fn len(store: &(impl Store + ?Sized), of: &BuildId) -> usize {
    match store.load(of, Seq::START).await {
        Ok(journal) => journal.len(),
        Err(e) if e.kind() == ErrorKind::NotFound => 0,
        Err(e) => panic!("cannot load: {e:?}"),
    }
}

/// Appends are found in their order, from 1, with their times, and the new end is told.
pub async fn a_journal_grows_in_order<S: Store + ?Sized>(store: Fresh<S>) {
    let (b, all) = (build("b"), entries(events()));
    assert_eq!(store.append(&b, Seq::START, &all[..2]).await.unwrap(), Seq(2));
    assert_eq!(store.append(&b, Seq(2), &all[2..3]).await.unwrap(), Seq(3));
    assert_eq!(store.append(&b, Seq(3), &all[3..]).await.unwrap(), Seq(all.len() as u64));
    let seqs: Vec<_> = store.load(&b, Seq::START).await.unwrap().iter().map(|r| r.seq.0).collect();
    assert_eq!(seqs, (1..=all.len() as u64).collect::<Vec<_>>());
}

/// Every kind of event comes back as it was, with its time, whatever its texts hold.
pub async fn every_event_is_kept_as_it_was<S: Store + ?Sized>(store: Fresh<S>) {
    let (b, all) = (build("b"), entries(events()));
    store.append(&b, Seq::START, &all).await.unwrap();
    let expected: Vec<_> = all
        .into_iter()
        .enumerate()
        .map(|(i, e)| Recorded { seq: Seq(i as u64 + 1), at: e.at, event: e.event })
        .collect();
    assert_eq!(store.load(&b, Seq::START).await.unwrap(), expected);
    assert_eq!(store.load(&b, Seq(4)).await.unwrap(), expected[4..]);
}

/// An append that is not at the end is a conflict and stores nothing, too early or too late.
pub async fn a_stale_end_conflicts_and_stores_nothing<S: Store + ?Sized>(store: Fresh<S>) {
    let (b, unknown) = (build("b"), build("unknown"));
    store.append(&b, Seq::START, &more(3)).await.unwrap();
    for stale in [0, 1, 2, 4, 1000] {
        let result = store.append(&b, Seq(stale), &more(2)).await;
        expect_kind(result, ErrorKind::Conflict, "an append that is not at the end");
    }
    assert_eq!(len(&*store, &b).await, 3);
    expect_kind(
        store.append(&unknown, Seq(1), &more(1)).await,
        ErrorKind::Conflict,
        "an append after the beginning of a build nobody knows",
    );
    expect_kind(store.load(&unknown, Seq::START).await, ErrorKind::NotFound, "what conflicted");
}

/// Of appends that race for one place exactly one succeeds, and all others conflict.
pub async fn of_racing_appends_one_succeeds<S: Store + ?Sized>(store: Fresh<S>) {
    let b = build("b");
    for round in 0..10 {
        let racers = (0..8).map(|_| {
            let (store, b) = (store.port(), b.clone());
            tokio::spawn(async move { store.append(&b, Seq(round * 2), &more(2)).await })
        });
        let ended: Vec<_> = join_all(racers).await.into_iter().map(|r| r.unwrap()).collect();
        assert_eq!(ended.iter().filter(|r| r.is_ok()).count(), 1, "round {round}: {ended:?}");
        for lost in ended.into_iter().filter(|r| r.is_err()) {
            expect_kind(lost, ErrorKind::Conflict, "a racer that lost");
        }
    }
    assert_eq!(len(&*store, &b).await, 20);
}

/// Events appended together are seen together.
pub async fn a_reader_never_sees_a_part<S: Store + ?Sized>(store: Fresh<S>) {
    let b = build("b");
    store.append(&b, Seq::START, &more(5)).await.unwrap();
    let (writer, of) = (store.port(), b.clone());
    let writing = tokio::spawn(async move {
        for round in 1..40 {
            writer.append(&of, Seq(round * 5), &more(5)).await.unwrap();
        }
    });
    while !writing.is_finished() {
        assert_eq!(len(&*store, &b).await % 5, 0, "a reader saw a part of an append");
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
    assert_eq!(len(&*store, &b).await, 200);
}

/// Appending nothing stores nothing, makes no build known, and still checks the end.
pub async fn appending_nothing_stores_nothing_and_checks<S: Store + ?Sized>(store: Fresh<S>) {
    let b = build("b");
    assert_eq!(store.append(&b, Seq::START, &[]).await.unwrap(), Seq::START);
    expect_kind(store.load(&b, Seq::START).await, ErrorKind::NotFound, "a build of no events");
    assert_eq!(store.unfinished().await.unwrap(), []);
    expect_kind(store.append(&b, Seq(1), &[]).await, ErrorKind::Conflict, "a stale end");
    store.append(&b, Seq::START, &more(2)).await.unwrap();
    assert_eq!(store.append(&b, Seq(2), &[]).await.unwrap(), Seq(2));
    expect_kind(store.append(&b, Seq(1), &[]).await, ErrorKind::Conflict, "a stale end");
    assert_eq!(len(&*store, &b).await, 2);
}

/// A call that is dropped half-way has stored all of its events or none, and the journal goes on.
pub async fn a_cancelled_append_stores_all_or_nothing<S: Store + ?Sized>(store: Fresh<S>) {
    for polls in 0..12 {
        let b = build(&format!("b{polls}"));
        poll_times(store.append(&b, Seq::START, &more(50)), polls).await;
        // It may still arrive, so the next one may have to look again.
        loop {
            let end = len(&*store, &b).await as u64;
            assert!([0, 50].contains(&end), "{end} of 50 events after {polls} polls");
            match store.append(&b, Seq(end), &more(1)).await {
                Ok(new) => break assert_eq!(new, Seq(end + 1)),
                Err(e) => assert_eq!(e.kind(), ErrorKind::Conflict, "{e:?}"),
            }
        }
        assert!([1, 51].contains(&len(&*store, &b).await));
    }
}

/// Loading a build nobody knows is `NotFound`; after the end of one that is known is nothing.
pub async fn an_unknown_build_is_not_found<S: Store + ?Sized>(store: Fresh<S>) {
    let b = build("b");
    for after in [0, 7] {
        expect_kind(store.load(&b, Seq(after)).await, ErrorKind::NotFound, "an unknown build");
    }
    store.append(&b, Seq::START, &more(2)).await.unwrap();
    assert_eq!(store.load(&b, Seq(2)).await.unwrap(), []);
    assert_eq!(store.load(&b, Seq(99)).await.unwrap(), []);
}

/// Builds whose ids are alike do not mix.
pub async fn journals_are_apart<S: Store + ?Sized>(store: Fresh<S>) {
    let names = ["a", "A", "a.b", "a_b", "a-b", "ab", "0", "00"];
    for (i, name) in names.iter().enumerate() {
        store.append(&build(name), Seq::START, &more(i + 1)).await.unwrap();
    }
    for (i, name) in names.iter().enumerate() {
        assert_eq!(len(&*store, &build(name)).await, i + 1, "{name}");
    }
}

/// A journal of thousands of events can be read from any place.
pub async fn a_long_journal_is_read_from_any_place<S: Store + ?Sized>(store: Fresh<S>) {
    let b = build("b");
    store.append(&b, Seq::START, &more(3000)).await.unwrap();
    for after in [0_u64, 1, 1499, 2999, 3000] {
        let journal = store.load(&b, Seq(after)).await.unwrap();
        assert_eq!(journal.len() as u64, 3000 - after);
        assert!(journal.first().is_none_or(|r| r.seq == Seq(after + 1)));
    }
}

/// If there is an event already, a wait returns at once.
pub async fn a_wait_for_what_is_there_returns_at_once<S: Store + ?Sized>(store: Fresh<S>) {
    let b = build("b");
    store.append(&b, Seq::START, &more(2)).await.unwrap();
    assert!(soon("an old event", store.wait(&b, Seq::START, LONG)).await.unwrap());
    assert!(soon("the last event", store.wait(&b, Seq(1), LONG)).await.unwrap());
    assert!(soon("no patience", store.wait(&b, Seq(1), Duration::ZERO)).await.unwrap());
    assert!(!soon("no patience", store.wait(&b, Seq(2), Duration::ZERO)).await.unwrap());
}

/// An append ends every wait for it, and no other.
pub async fn a_wait_ends_when_an_append_comes<S: Store + ?Sized>(store: Fresh<S>) {
    let (b, other) = (build("b"), build("other"));
    store.append(&b, Seq::START, &more(2)).await.unwrap();
    let mut all = join_all((0..5).map(|_| store.wait(&b, Seq(2), LONG)));
    waits("for an event", &mut all).await;
    store.append(&other, Seq::START, &more(3)).await.unwrap();
    waits("after an append to another build", &mut all).await;
    store.append(&b, Seq(2), &more(1)).await.unwrap();
    for woken in soon("after an append", all).await {
        assert!(woken.unwrap());
    }
}

/// However an append and a wait race, the wait sees the event.
pub async fn a_wait_never_misses_an_append<S: Store + ?Sized>(store: Fresh<S>) {
    let b = build("b");
    let (writer, of) = (store.port(), b.clone());
    let writing = tokio::spawn(async move {
        for seq in 0..60 {
            writer.append(&of, Seq(seq), &more(1)).await.unwrap();
            if seq % 3 == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    let mut seen = Seq::START;
    while seen < Seq(60) {
        assert!(soon("an append", store.wait(&b, seen, LONG)).await.unwrap());
        let journal = store.load(&b, seen).await.unwrap();
        assert!(!journal.is_empty(), "a wait said that there is something after {seen}");
        seen = journal.last().unwrap().seq;
    }
    writing.await.unwrap();
}

/// Waiting for a build nobody knows waits for it to come.
pub async fn a_wait_for_an_unknown_build_waits_for_it<S: Store + ?Sized>(store: Fresh<S>) {
    let b = build("b");
    let mut wait = Box::pin(store.wait(&b, Seq::START, LONG));
    waits("for an unknown build", &mut wait).await;
    store.append(&b, Seq::START, &more(1)).await.unwrap();
    assert!(soon("after its first event", wait).await.unwrap());
    assert!(!store.wait(&build("c"), Seq::START, Duration::ZERO).await.unwrap());
}

/// A wait for what does not come ends when patience is over, and not before.
pub async fn a_wait_ends_with_patience<S: Store + ?Sized>(store: Fresh<S>) {
    let (b, patience) = (build("b"), Duration::from_millis(300));
    store.append(&b, Seq::START, &more(1)).await.unwrap();
    let start = store.clock().now();
    let woken = soon("patience", store.clock().hurry(store.wait(&b, Seq(1), patience))).await;
    assert!(!woken.unwrap());
    // Times are whole milliseconds, cut off.
    assert!(store.clock().now().since(start) + Duration::from_millis(1) >= patience);
}

/// Waits that are given up leave others alone.
pub async fn a_dropped_wait_harms_nobody<S: Store + ?Sized>(store: Fresh<S>) {
    let b = build("b");
    for polls in 0..6 {
        assert!(poll_times(store.wait(&b, Seq::START, LONG), polls).await.is_none());
    }
    let mut wait = Box::pin(store.wait(&b, Seq::START, LONG));
    waits("for an event", &mut wait).await;
    poll_times(store.wait(&b, Seq::START, LONG), 3).await;
    store.append(&b, Seq::START, &more(1)).await.unwrap();
    assert!(soon("after an append", wait).await.unwrap());
}

/// The unfinished builds are those whose journal does not end with `Finished`.
pub async fn unfinished_builds_are_those_without_an_end<S: Store + ?Sized>(store: Fresh<S>) {
    for name in ["over", "new", "open"] {
        store.append(&build(name), Seq::START, &entries([accepted()])).await.unwrap();
    }
    store.append(&build("open"), Seq(1), &more(2)).await.unwrap();
    let end = [Event::StepSkipped { step: kiln::StepId(0) }, finished()];
    store.append(&build("over"), Seq(1), &entries(end)).await.unwrap();
    let unfinished: BTreeSet<_> = store.unfinished().await.unwrap().into_iter().collect();
    assert_eq!(unfinished, BTreeSet::from(["new", "open"].map(build)));
    store.append(&build("open"), Seq(3), &entries([finished()])).await.unwrap();
    assert_eq!(store.unfinished().await.unwrap(), [build("new")]);
}

/// A forgotten build is as if it had never been, and forgetting it again succeeds.
pub async fn forgetting_is_thorough_and_repeatable<S: Store + ?Sized>(store: Fresh<S>) {
    let (b, other) = (build("b"), build("other"));
    store.append(&b, Seq::START, &more(3)).await.unwrap();
    store.append(&other, Seq::START, &more(1)).await.unwrap();
    for _ in 0..2 {
        store.forget(&b).await.unwrap();
        expect_kind(store.load(&b, Seq::START).await, ErrorKind::NotFound, "a forgotten build");
        assert_eq!(store.unfinished().await.unwrap(), std::slice::from_ref(&other));
    }
    assert_eq!(store.append(&b, Seq::START, &more(1)).await.unwrap(), Seq(1));
    assert_eq!(len(&*store, &other).await, 1);
}

/// For durable stores: what an append stored is there when the store is opened again, and the two
/// see each other's appends within a second.
pub async fn stored_events_outlive_the_process<S: Store + ?Sized>(store: Fresh<S>) {
    let b = build("b");
    store.append(&b, Seq::START, &entries(events())).await.unwrap();
    let Some(again) = store.opened_again().await else { return };
    let journal = store.load(&b, Seq::START).await.unwrap();
    let end = journal.last().unwrap().seq;
    assert_eq!(again.load(&b, Seq::START).await.unwrap(), journal);
    expect_kind(again.append(&b, Seq(1), &more(1)).await, ErrorKind::Conflict, "a stale end");
    let mut wait = Box::pin(store.wait(&b, end, LONG));
    waits("for an event", &mut wait).await;
    again.append(&b, end, &more(1)).await.unwrap();
    let woken = tokio::time::timeout(Duration::from_secs(2), store.clock().hurry(wait)).await;
    assert!(woken.expect("an append by another process was not seen within a second").unwrap());
    expect_kind(store.append(&b, end, &more(1)).await, ErrorKind::Conflict, "the first one");
}
