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

/// What the clock of the server was, and when it was told.
#[derive(Debug, Default)]
pub(crate) struct Due(Mutex<Option<(i64, Instant)>>);

impl Due {
    fn told(&self) -> MutexGuard<'_, Option<(i64, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of the server by which a question of now has to be answered; none before the
    /// server told its time.
    pub(crate) fn by(&self) -> Option<i64> {
        let (server, at) = (*self.told())?;
        let since = i64::try_from((at.elapsed() + SOON).as_millis()).ok()?;
        server.checked_add(since)
    }

    /// Notes the time of the server, and says whether it is too late.
    pub(crate) fn is_over(&self, by: Option<i64>, now: i64) -> bool {
        *self.told() = Some((now, Instant::now()));
        by.is_some_and(|by| now > by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_counts_for_a_while() {
        let due = Due::default();
        assert_eq!(due.by(), None);
        assert!(!due.is_over(None, 1_000_000));
        let by = due.by().unwrap();
        assert!((1_010_000..1_100_000).contains(&by), "{by}");
        assert!(!due.is_over(Some(by), by) && due.is_over(Some(by), by + 1));
        // What the server says now counts, also if its clock was set.
        assert!(!due.is_over(due.by(), by + 2));
    }
}
