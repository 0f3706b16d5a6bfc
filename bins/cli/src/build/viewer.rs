//! What is seen of a build that runs.

use super::{Begin, Show};
use crate::{
    home::short,
    instructions::Tally,
    lines::{self, Lines},
    print,
    remote::Note,
    screen::{Board, DRAW_EVERY, Look, Screen},
};
use console::Term;
use futures::StreamExt;
use kiln::{BuildId, Engine, Result, port::LogRecord};
use std::io;
use tokio::{
    sync::oneshot,
    time::{MissedTickBehavior, interval},
};

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
            Show::Screen | Show::Logs => {
                let title = format!("build {}", short(build));
                let board = Board::new(Look::of(&io::stderr()), title, names);
                let board = if show == Show::Logs { board.with_logs() } else { board };
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

    /// Takes in the names of all steps there are by now: a plan may grow.
    fn name(&mut self, all: Vec<String>) {
        match self {
            Self::Nothing => {}
            Self::Plain(lines, _) => lines.name(all),
            Self::Screen(screen) => screen.name(all),
            Self::Json(names, _) => *names = all,
        }
    }

    fn note(&mut self, note: Note) {
        match (self, note) {
            (Self::Screen(screen), Note::Stopping(line)) => screen.stopping(line),
            (Self::Screen(screen), Note::Said(line)) => screen.say(line),
            (_, Note::Stopping(line) | Note::Said(line)) => print::note(line),
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

/// Shows a log from a place on, with what is noted meanwhile, until its end or until told to stop.
pub(super) async fn follow(
    engine: Engine,
    build: BuildId,
    begin: Begin,
    mut stop: oneshot::Receiver<()>,
) -> Result<Tally> {
    let Begin { from, show, mut noted } = begin;
    let view = tokio::select! {
        view = engine.view(&build) => view?,
        _ = &mut stop => return Ok(Tally::default()),
    };
    let names: Vec<String> = view.step_views.into_iter().map(|s| s.name).collect();
    let mut known = names.len();
    let mut viewer = Viewer::new(show, &build, names);
    let mut log = engine.log(&build, from);
    let mut tick = interval(DRAW_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            record = log.next() => match record {
                Some(record) => {
                    let record = record?;
                    if record.step.index() >= known {
                        let view = engine.view(&build).await?;
                        // A record of a step that is in no journal is shown without a name.
                        known = view.step_views.len().max(record.step.index() + 1);
                        viewer.name(view.step_views.into_iter().map(|s| s.name).collect());
                    }
                    viewer.take(&record);
                }
                None => break,
            },
            Some(note) = noted.recv() => viewer.note(note),
            _ = &mut stop => break,
            _ = tick.tick(), if show.moves() => viewer.draw(),
        }
    }
    Ok(viewer.close())
}
