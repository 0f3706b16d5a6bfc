use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::runtime::Handle;

/// An exporter whose requests go through the runtime of the server. They are polled on a thread
/// of the batches, which is no part of it.
#[derive(Debug)]
pub(super) struct OnRuntime<E> {
    exporter: E,
    runtime: Handle,
}

impl<E> OnRuntime<E> {
    pub(super) fn new(exporter: E, runtime: Handle) -> Self {
        Self { exporter, runtime }
    }
}

impl<E: SpanExporter> SpanExporter for OnRuntime<E> {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let work = Box::pin(self.exporter.export(batch));
        Entered { work, runtime: self.runtime.clone() }
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Work that finds the runtime wherever it is polled.
struct Entered<F> {
    work: Pin<Box<F>>,
    runtime: Handle,
}

impl<F: Future> Future for Entered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let runtime = self.runtime.clone();
        let _entered = runtime.enter();
        self.work.as_mut().poll(cx)
    }
}
