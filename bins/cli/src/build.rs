//! Building, and going on with what was interrupted: `build`, `resume`.

mod ending;
mod input;
mod plan;
mod secrets;
mod signals;
mod there;
mod upload;
mod viewer;

pub(crate) use secrets::GivenSecrets;
pub(crate) use there::{Submitted, build_there, detached, follow_there};

use crate::{
    args::{BuildArgs, Exit, ProgressKind, ResumeArgs},
    backend::find,
    home::{Home, short},
    instructions::Tally,
    print,
    remote::Note,
};
use futures::StreamExt;
use kiln::{
    BuildId, Engine, Error, ErrorKind, Outcome, Phase, Result, Seq, Submission, port::Offset,
};
use signals::Signals;
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
    Screen,
    Json,
}

impl Show {
    fn of(args: &BuildArgs) -> Self {
        match (args.quiet, args.json, args.progress) {
            (true, _, _) => Self::Nothing,
            (_, _, ProgressKind::Tty) if !args.json => Self::Screen,
            (_, _, ProgressKind::Plain) if !args.json => Self::Plain,
            _ => Self::to_match(args.json),
        }
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
    let (outcome, tally) = match driven {
        Ok(Some(end)) => end,
        Ok(None) => return Ok(Exit::Cancelled),
        Err(e) => {
            let state = home.engine.state(&build).await;
            if state.is_ok_and(|s| s.phase() != Phase::Finished) {
                let id = short(&build);
                print::note(format!("note: build {id} is not over; `kiln resume` goes on with it"));
            }
            return Err(e);
        }
    };
    ending::tell(&home.engine, &build, &outcome, show, &tally).await
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
        if exit as u8 > worst as u8 {
            worst = exit;
        }
    }
    home.sweep().await?;
    Ok(worst)
}

/// Drives a build and shows it meanwhile; `None` if the user would not wait for its end.
async fn drive(
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
