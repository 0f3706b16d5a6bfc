//! Until when a lease may be given, by the clock of the server.
//!
//! A server that stood still does on waking all that it was asked meanwhile, and by then leases have
//! lapsed whose holders could not renew them. So whoever asks for one says until when it counts.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a question may be on its way. Leases last longer between two renewals.
const SOON: Duration = Duration::from_secs(10);
/// After this time the server is asked for its time again: two clocks drift apart.
const FRESH: Duration = Duration::from_secs(60);

/// What the clock of the server was, and when it was told.
#[derive(Debug, Default)]
pub(crate) struct Due(Mutex<Option<(u64, Instant)>>);

impl Due {
    fn told(&self) -> MutexGuard<'_, Option<(u64, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of the server by which a question of now has to be answered; none where the server
    /// has to be asked for its time first.
    pub(crate) fn by(&self) -> Option<u64> {
        let (server, at) = (*self.told()).filter(|(_, at)| at.elapsed() < FRESH)?;
        let since = u64::try_from((at.elapsed() + SOON).as_millis()).ok()?;
        server.checked_add(since)
    }

    /// Notes the time of the server.
    pub(crate) fn note(&self, now: u64) {
        *self.told() = Some((now, Instant::now()));
    }

    /// It may be another one by now.
    pub(crate) fn forget(&self) {
        *self.told() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_counts_for_a_while() {
        let due = Due::default();
        assert_eq!(due.by(), None);
        due.note(1_000_000);
        let by = due.by().unwrap();
        assert!((1_010_000..1_100_000).contains(&by), "{by}");
        due.forget();
        assert_eq!(due.by(), None);
    }
}
