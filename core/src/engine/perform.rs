//! From a step's verb to a call of a port, and from a port's error to a failure: here only.

use super::{ask, keep};
use crate::{
    Artifact, BuildState, Error, ErrorKind, Failure, FailureClass, ImageFrom, Op, Output, RelPath,
    Result, Revision, SourceSpec, Status, StepCx, StepPhase,
    port::{ArtifactKey, Exit, PushSpec},
    redact::Redactor,
    toolbox::Toolbox,
};
use async_trait::async_trait;
use std::time::Duration;

/// The first and the longest wait before an artifact is put again, and how long all of them may be.
const UPLOAD_WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
const UPLOAD_OUTAGE_MAX: Duration = Duration::from_secs(5 * 60);

/// What performing a step asks of its driver meanwhile.
#[async_trait]
pub(super) trait Pins: Send + Sync {
    /// Journals what a step is pinned to, before its effect, and returns what it is pinned to now.
    async fn pin(&self, revision: Revision) -> Result<Revision>;
}

/// Performs one attempt of a step.
pub(super) async fn perform(
    tools: &Toolbox,
    state: &BuildState,
    cx: &StepCx,
    local_paths: bool,
    pins: &dyn Pins,
) -> Result<Output> {
    let output = match &state.plan().step(cx.key.step).op {
        Op::Plan { .. } => ask::plan(tools, state, cx, local_paths).await?,
        _ => attempt(tools, state, cx, pins).await?,
    };
    Ok(redacted(output, cx.log.redactor()))
}

/// Takes secrets out of what a step tells in its own words: a journal holds it.
fn redacted(mut output: Output, redactor: &Redactor) -> Output {
    let text = |text: &str| redactor.redact_text(text);
    output.notes = output.notes.iter().map(|(key, note)| (text(key), text(note))).collect();
    if let Some(report) = &mut output.report {
        report.scanner = text(&report.scanner);
    }
    output
}

async fn attempt(
    tools: &Toolbox,
    state: &BuildState,
    cx: &StepCx,
    pins: &dyn Pins,
) -> Result<Output> {
    match &state.plan().step(cx.key.step).op {
        Op::Fetch { source, into } => {
            let into = into.below(&cx.workspace);
            let pinned = state.pin(cx.key.step).cloned();
            fetch(tools, cx, source, &into, pinned, pins).await
        }
        Op::Build(spec) => {
            let image = tools.builder(&spec.recipe)?.build(cx, spec).await?;
            Ok(Output { image: Some(image), ..Output::default() })
        }
        Op::Exec { in_box, command } => {
            let spec = &state.plan().boxes()[in_box];
            let runtime = tools.runtime()?;
            let handle = runtime.start(cx, in_box, spec).await?;
            let command = state.informed(command);
            let Exit { code, notes } = runtime.exec(cx, &handle, &command).await?;
            if code != 0 {
                let message = format!("the command ended with exit code {code}");
                let error = Error::new(ErrorKind::Failed, "Runtime::exec", message);
                return Err(error.exit_code(code).notes(notes));
            }
            Ok(Output { notes, ..Output::default() })
        }
        Op::Commit { container, spec } => {
            let image = tools.containers()?.commit(cx, container, spec).await?;
            Ok(Output { image: Some(image), ..Output::default() })
        }
        Op::Push { image, to, credentials } => {
            let image = image_of(state, image)?;
            let spec = PushSpec { image, to: to.clone(), credentials: credentials.clone() };
            let digest = tools.registry()?.push(cx, &spec).await?;
            Ok(Output { digest: Some(digest), ..Output::default() })
        }
        Op::Scan { image, gate } => {
            let report = tools.scanner()?.scan(cx, &image_of(state, image)?).await?;
            let worst = report.findings.iter().rev().find(|(_, n)| **n > 0).map(|(s, _)| *s);
            if let (Some(gate), Some(worst)) = (gate, worst)
                && worst >= *gate
            {
                let message =
                    format!("the scan found a {worst:?} vulnerability; the gate is {gate:?}");
                return Err(Error::new(ErrorKind::Failed, "Scanner::scan", message));
            }
            Ok(Output { report: Some(report), ..Output::default() })
        }
        Op::Publish { image, target } => {
            let publisher = tools.publisher(target)?;
            let digest = publisher.publish(cx, &image_of(state, image)?, target).await?;
            Ok(Output { digest: Some(digest), ..Output::default() })
        }
        Op::Upload { path, name } => {
            let artifact = upload(tools, cx, path, name).await?;
            Ok(Output { artifact: Some(artifact), ..Output::default() })
        }
        op @ (Op::Collect { .. } | Op::Restore { .. } | Op::Save { .. }) => {
            keep::perform(tools, state, cx, op).await
        }
        Op::Plan { .. } => Err(Error::new(ErrorKind::Unexpected, "Engine", "a plan is asked for")),
    }
}

async fn fetch(
    tools: &Toolbox,
    cx: &StepCx,
    source: &SourceSpec,
    into: &std::path::Path,
    pinned: Option<Revision>,
    pins: &dyn Pins,
) -> Result<Output> {
    let adapter = tools.source(source)?;
    let revision = match pinned {
        Some(revision) => revision,
        None => pins.pin(adapter.resolve(cx, source).await?).await?,
    };
    adapter.fetch(cx, source, &revision, into).await?;
    Ok(Output { revision: Some(revision), ..Output::default() })
}

