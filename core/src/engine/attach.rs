use crate::{
    BuildId, BuildState, Result, StepLog,
    port::{LogBody, Offset, Stream},
    redact::Redactor,
    secret::Credentials,
    toolbox::Toolbox,
};
use std::{sync::Arc, time::Duration};

/// Keeps the output that the log has of an attempt from being logged again: a command that is
/// attached to prints from its beginning.
pub(super) async fn skip_logged(tools: Arc<Toolbox>, build: &BuildId, log: StepLog) -> Result<()> {
    let mut at = Offset(0);
    loop {
        let page = tools.log_reader.read(build, at, 1 << 20, Duration::ZERO).await?;
        if page.records.is_empty() {
            return Ok(());
        }
        at = page.next;
        for record in page.records.iter().filter(|r| log.is_of(r)) {
            match &record.body {
                // Kiln's own words are not the command's.
                LogBody::Bytes { stream: Stream::System, .. } => {}
                LogBody::Bytes { stream, data } => log.skip(*stream, data.len() as u64),
                _ => {}
            }
        }
    }
}

/// Redacts what the steps of an earlier driver were given: their files may still hold it, and what
/// they print is redacted as it was before.
pub(super) async fn conceal_given(tools: &Toolbox, state: &BuildState, redactor: &Redactor) {
    for secret in state.plan().secrets() {
        match tools.secrets.reveal(state.owner(), secret).await {
            Ok(value) => {
                redactor.add(&value);
                if let Some(credentials) = Credentials::parse(&value) {
                    redactor.add(&credentials.password);
                }
            }
            // A step that needs it will say so.
            Err(e) => tracing::warn!(%secret, error = ?e, "not redacted"),
        }
    }
}
