use super::lock;
use crate::{Timestamp, port::Clock};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// A clock that stands still until it is moved by hand, for tests and simulations. Clones share
/// the time.
#[derive(Clone, Debug, Default)]
pub struct VirtualClock(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Since 1970.
    now: Duration,
    next: u64,
    wakers: BTreeMap<(Duration, u64), Waker>,
}

impl VirtualClock {
    /// A clock that shows a time.
    pub fn at(time: Timestamp) -> Self {
        let clock = Self::default();
        lock(&clock.0).now = Duration::from_millis(time.0);
        clock
    }

    /// Moves the time on and wakes those whose time has come, the earliest first.
    pub fn advance(&self, time: Duration) {
        let mut state = lock(&self.0);
        state.now = state.now.saturating_add(time);
        let after = (state.now, u64::MAX);
        let later = state.wakers.split_off(&after);
        let due = std::mem::replace(&mut state.wakers, later);
        drop(state);
        due.into_values().for_each(Waker::wake);
    }

    /// How long until the next sleeper wakes, if any sleeps.
    pub fn next_deadline(&self) -> Option<Duration> {
        let state = lock(&self.0);
        state.wakers.first_key_value().map(|((at, _), _)| at.saturating_sub(state.now))
    }

    /// Moves the time on to the next sleeper and wakes it; false if none sleeps.
    ///
    /// A simulation calls this whenever nothing else can go on.
    pub fn advance_to_next(&self) -> bool {
        let next = self.next_deadline();
        if let Some(time) = next {
            self.advance(time);
        }
        next.is_some()
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::default().plus(lock(&self.0).now)
    }

    async fn sleep(&self, time: Duration) {
        let at = lock(&self.0).now.saturating_add(time);
        Sleep { clock: self.clone(), at, id: None }.await;
    }
}

struct Sleep {
    clock: VirtualClock,
    at: Duration,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut state = lock(&clock.0);
        if state.now >= self.at {
            return Poll::Ready(());
        }
        state.next += 1;
        let id = *self.id.get_or_insert(state.next);
        state.wakers.insert((self.at, id), cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            lock(&self.clock.0).wakers.remove(&(self.at, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn time_passes_only_by_hand() {
        let clock = VirtualClock::at(Timestamp(1000));
        let mut nap = clock.sleep(Duration::from_millis(20)).boxed();
        assert!((&mut nap).now_or_never().is_none());
        assert_eq!(clock.next_deadline(), Some(Duration::from_millis(20)));
        clock.advance(Duration::from_millis(19));
        assert!((&mut nap).now_or_never().is_none());
        assert!(clock.advance_to_next());
        assert!(nap.now_or_never().is_some());
        assert_eq!(clock.now(), Timestamp(1020));
        assert!(!clock.advance_to_next());
    }
}
