use super::metrics::{Called, Metrics};
use futures::future::BoxFuture;
use kiln::{
    Result,
    layer::{Around, Call},
};
use std::time::Instant;

/// Measures how long calls of ports take, and how they end.
#[derive(Clone, Debug)]
pub(crate) struct Meter(Metrics);

impl Meter {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self(metrics)
    }
}

impl Around for Meter {
    async fn around<'a, T, W>(&'a self, call: Call<'a>, work: W) -> Result<T>
    where
        T: Send + 'a,
        W: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let began = Instant::now();
        let answer = work().await;
        let result = if answer.is_ok() { "ok" } else { "error" };
        let called = Called { op: call.op, result };
        let calls = &self.0.inner().calls;
        calls.get_or_create(&called).observe(began.elapsed().as_secs_f64());
        answer
    }
}
