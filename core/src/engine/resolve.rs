//! What a source is just now, without a build.

use super::Engine;
use crate::{
    BuildId, CancelToken, Error, LogWriter, Owner, Result, Revision, SourceSpec, StepCx, StepId,
    StepKey, StepSecrets, StopReason, memory::MemoryLog, port::Offset, redact::Redactor,
};
use futures::{
    FutureExt,
    future::{Either, select},
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// How long a source that was told to stop may take to do so before it is given up.
const GRACE: Duration = Duration::from_secs(2);

impl Engine {
    /// Asks a source what a spec means just now, for builds of an owner and with its secrets, which
    /// the answer does not hold. Errors are those of [`Source::resolve`](crate::port::Source::resolve);
    /// `Timeout` if it takes longer than `patience`.
    pub async fn resolve(
        &self,
        owner: &Owner,
        source: &SourceSpec,
        patience: Duration,
    ) -> Result<Revision> {
        let tools = &self.tools;
        let adapter = tools.source(source)?;
        let build = BuildId::random();
        // What it says on the way is for nobody.
        let log = Arc::new(MemoryLog::with_clock(tools.clock.clone()));
        let redactor = Redactor::new();
        let log =
            LogWriter::new(build.clone(), log, tools.clock.clone(), redactor.clone(), Offset(0));
        let cx = StepCx {
            key: StepKey { build, step: StepId(0), attempt: 1 },
            owner: owner.clone(),
            workspace: PathBuf::from("/nowhere"),
            log: log.step(StepId(0), 1),
            secrets: StepSecrets::new(owner.clone(), tools.secrets.clone(), redactor.clone()),
            cancel: CancelToken::new(),
        };
        let late = || {
            Error::new(crate::ErrorKind::Timeout, "Source::resolve", "the source took too long")
                .with("seconds", patience.as_secs())
        };
        let resolved = adapter.resolve(&cx, source);
        let carried = log.pump();
        let work = select(resolved.boxed(), carried.boxed()).map(|first| match first {
            Either::Left((resolved, _)) => resolved,
            Either::Right((Err(e), _)) => Err(e),
        });
        let work = match select(work, tools.clock.sleep(patience)).await {
            Either::Left((resolved, _)) => {
                return resolved.map_err(|e| e.map_text(|text| redactor.redact_text(text)));
            }
            Either::Right(((), work)) => work,
        };
        cx.cancel.cancel(StopReason::Timeout);
        let _ = select(work, tools.clock.sleep(GRACE)).await;
        Err(late())
    }
}
