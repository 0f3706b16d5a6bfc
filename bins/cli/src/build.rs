//! Building, and going on with what was interrupted: `build`, `resume`.

mod plan;

use crate::{
    args::{BuildArgs, Exit, ProgressKind, ResumeArgs},
    home::{Home, short},
    print,
    screen::{self, Lines, Screen},
};
use futures::StreamExt;
use kiln::{
    BuildId, BuildView, Engine, Error, ErrorKind, Outcome, Result, Seq, StepStatus, Submission,
    port::Offset,
};
use std::path::PathBuf;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};

/// How a running build is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Show {
    Nothing,
    Plain,
    Screen,
    Json,
}

pub(crate) async fn build(home: &Home, args: BuildArgs) -> Result<Exit> {
    let show = match (args.quiet, args.json, args.progress) {
        (true, _, _) => Show::Nothing,
        (_, true, _) => Show::Json,
        (_, _, ProgressKind::Plain) => Show::Plain,
        (_, _, ProgressKind::Tty) => Show::Screen,
        (_, _, ProgressKind::Auto) if print::is_terminal() => Show::Screen,
        _ => Show::Plain,
    };
    let id = BuildId::random();
    let planned = plan::plan(&args, &home.dir.join("tmp").join(format!("{id}.tar")))?;
    let _archive = planned.archive.map(Temporary);
    let lock = home.lock(&id)?;
    let submission = Submission::new(planned.plan).id(id).label("kiln.what", planned.what);
    let build = home.engine.accept(submission).await?;
    let outcome = drive(home, &build, show).await;
    drop(lock);
    let outcome = outcome?;
    tell(home, &build, &outcome, show).await
}

/// A file that is removed when nobody needs it any more.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // `kiln prune` has another chance at it.
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) async fn resume(home: &Home, args: ResumeArgs) -> Result<Exit> {
    let builds = match &args.id {
        None => home.interrupted().await?,
        Some(id) => vec![home.find(id).await?.build],
    };
    if builds.is_empty() && !args.json {
        print::note("nothing was interrupted");
    }
    let mut worst = Exit::Fine;
    for build in builds {
        let _lock = home.lock(&build)?;
        if !args.json {
            print::note(format!("resuming build {}", short(&build)));
        }
        let show = if args.json { Show::Json } else { Show::Plain };
        let outcome = drive(home, &build, show).await?;
        let exit = tell(home, &build, &outcome, show).await?;
        if exit as u8 > worst as u8 {
            worst = exit;
        }
    }
    home.engine.tidy().await?;
    Ok(worst)
}

/// Drives a build and shows it meanwhile. The first signal cancels it, the second one by force.
async fn drive(home: &Home, build: &BuildId, show: Show) -> Result<Outcome> {
    let engine = home.engine.clone();
    let from = engine.tools().log_sink.end(build).await?;
    let shown = tokio::spawn(follow(engine.clone(), build.clone(), from, show));
    let told = (show == Show::Json).then(|| tokio::spawn(events(engine.clone(), build.clone())));
    let signals = tokio::spawn(obey(engine.clone(), build.clone()));
    let outcome = engine.drive(build).await;
    signals.abort();
    if outcome.is_err() {
        shown.abort();
    }
    finish(shown).await?;
    if let Some(told) = told {
        if outcome.is_err() {
            told.abort();
        }
        finish(told).await?;
    }
    home.reindex(build).await?;
    outcome
}

async fn finish(task: JoinHandle<Result<()>>) -> Result<()> {
    match task.await {
        Ok(done) => done,
        Err(e) if e.is_cancelled() => Ok(()),
        Err(e) => Err(Error::new(ErrorKind::Unexpected, "kiln", e.to_string())),
    }
}

async fn follow(engine: Engine, build: BuildId, from: Offset, show: Show) -> Result<()> {
    let names = engine.view(&build).await?.step_views.into_iter().map(|s| s.name);
    let mut lines = Lines::new(names.collect());
    let mut screen = (show == Show::Screen).then(Screen::new);
    let mut log = engine.log(&build, from);
    while let Some(record) = log.next().await {
        let record = record?;
        match (&mut screen, show) {
            (_, Show::Nothing) => {}
            (_, Show::Json) => print::json(&screen::as_json(&record)),
            (Some(screen), _) => screen.take(&mut lines, &record),
            (None, _) => lines.take(&record).into_iter().for_each(print::note),
        }
    }
    match (screen, show) {
        (Some(screen), _) => screen.close(&mut lines),
        (None, Show::Plain) => lines.rest().into_iter().for_each(print::note),
        _ => {}
    }
    Ok(())
}

async fn events(engine: Engine, build: BuildId) -> Result<()> {
    let mut events = engine.events(&build, Seq::START);
    while let Some(event) = events.next().await {
        print::json(&serde_json::json!({ "type": "event", "event": event? }));
    }
    Ok(())
}

async fn obey(engine: Engine, build: BuildId) -> Result<()> {
    let wrong = |e: std::io::Error| Error::new(ErrorKind::Unexpected, "kiln", e.to_string());
    let mut interrupt = signal(SignalKind::interrupt()).map_err(wrong)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(wrong)?;
    for force in [false, true] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        print::note(match force {
            false => "stopping; once more to stop at once, without after-steps",
            true => "stopping at once",
        });
        let cancelled = engine.cancel(&build, "interrupted by a signal", force).await;
        if let Err(e) = cancelled.as_ref()
            && e.kind() != ErrorKind::Conflict
        {
            print::note(format!("warning: {e}"));
        }
    }
    std::future::pending().await
}

/// Tells how a build ended.
async fn tell(home: &Home, build: &BuildId, outcome: &Outcome, show: Show) -> Result<Exit> {
    let view = home.engine.view(build).await?;
    let image = view.step_views.iter().find_map(|s| s.output.as_ref()?.image.clone());
    let digests: Vec<_> =
        view.step_views.iter().filter_map(|s| s.output.as_ref()?.digest.clone()).collect();
    match show {
        Show::Json => print::json(&serde_json::json!({
            "type": "result",
            "build": build,
            "outcome": outcome.word(),
            "image": image,
            "digests": digests,
        })),
        Show::Nothing => {
            if let Some(image) = image.filter(|_| *outcome == Outcome::Succeeded) {
                print::result(image.id);
            }
        }
        _ => {
            if let Some(image) = image.filter(|_| *outcome == Outcome::Succeeded) {
                print::result(format!("image   {}  {}", image.id, print::bytes(image.bytes)));
                for tag in &image.tags {
                    print::result(format!("tag     {tag}"));
                }
            }
            for digest in &digests {
                print::result(format!("pushed  {digest}"));
            }
            let took = view.summary.finished_at.unwrap_or_default().since(view.summary.accepted_at);
            print::note(format!(
                "build {} {} in {}",
                short(build),
                outcome.word(),
                print::time(took)
            ));
        }
    }
    if show != Show::Json {
        blame(&view, outcome);
    }
    Ok(match outcome {
        Outcome::Succeeded => Exit::Fine,
        Outcome::Failed { .. } | Outcome::TimedOut => Exit::Failed,
        Outcome::Errored { .. } => Exit::Errored,
        Outcome::Cancelled => Exit::Cancelled,
    })
}

fn blame(view: &BuildView, outcome: &Outcome) {
    if matches!(outcome, Outcome::Succeeded | Outcome::Cancelled) {
        return;
    }
    for step in view.step_views.iter().filter(|s| s.status == StepStatus::Failed) {
        if let Some(failure) = &step.failure {
            print::step_failure(&step.name, failure);
        }
    }
}
