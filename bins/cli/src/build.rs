//! Building, and going on with what was interrupted: `build`, `resume`.

mod ending;
mod input;
mod plan;
mod secrets;
mod signals;
mod there;
mod upload;
mod viewer;

pub(crate) use ending::tell;
pub(crate) use secrets::GivenSecrets;
pub(crate) use signals::Signals;
pub(crate) use there::{Submitted, build_there, detached, follow_there, submit};
pub(crate) use upload::Upload;

use crate::{
    args::{BuildArgs, Exit, ProgressKind, ResumeArgs},
    backend::find,
    home::{Home, short},
    instructions::Tally,
    print,
    remote::Note,
    run,
};
use futures::StreamExt;
use kiln::{
    BuildId, Engine, Error, ErrorKind, Outcome, Phase, Result, Seq, Submission, port::Offset,
};
use std::{path::PathBuf, time::Duration};
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, unbounded_channel},
        oneshot,
    },
    task::{JoinError, JoinHandle},
    time::timeout,
};

/// How a running build is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    Nothing,
    Plain,
    /// The output of steps comes and goes below what runs.
    Screen,
    /// The output of steps stays.
    Logs,
    Json,
}

impl Show {
    fn of(args: &BuildArgs) -> Self {
        Self::asked(args.quiet, args.json, args.progress)
    }

    pub(crate) fn asked(quiet: bool, json: bool, progress: ProgressKind) -> Self {
        match (quiet, json, progress) {
            (true, _, _) => Self::Nothing,
            (_, true, _) => Self::Json,
            (_, _, ProgressKind::Tty) => Self::Screen,
            (_, _, ProgressKind::Plain) => Self::Plain,
            _ => Self::to_match(json),
        }
    }

    /// Whether lines are drawn again and again.
    pub(crate) fn moves(self) -> bool {
        matches!(self, Self::Screen | Self::Logs)
    }

    /// JSON, or what suits where standard error goes.
    pub(crate) fn to_match(json: bool) -> Self {
        match json {
            true => Self::Json,
            false if print::can_move() => Self::Screen,
            false => Self::Plain,
        }
    }
}

pub(crate) async fn build(home: &Home, args: BuildArgs) -> Result<Exit> {
    if args.detach {
        return Err(plan::usage("only a server builds on when this command has ended")
            .hint("Name one with --server, or leave out --detach."));
    }
    let show = Show::of(&args);
    let mut signals = Signals::take()?;
    let id = BuildId::random();
    // Before the archive is there, so that nobody takes it for one that is left.
    let lock = home.lock(&id)?;
    let archive = Temporary(home.archive(&id));
    let input = match input::is_asked(&args)? {
        false => None,
        true => tokio::select! {
            input = input::read(&args, archive.0.clone()) => Some(input?),
            () = signals.next() => return Ok(Exit::Cancelled),
        },
    };
    let secrets = args.secrets.iter().map(|spec| home.secrets.take(spec));
    let chosen = plan::choose(&args, input)?;
    let labels = plan::labels(&args, &chosen);
    let plan = plan::plan(&args, chosen, secrets.collect::<Result<_>>()?)?;
    let mut submission = Submission::new(plan).id(id);
    for (name, value) in labels {
        submission = submission.label(name, value);
    }
    let build = home.engine.accept(submission).await?;
    let driven = drive(home, &build, show, &mut signals).await;
    drop(lock);
    if !matches!(driven, Ok(Some(_))) {
        // It can be resumed, and needs its archive for that.
        std::mem::forget(archive);
    }
    match driven {
        Ok(Some((outcome, tally))) => {
            ending::tell(&home.engine, &build, &outcome, show, &tally).await
        }
        Ok(None) => Ok(Exit::Cancelled),
        Err(e) => {
            tell_if_unfinished(home, &build).await;
            Err(e)
        }
    }
}

/// Says so if a build that is given up here can be resumed.
pub(crate) async fn tell_if_unfinished(home: &Home, build: &BuildId) {
    let state = home.engine.state(build).await;
    if state.is_ok_and(|s| s.phase() != Phase::Finished) {
        let id = short(build);
        print::note(format!("note: build {id} is not over; `kiln resume` goes on with it"));
    }
}

