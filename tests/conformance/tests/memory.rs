//! The memory adapters keep every promise.

use kiln::memory::{
    MemoryArtifacts, MemoryFleet, MemoryIndex, MemoryLog, MemoryQueue, MemoryStore,
    MemoryWorkspaces, SystemClock, VirtualClock,
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
