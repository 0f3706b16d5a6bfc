//! What every [`Index`] must do.
//!
//! `kiln_conformance::index_suite!(Fresh::new(Arc::new(MyIndex::open())))`

use crate::{
    Fresh, poll_times,
    sample::{TEXT, build, owner, summary},
};
use kiln::{
    BuildId, Outcome, Seq, StepId, Timestamp,
    port::{BuildFilter, BuildSummary, Index, Page, PageToken},
    state::Phase,
};
use std::collections::{BTreeMap, BTreeSet};

/// Makes a test of every promise of an index. The expression makes a `Fresh<I>` for some `I: Index`.
#[macro_export]
macro_rules! index_suite {
    ($fresh:expr) => {
        $crate::tests_of! { index, $fresh,
            a_summary_comes_back_as_it_was
            a_later_state_replaces_an_earlier_one
            an_earlier_state_changes_nothing
            lists_begin_with_the_latest
            pages_show_every_build_once
            pages_show_every_build_once_while_others_come
            a_filter_passes_what_satisfies_all_of_it
            an_id_prefix_is_taken_literally
            a_label_is_taken_literally
            forgetting_is_thorough_and_repeatable
            a_cancelled_put_puts_all_or_nothing
        }
    };
}

async fn list(index: &(impl Index + ?Sized), filter: BuildFilter) -> Vec<BuildSummary> {
    index.list(&filter, &Page { max: 1000, after: None }).await.expect("a list")
}

async fn names(index: &(impl Index + ?Sized), filter: BuildFilter) -> String {
    let names: Vec<_> = list(index, filter).await.iter().map(|b| b.build.to_string()).collect();
    names.join(" ")
}

/// A summary comes back as it was, in every phase and with every outcome, whatever its texts hold.
pub async fn a_summary_comes_back_as_it_was<I: Index + ?Sized>(index: Fresh<I>) {
    let (step, mut all) = (StepId(7), Vec::new());
    let outcomes = [
        None,
        Some(Outcome::Succeeded),
        Some(Outcome::Failed { step }),
        Some(Outcome::Errored { step }),
        Some(Outcome::TimedOut),
        Some(Outcome::Cancelled),
    ];
    let phases = [Phase::Queued, Phase::Running, Phase::Stopping];
    for (i, outcome) in outcomes.into_iter().enumerate() {
        let ended = outcome.is_some();
        let mut build = summary(&format!("b{i}"), i as u64 + 1);
        build.seq = Seq(i as u64 + 40);
        build.phase = if ended { Phase::Finished } else { phases[i % 3] };
        build.finished_at = ended.then_some(Timestamp(1 << 41));
        build.labels = BTreeMap::from([(TEXT.to_owned(), TEXT.to_owned()), Default::default()]);
        (build.outcome, build.steps, build.steps_over) = (outcome, 4096, i as u32);
        index.put(&build).await.unwrap();
        all.insert(0, build);
    }
    assert_eq!(list(&*index, BuildFilter::default()).await, all);
}

/// A build is listed once, with its latest state.
pub async fn a_later_state_replaces_an_earlier_one<I: Index + ?Sized>(index: Fresh<I>) {
    let mut b = summary("b", 5);
    b.labels.insert("old".into(), "1".into());
    index.put(&b).await.unwrap();
    b.labels = BTreeMap::from([("new".to_owned(), "2".to_owned())]);
    (b.seq, b.phase, b.steps_over) = (Seq(9), Phase::Finished, 2);
    b.outcome = Some(Outcome::Succeeded);
    index.put(&b).await.unwrap();
    index.put(&b).await.unwrap();
    assert_eq!(list(&*index, BuildFilter::default()).await, [b]);
    let with = |k: &str| BuildFilter {
        labels: BTreeMap::from([(k.to_owned(), "1".to_owned())]),
        ..BuildFilter::default()
    };
    assert_eq!(names(&*index, with("old")).await, "");
}

/// A late word of an earlier state changes nothing.
pub async fn an_earlier_state_changes_nothing<I: Index + ?Sized>(index: Fresh<I>) {
    let mut b = summary("b", 5);
    b.seq = Seq(9);
    index.put(&b).await.unwrap();
    let early = BuildSummary { seq: Seq(8), steps_over: 0, phase: Phase::Queued, ..b.clone() };
    index.put(&early).await.unwrap();
    assert_eq!(list(&*index, BuildFilter::default()).await, [b]);
}