/// A file that is removed when nobody needs it any more; it need not be there.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed now is swept later.
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) async fn resume(home: &Home, args: ResumeArgs) -> Result<Exit> {
    let builds = match &args.id {
        None => home.interrupted().await?,
        Some(id) => vec![find(&home.engine, id).await?.build],
    };
    if builds.is_empty() && !args.json {
        print::note("nothing was interrupted");
    }
    let mut signals = Signals::take()?;
    let show = Show::to_match(args.json);
    let mut worst = Exit::Fine;
    for build in builds {
        let _lock = home.lock(&build)?;
        if !args.json {
            print::note(format!("resuming build {}", short(&build)));
        }
        let Some((outcome, tally)) = drive(home, &build, show, &mut signals).await? else {
            return Ok(Exit::Cancelled);
        };
        let exit = ending::tell(&home.engine, &build, &outcome, show, &tally).await?;
        run::forget(home, &build).await?;
        if exit as u8 > worst as u8 {
            worst = exit;
        }
    }
    home.sweep().await?;
    Ok(worst)
}

/// Drives a build and shows it meanwhile; `None` if the user would not wait for its end.
pub(crate) async fn drive(
    home: &Home,
    build: &BuildId,
    show: Show,
    signals: &mut Signals,
) -> Result<Option<(Outcome, Tally)>> {
    let engine = &home.engine;
    let from = engine.tools().log_sink.end(build).await?;
    let (notes, noted) = unbounded_channel();
    let ending = async {
        tokio::select! {
            outcome = engine.drive(build) => Some(outcome),
            () = signals.obey(engine, build, &notes) => None,
        }
    };
    let ended = watch(engine, build, Begin { from, show, noted }, ending).await?;
    if ended.is_some() {
        home.reindex(build).await?;
    }
    Ok(ended)
}

/// What is shown of a build, from where on.
struct Begin {
    from: Offset,
    show: Show,
    noted: UnboundedReceiver<Note>,
}

/// Shows a build until it is known how it ended, or that the user would not wait for that.
async fn watch(
    engine: &Engine,
    build: &BuildId,
    begin: Begin,
    ending: impl Future<Output = Option<Result<Outcome>>>,
) -> Result<Option<(Outcome, Tally)>> {
    let show = begin.show;
    let (stop, stopped) = oneshot::channel();
    let shown = tokio::spawn(viewer::follow(engine.clone(), build.clone(), begin, stopped));
    let told = (show == Show::Json).then(|| tokio::spawn(events(engine.clone(), build.clone())));
    let outcome = ending.await;
    let over = matches!(outcome, Some(Ok(_)));
    if !over {
        // The log goes on in whichever process drives the build next.
        told.iter().for_each(JoinHandle::abort);
    }
    let tally = finish(shown, stop, over).await?;
    if let Some(told) = told {
        match told.await {
            Ok(done) => done?,
            Err(e) if e.is_cancelled() => {}
            Err(e) => return Err(broken(&e)),
        }
    }
    let Some(outcome) = outcome else { return Ok(None) };
    Ok(Some((outcome?, tally)))
}

fn broken(e: &JoinError) -> Error {
    Error::new(ErrorKind::Unexpected, "kiln", e.to_string())
}

/// How long the end of a log is waited for when its build is over. It comes at once, unless the
/// log could not be closed.
const END_TIME: Duration = Duration::from_secs(10);

/// Waits until all is shown, if there is an end, and takes the screen away.
async fn finish(
    mut shown: JoinHandle<Result<Tally>>,
    stop: oneshot::Sender<()>,
    over: bool,
) -> Result<Tally> {
    if over && let Ok(done) = timeout(END_TIME, &mut shown).await {
        return done.map_err(|e| broken(&e))?;
    }
    // It may have ended by itself meanwhile.
    let _ = stop.send(());
    shown.await.map_err(|e| broken(&e))?
}

async fn events(engine: Engine, build: BuildId) -> Result<()> {
    let mut events = engine.events(&build, Seq::START);
    while let Some(event) = events.next().await {
        print::json("event", serde_json::json!({ "event": event? }));
    }
    Ok(())
}
