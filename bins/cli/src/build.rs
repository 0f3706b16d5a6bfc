//! Building, and going on with what was interrupted: `build`, `resume`.

mod ending;
mod input;
mod plan;
mod secrets;
mod signals;

pub(crate) use secrets::GivenSecrets;

use crate::{
    args::{BuildArgs, Exit, ProgressKind, ResumeArgs},
    home::{Home, short},
    instructions::Tally,
    lines::{self, Lines},
    print,
    screen::{Board, DRAW_EVERY, Look, Screen},
};
use console::Term;
use futures::StreamExt;
use kiln::{
    BuildId, Engine, Error, ErrorKind, Outcome, Phase, Result, Seq, Submission,
    port::{LogRecord, Offset},
};
use signals::Signals;
use std::{io, path::PathBuf, time::Duration};
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, unbounded_channel},
        oneshot,
    },
    task::{JoinError, JoinHandle},
    time::{MissedTickBehavior, interval, timeout},
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
        (_, _, ProgressKind::Tty) => Show::Screen,
        (_, _, ProgressKind::Auto) if print::can_move() => Show::Screen,
        _ => Show::Plain,
    };
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
    let planned = plan::plan(&args, input, secrets.collect::<Result<_>>()?)?;
    let mut submission = Submission::new(planned.plan).id(id);
    for (name, value) in args.labels {
        submission = submission.label(name, value);
    }
    submission = submission.label("kiln.what", planned.what);
    if !args.tags.is_empty() {
        submission = submission.label("kiln.tags", args.tags.join(" "));
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
    ending::tell(home, &build, &outcome, show, &tally).await
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
        Some(id) => vec![home.find(id).await?.build],
    };
    if builds.is_empty() && !args.json {
        print::note("nothing was interrupted");
    }
    let mut signals = Signals::take()?;
    let show = match args.json {
        true => Show::Json,
        false if print::can_move() => Show::Screen,
        false => Show::Plain,
    };
    let mut worst = Exit::Fine;
    for build in builds {
        let _lock = home.lock(&build)?;
        if !args.json {
            print::note(format!("resuming build {}", short(&build)));
        }
        let Some((outcome, tally)) = drive(home, &build, show, &mut signals).await? else {
            return Ok(Exit::Cancelled);
        };
        let exit = ending::tell(home, &build, &outcome, show, &tally).await?;
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
    let engine = home.engine.clone();
    let from = engine.tools().log_sink.end(build).await?;
    let (notes, noted) = unbounded_channel();
    let (stop, stopped) = oneshot::channel();
    let shown = tokio::spawn(follow(engine.clone(), build.clone(), from, show, noted, stopped));
    let told = (show == Show::Json).then(|| tokio::spawn(events(engine.clone(), build.clone())));
    let outcome = tokio::select! {
        outcome = engine.drive(build) => Some(outcome),
        () = signals.obey(&engine, build, &notes) => None,
    };
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
    home.reindex(build).await?;
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

/// Where records and notes go.
enum Viewer {
    Nothing,
    Plain(Lines, Tally),
    Screen(Box<Screen>),
    Json(Vec<String>, Tally),
}

impl Viewer {
    fn new(show: Show, build: &BuildId, names: Vec<String>) -> Self {
        match show {
            Show::Nothing => Self::Nothing,
            Show::Json => Self::Json(names, Tally::default()),
            Show::Plain => {
                Self::Plain(Lines::new(names, print::colours(&io::stderr())), Tally::default())
            }
            Show::Screen => {
                let title = format!("build {}", short(build));
                let board = Board::new(Look::of(&io::stderr()), title, names);
                Self::Screen(Box::new(Screen::new(Term::stderr(), board)))
            }
        }
    }

    fn take(&mut self, record: &LogRecord) {
        match self {
            Self::Nothing => {}
            Self::Plain(lines, tally) => {
                tally.take(record);
                lines.take(record).into_iter().for_each(print::note);
            }
            Self::Screen(screen) => screen.take(record),
            Self::Json(names, tally) => {
                tally.take(record);
                lines::print_json(record, names);
            }
        }
    }

    fn note(&mut self, line: &str) {
        match self {
            Self::Screen(screen) => screen.stopping(line),
            _ => print::note(line),
        }
    }

    fn draw(&mut self) {
        if let Self::Screen(screen) = self {
            screen.draw();
        }
    }

    fn close(self) -> Tally {
        match self {
            Self::Nothing => Tally::default(),
            Self::Json(_, tally) => tally,
            Self::Plain(mut lines, tally) => {
                lines.rest().into_iter().for_each(print::note);
                tally
            }
            Self::Screen(screen) => screen.close(),
        }
    }
}

async fn follow(
    engine: Engine,
    build: BuildId,
    from: Offset,
    show: Show,
    mut notes: UnboundedReceiver<String>,
    mut stop: oneshot::Receiver<()>,
) -> Result<Tally> {
    let names = engine.view(&build).await?.step_views.into_iter().map(|s| s.name);
    let mut viewer = Viewer::new(show, &build, names.collect());
    let mut log = engine.log(&build, from);
    let mut tick = interval(DRAW_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            record = log.next() => match record {
                Some(record) => viewer.take(&record?),
                None => break,
            },
            Some(note) = notes.recv() => viewer.note(&note),
            _ = &mut stop => break,
            _ = tick.tick(), if show == Show::Screen => viewer.draw(),
        }
    }
    Ok(viewer.close())
}

async fn events(engine: Engine, build: BuildId) -> Result<()> {
    let mut events = engine.events(&build, Seq::START);
    while let Some(event) = events.next().await {
        print::json("event", serde_json::json!({ "event": event? }));
    }
    Ok(())
}
