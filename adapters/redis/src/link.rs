//! The connection that all calls share. When it ends, the next call makes a new one; a call that it
//! fails under is told, and never tried again here.

use crate::{
    error::translate,
    script::Call,
    wire::{Dialler, Line},
};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use kiln::Result;
use redis::{Cmd, FromRedisValue, RedisError};
use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

type Dialling = Shared<BoxFuture<'static, Result<Line, RedisError>>>;

/// The way to the server.
pub(crate) struct Link {
    dialler: Dialler,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    /// Grows with every connection, so that an old failure does not end a new connection.
    number: u64,
    dialling: Option<Dialling>,
}

impl Link {
    pub(crate) fn new(dialler: Dialler) -> Self {
        Self { dialler, now: Mutex::default() }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection at hand, or a new one. All who need it wait for the same attempt, and are told
    /// the same if it fails.
    async fn line(&self) -> Result<(u64, Line), RedisError> {
        let (number, dialling) = {
            let mut now = self.now();
            let ended = now.dialling.as_ref().and_then(Shared::peek);
            if matches!(ended, Some(Ok(line)) if line.is_gone()) {
                now.dialling = None;
            }
            if now.dialling.is_none() {
                now.number += 1;
                let dialler = self.dialler.clone();
                let dial = async move { dialler.dial(None).await };
                now.dialling = Some(dial.boxed().shared());
            }
            (now.number, now.dialling.clone())
        };
        let Some(dialling) = dialling else { return Err(closed()) };
        match dialling.await {
            Ok(line) => Ok((number, line)),
            Err(e) => {
                self.leave(number);
                Err(e)
            }
        }
    }

    /// The connection at hand, or a new one, to ask the server about itself.
    pub(crate) async fn open(&self, op: &'static str) -> Result<Line> {
        self.line().await.map(|(_, line)| line).map_err(|e| translate(op, &e))
    }

    /// Uses a connection for no further calls; those under way may still be answered.
    fn leave(&self, number: u64) {
        let mut now = self.now();
        if now.number == number {
            now.dialling = None;
        }
    }

    /// Sends a command and waits for its answer.
    pub(crate) async fn ask<T: FromRedisValue>(&self, op: &'static str, cmd: &Cmd) -> Result<T> {
        let (number, mut line) = self.line().await.map_err(|e| translate(op, &e))?;
        let answer = cmd.query_async(&mut line.connection).await;
        self.judged(op, number, answer)
    }

    /// Runs a script, which the server is given first if it does not have it.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        op: &'static str,
        call: &Call<'_>,
    ) -> Result<T> {
        let (number, mut line) = self.line().await.map_err(|e| translate(op, &e))?;
        let answer = call.invoke_async(&mut line.connection).await;
        self.judged(op, number, answer)
    }

    fn judged<T>(&self, op: &'static str, number: u64, answer: Result<T, RedisError>) -> Result<T> {
        answer.map_err(|e| {
            // Who does not answer may be gone for good, which TCP alone notices in a quarter of an hour.
            if e.is_unrecoverable_error() || e.is_timeout() {
                self.leave(number);
            }
            translate(op, &e)
        })
    }
}

fn closed() -> RedisError {
    crate::error::unreachable(std::io::ErrorKind::NotConnected.into())
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("dialler", &self.dialler).finish_non_exhaustive()
    }
}
