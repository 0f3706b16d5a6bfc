use super::lock;
use crate::{Timestamp, port::Clock};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// The clock of the machine. One background thread, started when something first waits and ended
/// with the last clone, wakes all who wait.
#[derive(Clone, Debug, Default)]
pub struct SystemClock(Arc<Handle>);

/// Ends the thread when the last clone of the clock is gone.
#[derive(Debug, Default)]
struct Handle(Arc<Timers>);

impl Drop for Handle {
    fn drop(&mut self) {
        lock(&self.0.state).over = true;
        self.0.changed.notify_all();
    }
}

#[derive(Debug, Default)]
struct Timers {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    wakers: BTreeMap<(Instant, u64), Waker>,
    threads: u8,
    over: bool,
}

impl Timers {
    /// Wakes those whose time has come until the clock is gone.
    fn run(&self) {
        let mut state = lock(&self.state);
        while !state.over {
            let now = Instant::now();
            let first = state.wakers.first_key_value().map(|(key, _)| *key);
            match first {
                None => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                Some(key) if key.0 <= now => {
                    let waker = state.wakers.remove(&key);
                    drop(state);
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                    state = lock(&self.state);
                }
                Some((at, _)) => {
                    let waited = self.changed.wait_timeout(state, at - now);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Timestamp::default().plus(since.unwrap_or_default())
    }

    async fn sleep(&self, time: Duration) {
        // A time beyond what the machine can count never comes.
        match Instant::now().checked_add(time) {
            Some(at) => Sleep { timers: self.0.0.clone(), at, id: None }.await,
            None => std::future::pending().await,
        }
    }
}

struct Sleep {
    timers: Arc<Timers>,
    at: Instant,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        let timers = self.timers.clone();
        let mut state = lock(&timers.state);
        state.next += 1;
        let id = *self.id.get_or_insert(state.next);
        state.wakers.insert((self.at, id), cx.waker().clone());
        if state.threads == 0 {
            let timers = timers.clone();
            let named = thread::Builder::new().name("kiln-clock".into());
            // Without a thread nobody would wake us: then be polled again and again.
            match named.spawn(move || timers.run()) {
                Ok(_) => state.threads = 1,
                Err(_) => cx.waker().wake_by_ref(),
            }
        }
        let first = state.wakers.first_key_value().is_some_and(|(key, _)| *key == (self.at, id));
        drop(state);
        if first {
            timers.changed.notify_all();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            lock(&self.timers.state).wakers.remove(&(self.at, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, executor::block_on, future::join_all};

    #[test]
    fn every_sleeper_wakes_and_not_before_its_time() {
        let clock = SystemClock::default();
        let start = Instant::now();
        let woke = block_on(join_all([30, 10, 0, 20].map(|ms| {
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_millis(ms)).await;
                (ms, start.elapsed())
            }
        })));
        for (ms, after) in woke {
            assert!(after >= Duration::from_millis(ms), "{ms} ms took {after:?}");
        }
    }

    #[test]
    fn dropped_sleepers_and_dropped_clocks_leave_nothing_behind() {
        let clock = SystemClock::default();
        assert!(clock.sleep(Duration::from_secs(60)).now_or_never().is_none());
        assert!(clock.sleep(Duration::MAX).now_or_never().is_none());
        assert!(lock(&clock.0.0.state).wakers.is_empty());
        let timers = Arc::downgrade(&clock.0.0);
        drop(clock);
        let start = Instant::now();
        while timers.upgrade().is_some() {
            assert!(start.elapsed() < Duration::from_secs(10), "the thread did not end");
            thread::yield_now();
        }
    }
}