/// Keeps a file as an artifact. While the store is out of reach it is tried again from the
/// beginning of the file, as long as a driver waits for a journal: an outage is no failure of a step.
async fn upload(tools: &Toolbox, cx: &StepCx, path: &RelPath, name: &RelPath) -> Result<Artifact> {
    let key = ArtifactKey { build: cx.key.build.clone(), name: name.clone() };
    let (mut wait, mut waited) = (UPLOAD_WAITS.0, Duration::ZERO);
    loop {
        let body = tools.workspaces.read(&cx.key.build, path).await?;
        let error = match tools.artifacts.put(&key, body).await {
            Err(e) if e.retry_status() == Status::Temporary && waited < UPLOAD_OUTAGE_MAX => e,
            done => return done,
        };
        tracing::warn!(step = %cx.key, ?error, "an artifact is put again");
        let slept = cx.cancel.race(tools.clock.sleep(wait)).await;
        slept.map_err(|_| cx.cancelled("ArtifactStore::put"))?;
        waited += wait;
        wait = (wait * 2).min(UPLOAD_WAITS.1);
    }
}

/// How the host names the image that a step works on.
fn image_of(state: &BuildState, from: &ImageFrom) -> Result<String> {
    match from {
        ImageFrom::Reference(reference) => Ok(reference.to_string()),
        ImageFrom::Step(step) => match state.step(*step) {
            StepPhase::Succeeded(output) if output.image.is_some() => {
                Ok(output.image.as_ref().map(|i| i.id.clone()).unwrap_or_default())
            }
            _ => {
                let name = &state.plan().step(*step).name;
                Err(Error::new(ErrorKind::NotFound, "Engine", "there is no image to work on")
                    .with("made by step", name))
            }
        },
    }
}

/// The one place where a port's error becomes a build's failure. Secrets are redacted.
pub(super) fn failure(error: Error, redactor: &Redactor) -> Failure {
    let mut causes = String::new();
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        let text = cause.to_string();
        if !text.is_empty() && !error.message().contains(&text) {
            causes.push_str(": ");
            causes.push_str(&text);
        }
        next = cause.source();
    }
    let notes = error.told().iter();
    let notes = notes.map(|(name, note)| (redactor.redact_text(name), redactor.redact_text(note)));
    Failure {
        notes: notes.collect(),
        message: redactor.redact_text(&format!("{error}{causes}")),
        hint: error.hint_text().map(|h| redactor.redact_text(h)),
        ..Failure::from(&error)
    }
}

impl From<&Error> for Failure {
    fn from(e: &Error) -> Self {
        let class = match e.kind() {
            ErrorKind::Timeout => FailureClass::Infra,
            ErrorKind::Cancelled => FailureClass::Cancelled,
            ErrorKind::Failed
            | ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::Invalid
            | ErrorKind::Denied
            | ErrorKind::Unsupported => FailureClass::User,
            ErrorKind::Conflict
            | ErrorKind::RateLimited
            | ErrorKind::Unavailable
            | ErrorKind::Corrupt
            | ErrorKind::Exhausted
            | ErrorKind::Unexpected => FailureClass::Infra,
        };
        Self {
            class,
            kind: e.kind(),
            message: e.to_string(),
            hint: e.hint_text().map(str::to_owned),
            exit_code: e.code(),
            notes: e.told().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Report, Secret};
    use std::collections::BTreeMap;

    fn redactor() -> Redactor {
        let redactor = Redactor::new();
        assert!(redactor.add(&Secret::new("p@ss\"word")));
        redactor
    }

    #[test]
    fn no_part_of_an_error_takes_a_secret_into_the_journal() {
        let cause = Error::new(ErrorKind::Denied, "Registry::push", "401 for u:p%40ss%22word")
            .source("body: {\"password\":\"p@ss\\\"word\"}");
        let error = Error::new(ErrorKind::Denied, "Registry::push", "refused p@ss\"word")
            .with("url", "https://u:p%40ss%22word@h")
            .with("header", "Basic dTpwQHNzIndvcmQ=")
            .hint("Try p@ss\"word again.")
            .source(cause);
        let failure = failure(error, &redactor());
        assert_eq!(
            failure.message,
            "refused *** (url: https://u:***@h, header: Basic dTp***): 401 for u:***: \
             body: {\"password\":\"***\"}"
        );
        assert_eq!(failure.hint.as_deref(), Some("Try *** again."));
    }

    #[test]
    fn no_note_takes_a_secret_into_the_journal() {
        let notes = BTreeMap::from([("said p@ss\"word".to_owned(), "p%40ss%22word".to_owned())]);
        let report = Some(Report { scanner: "s p@ss\"word".into(), findings: BTreeMap::new() });
        let output = redacted(Output { notes, report, ..Output::default() }, &redactor());
        assert_eq!(output.notes, BTreeMap::from([("said ***".to_owned(), "***".to_owned())]));
        assert_eq!(output.report.map(|r| r.scanner).as_deref(), Some("s ***"));
    }
}
