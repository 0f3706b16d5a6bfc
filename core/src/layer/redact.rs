use super::{Around, Call};
use crate::{Result, redact::Redactor};
use futures::future::BoxFuture;

/// Takes secrets out of every error: those it was given, and those that the call's step knows.
///
/// The engine redacts what it writes into journals and logs by itself. This layer is for those
/// who hand errors on elsewhere, and for adapters whose other side repeats what it was sent.
#[derive(Clone, Debug, Default)]
pub struct Redact(Redactor);

impl Redact {
    /// Takes out what a redactor knows.
    pub fn new(redactor: Redactor) -> Self {
        Self(redactor)
    }
}

impl Around for Redact {
    async fn around<'a, T, W>(&'a self, call: Call<'a>, work: W) -> Result<T>
    where
        T: Send + 'a,
        W: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        work().await.map_err(|error| {
            let error = error.map_text(|text| self.0.redact_text(text));
            match call.cx {
                Some(cx) => error.map_text(|text| cx.log.redactor().redact_text(text)),
                None => error,
            }
        })
    }
}
