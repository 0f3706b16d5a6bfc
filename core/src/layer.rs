//! Layers: what is done around every call of a port, whatever the port and whatever the adapter.
//!
//! A layer is an [`Around`]; [`Layered`] puts it around an adapter and is that port again, so
//! layers stack, and an engine cannot tell. The outermost is put on last:
//!
//! ```
//! use kiln::{layer::{Layered, Retry, Trace}, memory::{MemoryStore, SystemClock}, port::Store, Attempts};
//! use std::sync::Arc;
//!
//! let clock = Arc::new(SystemClock::default());
//! let store = Layered::new(Arc::new(MemoryStore::default()), Retry::new(clock.clone(), Attempts::up_to(5)));
//! let store: Arc<dyn Store> = Arc::new(Layered::new(Arc::new(store), Trace::new(clock)));
//! # drop(store);
//! ```
//!
//! [`Toolbox::layer_memory`](crate::Toolbox::layer_memory) and
//! [`Toolbox::layer_effects`](crate::Toolbox::layer_effects) put one around many ports at once.
//! Every layer keeps every promise of the port below; the conformance suites run on each.
//! There is none for [`Clock`](crate::port::Clock), which cannot fail.

mod forward;
mod limit;
mod redact;
mod retry;
mod timeout;
mod trace;

pub use limit::Limit;
pub use redact::Redact;
pub use retry::Retry;
pub use timeout::Timeout;
pub use trace::Trace;

use crate::{BuildId, Result, StepCx};
use futures::future::BoxFuture;
use std::{fmt::Debug, future::Future, sync::Arc, time::Duration};

/// Whether a call may be made again after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Again {
    /// Again is as good as once, also when the first call did arrive and only its answer was lost.
    Safe,
    /// Again is harmless, but when the first call did arrive the second tells of a conflict, or
    /// hands out something else. Whoever calls knows what to make of that; a layer does not.
    Unsure,
    /// Again would show: output would come twice, or what was to be sent is used up.
    Never,
}

/// What a layer knows of a call.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Port and method, such as `Store::append`.
    pub op: &'static str,
    /// The build it is about, if it is about one.
    pub build: Option<&'a BuildId>,
    /// The step it is made for, if it is made for one.
    pub cx: Option<&'a StepCx>,
    /// Whether it may be made again.
    pub again: Again,
    /// How long it may wait for news by itself before it answers.
    pub patience: Duration,
}

impl<'a> Call<'a> {
    fn new(op: &'static str, again: Again) -> Self {
        Self { op, build: None, cx: None, again, patience: Duration::ZERO }
    }

    fn build(self, build: &'a BuildId) -> Self {
        Self { build: Some(build), ..self }
    }

    fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    fn cx(self, cx: &'a StepCx) -> Self {
        Self { build: Some(&cx.key.build), cx: Some(cx), ..self }
    }
}

/// What a layer does around calls.
///
/// `work` makes the call; it can be called again where [`Call::again`] allows it. Its future may
/// be dropped only where there is no step, or where the step had its grace time.
pub trait Around: Clone + Debug + Send + Sync + 'static {
    /// Goes around a call.
    fn around<'a, T, W>(
        &'a self,
        call: Call<'a>,
        work: W,
    ) -> impl Future<Output = Result<T>> + Send + 'a
    where
        T: Send + 'a,
        W: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a;

    /// Goes around a call that is made for a step, and may give it another context, such as one
    /// with another cancel token.
    fn around_step<'a, T, W>(
        &'a self,
        call: Call<'a>,
        cx: &'a StepCx,
        work: W,
    ) -> impl Future<Output = Result<T>> + Send + 'a
    where
        T: Send + 'a,
        W: Fn(StepCx) -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        self.around(call, move || work(cx.clone()))
    }
}

/// An adapter with a layer around it.
#[derive(Debug)]
pub struct Layered<P: ?Sized, A> {
    inner: Arc<P>,
    around: A,
}

impl<P: ?Sized, A> Layered<P, A> {
    /// Puts a layer around an adapter.
    pub fn new(inner: Arc<P>, around: A) -> Self {
        Self { inner, around }
    }

    /// The adapter inside.
    pub fn inner(&self) -> &P {
        &self.inner
    }
}