/// The latest accepted comes first; of equal times the larger id.
pub async fn lists_begin_with_the_latest<I: Index + ?Sized>(index: Fresh<I>) {
    for (name, at) in [("m", 5), ("a", 9), ("z", 5), ("B", 5), ("q", 10), ("k", 1)] {
        index.put(&summary(name, at)).await.unwrap();
    }
    assert_eq!(names(&*index, BuildFilter::default()).await, "q a z m B k");
    let page = Page { max: 2, after: None };
    assert_eq!(index.list(&BuildFilter::default(), &page).await.unwrap().len(), 2);
}

async fn pages(
    index: &(impl Index + ?Sized),
    max: usize,
    mut between: impl AsyncFnMut(usize),
) -> Vec<BuildId> {
    let (mut all, mut page) = (Vec::new(), Page { max, after: None });
    for number in 0.. {
        let found = index.list(&BuildFilter::default(), &page).await.expect("a page");
        assert!(found.len() <= max, "a page of {} instead of {max}", found.len());
        let Some(last) = found.last() else { break };
        page.after = Some(PageToken::after(last));
        all.extend(found.into_iter().map(|b| b.build));
        between(number).await;
    }
    all
}

/// Pages of any size together are the list.
pub async fn pages_show_every_build_once<I: Index + ?Sized>(index: Fresh<I>) {
    for i in 0..20 {
        index.put(&summary(&format!("b{i:02}"), i / 7)).await.unwrap();
    }
    let all: Vec<_> =
        list(&*index, BuildFilter::default()).await.into_iter().map(|b| b.build).collect();
    assert_eq!(all.len(), 20);
    for max in [1, 3, 7, 20, 21] {
        assert_eq!(pages(&*index, max, async |_| {}).await, all, "pages of {max}");
    }
}

/// Builds that come, change or go between two pages neither hide nor double another one.
pub async fn pages_show_every_build_once_while_others_come<I: Index + ?Sized>(index: Fresh<I>) {
    for i in 0..20 {
        index.put(&summary(&format!("b{i:02}"), 100 + i / 7)).await.unwrap();
    }
    let expected: Vec<_> =
        list(&*index, BuildFilter::default()).await.into_iter().map(|b| b.build).collect();
    let all = pages(&*index, 3, async |number| {
        index.put(&summary(&format!("newer{number}"), 500)).await.unwrap();
        index.put(&summary(&format!("a-between{number}"), 101)).await.unwrap();
        let mut changed = summary(&format!("b{number:02}"), 100 + number as u64 / 7);
        changed.seq = Seq(2);
        index.put(&changed).await.unwrap();
    })
    .await;
    let unique: BTreeSet<_> = all.iter().collect();
    assert_eq!(unique.len(), all.len(), "a build was shown twice: {all:?}");
    let of_before: Vec<_> = all.iter().filter(|b| expected.contains(b)).cloned().collect();
    assert_eq!(of_before, expected);
}

