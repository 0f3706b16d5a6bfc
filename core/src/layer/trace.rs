use super::{Around, Call};
use crate::{Result, port::Clock};
use futures::future::BoxFuture;
use std::sync::Arc;
use tracing::Instrument;

/// Tells `tracing` of each call: a span `port` with operation, build, step and attempt, and in it
/// an event at its end with the time it took. Errors are told at level `debug` too: whether one
/// matters is for the caller to say.
#[derive(Clone, Debug)]
pub struct Trace {
    clock: Arc<dyn Clock>,
}

impl Trace {
    /// Measures with a clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl Around for Trace {
    async fn around<'a, T, W>(&'a self, call: Call<'a>, work: W) -> Result<T>
    where
        T: Send + 'a,
        W: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let span = tracing::debug_span!(
            "port",
            op = call.op,
            build = call.build.map(tracing::field::display),
            step = call.cx.map(|cx| cx.key.step.0),
            attempt = call.cx.map(|cx| cx.key.attempt),
        );
        async {
            let began = self.clock.now();
            let answer = work().await;
            let ms = self.clock.now().since(began).as_millis();
            match &answer {
                Ok(_) => tracing::debug!(ms, "done"),
                Err(error) => tracing::debug!(ms, ?error, "failed"),
            }
            answer
        }
        .instrument(span)
        .await
    }
}
