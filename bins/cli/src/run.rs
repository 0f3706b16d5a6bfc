//! Pipelines of `wercker.yml`: `run`, `check`, `detect`, `inspect`, `wercker`.

mod check;
mod detect;
mod git;
mod given;
mod input;
mod inspect;
mod settings;
mod source;
mod target;
pub(crate) mod wercker;

pub(crate) use check::check;
pub(crate) use detect::detect;
pub(crate) use inspect::inspect;
pub(crate) use source::forget;

use crate::{
    args::{Exit, RunArgs},
    build::{Show, Signals, detached, drive, follow_there, submit, tell, tell_if_unfinished},
    home::Home,
    remote::Server,
};
use kiln::{BuildId, CancelToken, Error, ErrorKind, Result, SourceSpec, StopReason, Submission};
use kiln_wercker::{
    file::{Diagnostic, File},
    plan::Settings,
};
use source::Directory;
use std::path::Path;
use target::Target;

const OP: &str = "kiln run";

fn wrong_in(op: &'static str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, op, message)
}

fn wrong(message: impl Into<String>) -> Error {
    wrong_in(OP, message)
}

impl Show {
    /// As it was asked for, with what steps print unless that is not wanted.
    fn of_run(args: &RunArgs) -> Self {
        let shown = &args.shown;
        match Self::asked(shown.quiet, shown.json, shown.progress) {
            Self::Screen if !shown.no_logs => Self::Logs,
            other => other,
        }
    }
}

/// What is told before anything is sent: none, or how to end if the file cannot be used.
struct Looked {
    /// The file that says what is left out of the directory, if the pipeline's file names one.
    ignore: Option<std::path::PathBuf>,
    /// How to end, if the file cannot be used.
    end: Option<Exit>,
}

/// Looks at the file of a directory, so that what is wrong with it is told at once.
fn look(dir: &Path, args: &RunArgs) -> Result<Looked> {
    let path = match &args.file.file {
        Some(file) => source::inside(dir, file)?.below(dir),
        None => check::find(dir)?,
    };
    let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
    let parsed = File::parse(&name, &check::text(&path)?);
    let ignore = args.file.ignore_file.as_deref().map(std::path::absolute).transpose();
    let ignore = ignore.map_err(|e| wrong("--ignore-file is not a path").source(e))?;
    let Some(file) = parsed.file else {
        tell_wrong(&parsed.diagnostics, args.shown.json);
        return Ok(Looked { ignore, end: Some(Exit::Failed) });
    };
    let named = file.ignore_file.map(|path| path.value.into());
    Ok(Looked { ignore: ignore.or(named), end: None })
}

fn tell_wrong(all: &[Diagnostic], json: bool) {
    if json {
        all.iter().for_each(|d| crate::print::json("diagnostic", d));
        let e = Error::new(ErrorKind::Failed, OP, "the file of the pipeline cannot be used");
        crate::print::failure(&e, true);
    } else {
        check::show(all);
        crate::print::note("error: the file of the pipeline cannot be used");
    }
}

/// Runs a pipeline on this machine.
pub(crate) async fn run(home: &Home, args: RunArgs) -> Result<Exit> {
    if args.detach {
        return Err(wrong("only a server runs on when this command has ended")
            .hint("Name one with --server, or leave out --detach."));
    }
    let show = Show::of_run(&args);
    let target = Target::of(&args)?;
    let looked = target.directory().map(|dir| look(dir, &args)).transpose()?;
    if let Some(end) = looked.as_ref().and_then(|looked| looked.end) {
        return Ok(end);
    }
    let mut signals = Signals::take()?;
    let id = BuildId::random();
    // Before anything is kept for it, so that nobody takes that for something that is left.
    let lock = home.lock(&id)?;
    let mut settings = settings::settings(&args, &target, Some(&home.secrets))?;
    let prepared = prepare(home, &args, &target, looked, &id, &mut settings);
    let source = tokio::select! {
        source = prepared => source,
        () = signals.next() => {
            forget(home, &id).await?;
            return Ok(Exit::Cancelled);
        }
    };
    let submission = async {
        let plan = settings::plan(&args, source?, &settings)?;
        let labels = settings::labels(&args, &target, &settings.git);
        home.engine.accept(Submission::new(plan).id(id.clone()).labels(labels)).await
    };
    let build = match submission.await {
        Ok(build) => build,
        Err(e) => {
            forget(home, &id).await?;
            return Err(e);
        }
    };
    let driven = drive(home, &build, show, &mut signals).await;
    drop(lock);
    match driven {
        Ok(Some((outcome, tally))) => {
            forget(home, &build).await?;
            tell(&home.engine, &build, &outcome, show, &tally).await
        }
        // It can be resumed, and needs what was kept for it.
        Ok(None) => Ok(Exit::Cancelled),
        Err(e) => {
            tell_if_unfinished(home, &build).await;
            Err(e)
        }
    }
}

/// Keeps what the run needs of this machine; returns where its source is.
async fn prepare(
    home: &Home,
    args: &RunArgs,
    target: &Target,
    looked: Option<Looked>,
    id: &BuildId,
    settings: &mut Settings,
) -> Result<SourceSpec> {
    input::here(home, args, target, id, settings).await?;
    let (root, looked) = match (target, looked) {
        (Target::Source(source), _) => return Ok(source.clone()),
        (Target::Directory(root), looked) => (root.clone(), looked),
    };
    let ignore = looked.and_then(|looked| looked.ignore);
    let bytes_max = args.work.context_max;
    let files = Directory { root, ignore, bytes_max }.files(CancelToken::new()).await?;
    source::keep(home, id, files, CancelToken::new()).await
}

/// Runs a pipeline with a server.
pub(crate) async fn run_there(server: &Server, args: RunArgs) -> Result<Exit> {
    let only_here = [
        ("--direct-mount", args.work.direct_mount),
        ("--enable-volumes", args.work.enable_volumes),
        ("--expose-ports", args.work.expose_ports),
    ];
    if let Some((name, _)) = only_here.iter().find(|(_, asked)| *asked) {
        return Err(wrong(format!("{name} is about this machine, and a server runs this"))
            .hint("Leave out --server, or KILN_SERVER."));
    }
    let show = Show::of_run(&args);
    let target = Target::of(&args)?;
    let looked = target.directory().map(|dir| look(dir, &args)).transpose()?;
    if let Some(end) = looked.as_ref().and_then(|looked| looked.end) {
        return Ok(end);
    }
    let mut signals = Signals::take()?;
    let mut settings = settings::settings(&args, &target, None)?;
    server.greet().await?;
    let cancel = CancelToken::new();
    let prepared = async {
        input::there(server, &args, &target, &mut settings).await?;
        match &target {
            Target::Source(source) => Ok(source.clone()),
            Target::Directory(root) => {
                let ignore = looked.and_then(|looked| looked.ignore);
                let bytes_max = args.work.context_max;
                let directory = Directory { root: root.clone(), ignore, bytes_max };
                let files = directory.files(cancel.clone()).await?;
                source::send(server, show, files, cancel.clone()).await
            }
        }
    };
    let source = tokio::select! {
        source = prepared => source?,
        () = signals.next() => {
            cancel.cancel(StopReason::Cancel);
            return Ok(Exit::Cancelled);
        }
    };
    let plan = settings::plan(&args, source, &settings)?;
    let labels = settings::labels(&args, &target, &settings.git);
    let build = submit(server, &plan, &labels).await?;
    if args.detach {
        return Ok(detached(&build, args.shown.json));
    }
    follow_there(server, &build, show, Some(signals)).await
}
