//! Holds new leases back while those that were there may have had no chance to be renewed.

use kiln::{Result, port::Store};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Shut after an outage: leases that lapsed in it are renewed first, by agents that drive still.
/// Else their builds would go to others, and every step that runs would be lost.
#[derive(Debug)]
pub(crate) struct Gate {
    hold: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    shut_until: Instant,
    looked: bool,
}

impl Gate {
    /// A gate that stays shut for so long after an outage, and this process was one.
    pub(crate) fn new(hold: Duration) -> Self {
        let state = State { shut_until: Instant::now() + hold, looked: false };
        Self { hold, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queue was out of reach just now.
    pub(crate) fn shut(&self) {
        self.lock().shut_until = Instant::now() + self.hold;
    }

    /// How long it is shut still; not at all if nothing was driven when this process started.
    pub(crate) async fn shut_for(&self, store: &dyn Store) -> Result<Duration> {
        if !self.lock().looked {
            let nothing = store.unfinished().await?.is_empty();
            let mut state = self.lock();
            state.looked = true;
            if nothing {
                state.shut_until = Instant::now();
            }
        }
        Ok(self.lock().shut_until.saturating_duration_since(Instant::now()))
    }
}
