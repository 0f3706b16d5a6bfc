//! What every [`Notifier`] must do.
//!
//! Who was told is outside the port, so the expression makes a `Fresh<N>` of a type that also
//! implements [`Told`].

use crate::{
    Fresh, poll_times,
    sample::{events, summary},
};
use futures::future::join_all;
use kiln::{
    BuildId, Seq,
    memory::MemoryNotifier,
    port::{Notice, Notifier},
};
use std::collections::BTreeSet;

/// Makes a test of every promise of a notifier. The expression makes a `Fresh<N>` for some
/// `N: Notifier + Told`.
#[macro_export]
macro_rules! notifier_suite {
    ($fresh:expr) => {
        $crate::tests_of! { notifier, $fresh,
            every_notice_is_delivered
            notices_may_be_told_twice_and_side_by_side
            a_cancelled_notice_harms_nobody
        }
    };
}

/// What arrived on the other side.
pub trait Told {
    /// The builds and places of the notices that arrived.
    fn told(&self) -> Vec<(BuildId, Seq)>;
}

impl Told for MemoryNotifier {
    fn told(&self) -> Vec<(BuildId, Seq)> {
        self.notices().into_iter().map(|n| (n.build.build, n.seq)).collect()
    }
}

fn notices() -> Vec<Notice> {
    let notice = |(i, event)| {
        let build = summary(&format!("b{i}"), 5);
        Notice { build, seq: Seq(i as u64 + 1), event }
    };
    events().into_iter().enumerate().map(notice).collect()
}

fn keys(of: &[Notice]) -> BTreeSet<(BuildId, Seq)> {
    of.iter().map(|n| (n.build.build.clone(), n.seq)).collect()
}

/// Every kind of event is delivered once the call has returned.
pub async fn every_notice_is_delivered<N: Notifier + Told>(notifier: Fresh<N>) {
    let all = notices();
    for notice in &all {
        notifier.notify(notice).await.unwrap();
        assert!(notifier.told().contains(&(notice.build.build.clone(), notice.seq)));
    }
    // A retry after a lost answer tells twice; what nobody said is never told.
    let told: BTreeSet<_> = notifier.told().into_iter().collect();
    assert_eq!(told.len(), all.len());
}

/// Telling twice and at once is allowed, and nothing is lost.
pub async fn notices_may_be_told_twice_and_side_by_side<N: Notifier + Told>(notifier: Fresh<N>) {
    let all = notices();
    let calls = all.iter().chain(&all).map(|n| notifier.notify(n));
    for told in join_all(calls).await {
        told.unwrap();
    }
    let told: BTreeSet<_> = notifier.told().into_iter().collect();
    assert_eq!(told, keys(&all));
}

/// A call that is dropped delivered its notice or did not; the next one does.
pub async fn a_cancelled_notice_harms_nobody<N: Notifier + Told>(notifier: Fresh<N>) {
    let all = notices();
    for polls in 0..6 {
        poll_times(notifier.notify(&all[0]), polls).await;
    }
    notifier.notify(&all[1]).await.unwrap();
    assert!(notifier.told().contains(&(all[1].build.build.clone(), all[1].seq)));
}
