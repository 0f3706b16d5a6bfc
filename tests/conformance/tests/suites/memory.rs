//! The memory adapters keep every promise.

use kiln::memory::{
    MemoryArtifacts, MemoryFleet, MemoryIndex, MemoryLog, MemoryNotifier, MemoryQueue,
    MemoryRuntime, MemorySecrets, MemoryStore, MemoryWorkspaces, SystemClock, VirtualClock,
};
use kiln_conformance::{Fresh, Time};
use std::sync::Arc;

/// An adapter that waits by a clock which the suite moves.
fn with_clock<P>(make: impl FnOnce(Arc<VirtualClock>) -> P) -> Fresh<P> {
    let clock = VirtualClock::at(kiln::Timestamp(1_000_000));
    Fresh::new(Arc::new(make(Arc::new(clock.clone())))).time(clock.into())
}

mod store {
    use super::*;
    kiln_conformance::store_suite!(with_clock(|c| MemoryStore::with_clock(c)));
}

mod log {
    use super::*;
    kiln_conformance::log_suite!(with_clock(|c| MemoryLog::with_clock(c)));
}

mod queue {
    use super::*;
    kiln_conformance::queue_suite!(with_clock(|c| MemoryQueue::with_clock(c)));
}

mod queue_in_real_time {
    use super::*;
    kiln_conformance::queue_suite!(Fresh::new(Arc::new(MemoryQueue::default())));
}

mod index {
    use super::*;
    kiln_conformance::index_suite!(Fresh::new(Arc::new(MemoryIndex::default())));
}

mod fleet {
    use super::*;
    kiln_conformance::fleet_suite!(Fresh::new(Arc::new(MemoryFleet::default())));
}

mod artifacts {
    use super::*;
    kiln_conformance::artifacts_suite!(Fresh::new(Arc::new(MemoryArtifacts::default())));
}

mod workspaces {
    use super::*;
    kiln_conformance::workspaces_suite!(Fresh::new(Arc::new(MemoryWorkspaces::default())));
}

mod virtual_clock {
    use super::*;
    kiln_conformance::clock_suite!(with_clock(|c| VirtualClock::clone(&c)));
}

mod system_clock {
    use super::*;
    kiln_conformance::clock_suite!({
        let clock = SystemClock::default();
        Fresh::new(Arc::new(clock.clone())).time(Time::Real(clock))
    });
}

mod runtime {
    use super::*;
    kiln_conformance::runtime_suite!(Fresh::new(Arc::new(MemoryRuntime::default())));
}

mod secrets {
    use super::*;
    kiln_conformance::secrets_suite!({
        let secrets = MemorySecrets::default();
        let name = kiln::SecretRef::new("token").unwrap();
        let ann = kiln_conformance::sample::owner("ann");
        secrets.set(ann, name, kiln::Secret::new("s3cret of ann"));
        Fresh::new(Arc::new(secrets))
    });
}

mod notifier {
    use super::*;
    kiln_conformance::notifier_suite!(Fresh::new(Arc::new(MemoryNotifier::default())));
}

/// A promise that is in no list is never tested.
#[test]
fn every_promise_is_in_the_list_of_its_suite() {
    let src = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut names, mut listed) = (Vec::new(), String::new());
    let mut directories = vec![src];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for line in text.lines() {
                if let Some(rest) = line.strip_prefix("pub async fn ") {
                    names.push(rest.split(['<', '(']).next().unwrap().to_owned());
                }
            }
            for list in text.split("$crate::tests_of!").skip(1) {
                listed.push_str(list.split('}').next().unwrap());
            }
        }
    }
    assert!(names.len() > 100, "only {} promises", names.len());
    for name in names.iter().filter(|n| *n != "poll_times") {
        assert!(listed.split_whitespace().any(|l| l == name), "`{name}` is in no list");
    }
}

/// A notifier that is told by nobody, so that there is something to note.
fn told() -> kiln::Notifiers {
    let name = kiln::NotifierName::new("ci").expect("a legal name");
    let one: Arc<dyn kiln::port::Notifier> = Arc::new(MemoryNotifier::default());
    Arc::new([(name, one)].into())
}

mod store_with_an_outbox {
    use super::*;
    kiln_conformance::store_suite!(with_clock(|c| {
        let (store, queue) = (MemoryStore::with_clock(c), MemoryQueue::default());
        kiln::Outbox::new(Arc::new(store), Arc::new(queue), told())
    }));
}
