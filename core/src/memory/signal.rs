use super::lock;
use crate::port::Clock;
use futures::future::{Either, select};
use std::{
    collections::BTreeMap,
    future::Future,
    pin::{Pin, pin},
    sync::Mutex,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// Wakes whoever waits for news. Nobody who took a ticket before the news misses it.
#[derive(Debug, Default)]
pub(super) struct Signal(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    version: u64,
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

/// What a waiter had seen when it looked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(u64);

impl Signal {
    /// Takes a ticket; look at the state after this, never before.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket(lock(&self.0).version)
    }

    /// Tells the news to all who wait.
    pub(super) fn tell(&self) {
        let wakers = {
            let mut state = lock(&self.0);
            state.version += 1;
            std::mem::take(&mut state.wakers)
        };
        wakers.into_values().for_each(Waker::wake);
    }

    /// Waits for news since the ticket, but no longer than this.
    pub(super) async fn news(&self, since: Ticket, clock: &dyn Clock, patience: Duration) {
        let news = News { signal: self, since, id: None };
        match select(news, pin!(clock.sleep(patience))).await {
            Either::Left(_) | Either::Right(_) => {}
        }
    }

    /// Waits until `look` finds something, or until patience is over; looks once at least.
    pub(super) async fn until<T>(
        &self,
        clock: &dyn Clock,
        patience: Duration,
        mut look: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let deadline = clock.now().plus(patience);
        loop {
            let ticket = self.ticket();
            let found = look();
            let left = deadline.since(clock.now());
            if found.is_some() || left.is_zero() {
                return found;
            }
            self.news(ticket, clock, left).await;
        }
    }
}

struct News<'a> {
    signal: &'a Signal,
    since: Ticket,
    id: Option<u64>,
}

impl Future for News<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let signal = self.signal;
        let mut state = lock(&signal.0);
        if state.version != self.since.0 {
            return Poll::Ready(());
        }
        state.next += 1;
        let id = *self.id.get_or_insert(state.next);
        state.wakers.insert(id, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for News<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            lock(&self.signal.0).wakers.remove(&id);
        }
    }
}
