//! How a build is asked to stop.

use super::{Engine, with_consequences};
use crate::{
    Actor, BuildId, BuildView, CancelCause, Error, ErrorKind, Phase, Result, Seq,
    port::Notice,
    state::{Command, Refusal},
};

impl Engine {
    /// Asks a build to stop, whoever drives it. Its after-steps still run unless `force` is set.
    ///
    /// Asking twice is fine; `Conflict` if it is finished.
    pub async fn cancel(&self, build: &BuildId, reason: &str, force: bool) -> Result<()> {
        self.cancel_by(build, reason, force, None).await.map(drop)
    }

    /// As [`Engine::cancel`], and says in the journal who asks. Returns where the build stands now:
    /// one that no driver had and that has no after-steps is finished at once, and whoever keeps a
    /// queue takes it out.
    pub async fn cancel_by(
        &self,
        build: &BuildId,
        reason: &str,
        force: bool,
        by: Option<Actor>,
    ) -> Result<Phase> {
        loop {
            let (mut state, seq) = self.load(build).await?;
            let (cause, reason, by) = (CancelCause::Request, reason.into(), by.clone());
            let command = Command::Cancel { cause, reason, force, by };
            let events = state.decide(command).map_err(|refusal| refused(build, &refusal))?;
            if events.is_empty() {
                return Ok(state.phase());
            }
            let entries = with_consequences(&mut state, events, self)?;
            match self.tools.store.append(build, seq, &entries).await {
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                Err(e) => return Err(e),
                Ok(_) => {
                    // A driver tells of it itself, but there was none.
                    if state.driver().is_none() {
                        self.tell_unled(build, state.phase()).await?;
                    }
                    return Ok(state.phase());
                }
            }
        }
    }

    /// Does for a build that no driver had what its driver would do after a cancel.
    async fn tell_unled(&self, build: &BuildId, phase: Phase) -> Result<()> {
        let tools = &self.tools;
        let journal = tools.store.load(build, Seq::START).await?;
        let view = BuildView::of(build, &journal)?;
        if let Err(e) = tools.index.put(&view.summary).await {
            tracing::warn!(%build, error = ?e, "the index could not be told");
        }
        if phase == Phase::Finished {
            tools.log_sink.close(build).await?;
        }
        let Some(last) = journal.into_iter().next_back() else { return Ok(()) };
        let notice = Notice { build: view.summary, seq: last.seq, event: last.event };
        for notifier in &tools.notifiers {
            if let Err(e) = notifier.notify(&notice).await {
                tracing::warn!(%build, error = ?e, "not notified");
            }
        }
        Ok(())
    }
}

fn refused(build: &BuildId, refusal: &Refusal) -> Error {
    Error::new(ErrorKind::Conflict, "Engine", refusal.to_string()).with("build", build)
}
