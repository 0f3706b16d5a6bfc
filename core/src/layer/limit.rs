use super::{Around, Call, retry::stop_or};
use crate::Result;
use futures::{channel::oneshot, future::BoxFuture};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Lets at most so many calls run at once; the others wait for their turn, in order. Clones share
/// one limit.
///
/// A step that is told to stop waits no longer. A call that waits for news by itself is not
/// counted: it is no load, and could keep out the call that would bring the news.
#[derive(Clone, Debug)]
pub struct Limit(Arc<Turns>);

#[derive(Debug)]
struct Turns(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// The right to make one call, until it is dropped.
#[derive(Debug)]
struct Turn(Option<Arc<Turns>>);

impl Limit {
    /// Lets this many calls run at once, and never less than one.
    pub fn new(max: usize) -> Self {
        let state = State { free: max.max(1), waiting: VecDeque::new() };
        Self(Arc::new(Turns(Mutex::new(state))))
    }

    async fn turn(&self) -> Turn {
        let turn = {
            let mut state = self.0.lock();
            if state.free > 0 {
                state.free -= 1;
                return Turn(Some(self.0.clone()));
            }
            let (give, turn) = oneshot::channel();
            state.waiting.push_back(give);
            turn
        };
        turn.await.expect("whoever waits is in the list, and is dropped from it only with a turn")
    }
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.0.take() else { return };
        loop {
            let next = {
                let mut state = turns.lock();
                let next = state.waiting.pop_front();
                if next.is_none() {
                    state.free += 1;
                }
                next
            };
            let Some(next) = next else { return };
            match next.send(Turn(Some(turns.clone()))) {
                Ok(()) => return,
                // Nobody waits there any more: the turn is not theirs to give back.
                Err(mut turn) => drop(turn.0.take()),
            }
        }
    }
}

impl Around for Limit {
    async fn around<'a, T, W>(&'a self, call: Call<'a>, work: W) -> Result<T>
    where
        T: Send + 'a,
        W: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        if !call.patience.is_zero() {
            return work().await;
        }
        let turn = match call.cx {
            None => self.turn().await,
            Some(cx) => stop_or(cx, call.op, self.turn()).await?,
        };
        let answer = work().await;
        drop(turn);
        answer
    }
}
