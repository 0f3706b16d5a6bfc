//! What every [`Source`] must do.
//!
//! The suite needs a source to fetch: the expression makes a `Fresh<S>` of a type that implements
//! [`Upstream`] beside the port.

use crate::{
    Fresh,
    helpers::{expect_kind, soon},
    poll_times,
    step::TestStep,
};
use kiln::{
    BuildId, ErrorKind, Revision, SourceSpec, StopReason, memory::MemorySource, port::Source,
};
use std::path::{Path, PathBuf};

/// Makes a test of every promise of a source. The expression makes a `Fresh<S>` for some
/// `S: Source + Upstream`.
#[macro_export]
macro_rules! source_suite {
    ($fresh:expr) => {
        $crate::tests_of! { source, $fresh,
            its_own_specs_are_accepted_and_strange_ones_are_not
            an_exact_revision_is_resolved_to_itself
            what_does_not_exist_is_not_found
            fetching_twice_gives_the_same
            an_older_revision_can_be_fetched_when_the_name_moved
            a_step_that_is_to_stop_fetches_nothing
            a_cancelled_fetch_can_be_repeated
        }
    };
}

/// A place to fetch from, and a way to see what was fetched.
pub trait Upstream {
    /// A source with a default reference.
    fn there(&self) -> SourceSpec;

    /// A source of the same kind that does not exist.
    fn not_there(&self) -> SourceSpec;

    /// A spec that is another adapter's affair.
    fn strange(&self) -> SourceSpec;

    /// Moves the default reference of [`Upstream::there`] on.
    fn moves(&self);

    /// What is in a directory now, in any form that differs when the files do; none if nothing is.
    fn fetched(&self, into: &Path) -> Option<String>;
}

impl Upstream for MemorySource {
    fn there(&self) -> SourceSpec {
        // Once only: the suite may have moved it on.
        if !self.has("memory:there") {
            self.set("memory:there", "main", "one");
        }
        SourceSpec::new("memory:there")
    }

    fn not_there(&self) -> SourceSpec {
        SourceSpec::new("memory:nowhere")
    }

    fn strange(&self) -> SourceSpec {
        SourceSpec::new("https://example.test/x.git")
    }

    fn moves(&self) {
        self.set("memory:there", "main", "two");
    }

    fn fetched(&self, into: &Path) -> Option<String> {
        MemorySource::fetched(self, into).map(|r| r.id)
    }
}

/// A directory that nothing has made yet, removed at the end of the test.
struct Into(PathBuf);

impl Into {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("kiln-source-{}", BuildId::random())))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Into {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn resolve<S: Source>(source: &S, step: &TestStep, spec: &SourceSpec) -> Revision {
    source.resolve(step.cx(), spec).await.expect("a reference that exists")
}

/// What is its own it accepts, judged by the form alone.
pub async fn its_own_specs_are_accepted_and_strange_ones_are_not<S: Source + Upstream>(
    source: Fresh<S>,
) {
    assert!(source.accepts(&source.there()));
    assert!(source.accepts(&source.not_there()), "whether it exists is not asked yet");
    assert!(!source.accepts(&source.strange()));
}

/// An exact revision stays what it is, also when the name it came from has moved.
pub async fn an_exact_revision_is_resolved_to_itself<S: Source + Upstream>(source: Fresh<S>) {
    let step = TestStep::new();
    let first = resolve(&*source, &step, &source.there()).await;
    let exact = source.there().reference(&first.id);
    assert_eq!(resolve(&*source, &step, &exact).await.id, first.id);
    source.moves();
    assert_ne!(resolve(&*source, &step, &source.there()).await.id, first.id);
}

/// A source or a reference that does not exist is `NotFound`.
pub async fn what_does_not_exist_is_not_found<S: Source + Upstream>(source: Fresh<S>) {
    let step = TestStep::new();
    let specs =
        [("a source", source.not_there()), ("a name", source.there().reference("no-such-branch"))];
    for (what, spec) in specs {
        let result = source.resolve(step.cx(), &spec).await;
        expect_kind(result, ErrorKind::NotFound, &format!("{what} that does not exist"));
    }
}

/// The same revision gives the same files, into a new directory and over an old one.
pub async fn fetching_twice_gives_the_same<S: Source + Upstream>(source: Fresh<S>) {
    let (step, into) = (TestStep::new(), Into::new());
    let spec = source.there();
    let revision = resolve(&*source, &step, &spec).await;
    let mut seen = Vec::new();
    for name in ["a", "a", "deep/b"] {
        source.fetch(step.cx(), &spec, &revision, &into.path(name)).await.unwrap();
        seen.push(source.fetched(&into.path(name)));
    }
    assert!(seen[0].is_some() && seen.iter().all(|s| *s == seen[0]), "{seen:?}");
}

/// What was pinned is fetched, not what the name means by now.
pub async fn an_older_revision_can_be_fetched_when_the_name_moved<S: Source + Upstream>(
    source: Fresh<S>,
) {
    let (step, into) = (TestStep::new(), Into::new());
    let spec = source.there();
    let old = resolve(&*source, &step, &spec).await;
    source.fetch(step.cx(), &spec, &old, &into.path("before")).await.unwrap();
    source.moves();
    source.fetch(step.cx(), &spec, &old, &into.path("after")).await.unwrap();
    let new = resolve(&*source, &step, &spec).await;
    source.fetch(step.cx(), &spec, &new, &into.path("new")).await.unwrap();
    let seen = ["before", "after", "new"].map(|n| source.fetched(&into.path(n)));
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], seen[2]);
}

/// A step that was told to stop before it began fetches nothing.
pub async fn a_step_that_is_to_stop_fetches_nothing<S: Source + Upstream>(source: Fresh<S>) {
    let (step, into) = (TestStep::new(), Into::new());
    let spec = source.there();
    let revision = resolve(&*source, &step, &spec).await;
    step.cancel.cancel(StopReason::Cancel);
    let fetched = soon("a fetch", source.fetch(step.cx(), &spec, &revision, &into.path("a"))).await;
    expect_kind(fetched, ErrorKind::Cancelled, "a fetch that is to stop");
}

/// What an earlier call left half done is replaced.
pub async fn a_cancelled_fetch_can_be_repeated<S: Source + Upstream>(source: Fresh<S>) {
    let (step, into) = (TestStep::new(), Into::new());
    let spec = source.there();
    let revision = resolve(&*source, &step, &spec).await;
    source.fetch(step.cx(), &spec, &revision, &into.path("whole")).await.unwrap();
    for polls in 0..6 {
        let half = TestStep::new();
        poll_times(source.fetch(half.cx(), &spec, &revision, &into.path("a")), polls).await;
        half.cancel.cancel(StopReason::Cancel);
        source.fetch(step.cx(), &spec, &revision, &into.path("a")).await.unwrap();
        assert_eq!(source.fetched(&into.path("a")), source.fetched(&into.path("whole")));
    }
}
