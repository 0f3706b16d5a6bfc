//! What the server says of itself: its log, traces and metrics.

mod exporter;
mod meter;
mod metrics;
mod watched;

pub(crate) use metrics::Metrics;
pub(crate) use watched::Watched;

use crate::config::{Format, Telemetry};
use exporter::OnRuntime;
use kiln::{Error, ErrorKind, Result};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tokio::runtime::Handle;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

/// Sends what is left of the traces when it is dropped.
#[derive(Debug)]
pub(crate) struct Started(Option<SdkTracerProvider>);

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(e) = provider.shutdown()
        {
            tracing::warn!(error = %e, "the last traces are lost");
        }
    }
}

/// Starts the log on standard error, filtered by `KILN_LOG`, and traces where they are wanted.
pub(crate) fn start(settings: &Telemetry) -> Result<Started> {
    let filter = || EnvFilter::try_from_env("KILN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match settings.format {
        Format::Text => lines.with_filter(filter()).boxed(),
        Format::Json => lines.json().flatten_event(true).with_filter(filter()).boxed(),
    };
    let provider = settings.otlp.as_deref().map(provider).transpose()?;
    // Ports tell of their calls at level debug; what the exporter does itself would come back.
    let spans = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("kiln-server"))
            .with_filter(EnvFilter::new("kiln=debug,kiln_server=debug"))
    });
    tracing_subscriber::registry().with(lines).with(spans).init();
    Ok(Started(provider))
}

/// Sends traces to an OTLP collector in batches, from a thread of its own.
fn provider(endpoint: &str) -> Result<SdkTracerProvider> {
    let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(endpoint)
        .build()
        .map_err(|e| {
            Error::new(ErrorKind::Invalid, "kiln-server", "traces cannot be sent there")
                .source(e)
                .hint("`telemetry.otlp` is the address of an OTLP collector for HTTP.")
        })?;
    let resource = Resource::builder().with_service_name("kiln-server").build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(OnRuntime::new(exporter, Handle::current()))
        .with_resource(resource)
        .build())
}