/// A filter passes the builds that satisfy everything that is set in it.
pub async fn a_filter_passes_what_satisfies_all_of_it<I: Index + ?Sized>(index: Fresh<I>) {
    for (i, name) in ["a1", "a2", "b1", "b2"].into_iter().enumerate() {
        let mut b = summary(name, 10 - i as u64);
        b.owner = owner(if name.starts_with('a') { "ann" } else { "bob" });
        b.labels.insert("app".into(), "x".into());
        b.labels.insert("n".into(), name[1..].into());
        if name.ends_with('1') {
            (b.phase, b.outcome) = (Phase::Finished, Some(Outcome::Failed { step: StepId(1) }));
        }
        index.put(&b).await.unwrap();
    }
    let f = BuildFilter::default;
    let labels = |pairs: &[(&str, &str)]| BuildFilter {
        labels: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..f()
    };
    let by = |o: &str| BuildFilter { owner: Some(owner(o)), ..f() };
    let outcome = |o: &str| BuildFilter { outcome: Some(o.into()), ..f() };
    let cases = [
        (f(), "a1 a2 b1 b2"),
        (BuildFilter { id_prefix: Some("a".into()), ..f() }, "a1 a2"),
        (BuildFilter { id_prefix: Some(String::new()), ..f() }, "a1 a2 b1 b2"),
        (BuildFilter { id_prefix: Some("1".into()), ..f() }, ""),
        (by("bob"), "b1 b2"),
        (by("eve"), ""),
        (BuildFilter { phase: Some(Phase::Finished), ..f() }, "a1 b1"),
        (BuildFilter { phase: Some(Phase::Running), ..f() }, "a2 b2"),
        (outcome("failed"), "a1 b1"),
        (outcome("succeeded"), ""),
        (labels(&[("app", "x")]), "a1 a2 b1 b2"),
        (labels(&[("app", "x"), ("n", "2")]), "a2 b2"),
        (labels(&[("app", "y")]), ""),
        (labels(&[("none", "x")]), ""),
        (BuildFilter { outcome: Some("failed".into()), ..by("ann") }, "a1"),
        (BuildFilter { id_prefix: Some("b".into()), ..by("ann") }, ""),
    ];
    for (filter, expected) in cases {
        assert_eq!(names(&*index, filter.clone()).await, expected, "{filter:?}");
        let page = Page { max: 1, after: None };
        let first = index.list(&filter, &page).await.unwrap();
        let expected = expected.split_whitespace().next().map(build);
        assert_eq!(first.first().map(|b| b.build.clone()), expected, "{filter:?}");
    }
}

/// Nothing in an id prefix is a pattern, and upper case is not lower case.
pub async fn an_id_prefix_is_taken_literally<I: Index + ?Sized>(index: Fresh<I>) {
    for name in ["a_1", "ab1", "a.1", "A_1", "a-1"] {
        index.put(&summary(name, 1)).await.unwrap();
    }
    for (prefix, expected) in [
        ("a_", "a_1"),
        ("A", "A_1"),
        ("a.", "a.1"),
        ("%", ""),
        ("a*", ""),
        ("'", ""),
        ("a-", "a-1"),
    ] {
        let filter = BuildFilter { id_prefix: Some(prefix.into()), ..BuildFilter::default() };
        assert_eq!(names(&*index, filter).await, expected, "{prefix}");
    }
}

/// Nothing in a label is a pattern or a path.
pub async fn a_label_is_taken_literally<I: Index + ?Sized>(index: Fresh<I>) {
    let labels = [("a.b", "1"), ("a", "b"), ("\"a\"", "%"), (TEXT, TEXT), ("", ""), ("A", "B")];
    for (i, (key, value)) in labels.into_iter().enumerate() {
        let mut b = summary(&format!("b{i}"), 1);
        b.labels.insert(key.into(), value.into());
        index.put(&b).await.unwrap();
    }
    for (i, (key, value)) in labels.into_iter().enumerate() {
        let labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let filter = BuildFilter { labels, ..BuildFilter::default() };
        assert_eq!(names(&*index, filter).await, format!("b{i}"), "{key} = {value}");
    }
}

/// A forgotten build is no longer listed, and forgetting it again succeeds.
pub async fn forgetting_is_thorough_and_repeatable<I: Index + ?Sized>(index: Fresh<I>) {
    let mut b = summary("b", 1);
    b.seq = Seq(5);
    index.put(&b).await.unwrap();
    index.put(&summary("c", 1)).await.unwrap();
    for _ in 0..2 {
        index.forget(&build("b")).await.unwrap();
        assert_eq!(names(&*index, BuildFilter::default()).await, "c");
    }
    index.put(&summary("b", 2)).await.unwrap();
    assert_eq!(names(&*index, BuildFilter::default()).await, "b c");
}

/// A call that is dropped half-way noted the whole state or none of it.
pub async fn a_cancelled_put_puts_all_or_nothing<I: Index + ?Sized>(index: Fresh<I>) {
    for polls in 0..8 {
        let mut b = summary(&format!("b{polls}"), 1);
        b.labels = (0..10).map(|i| (format!("k{i}"), "v".to_owned())).collect();
        poll_times(index.put(&b), polls).await;
        let prefix = Some(b.build.to_string());
        let found = list(&*index, BuildFilter { id_prefix: prefix, ..Default::default() }).await;
        assert!(found.is_empty() || found == [b.clone()], "after {polls} polls: {found:?}");
        index.put(&b).await.unwrap();
    }
    assert_eq!(list(&*index, BuildFilter::default()).await.len(), 8);
}
