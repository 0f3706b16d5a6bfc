//! A shell in the box that a run left: `inspect`.

use super::wrong_in;
use crate::{
    args::{Exit, InspectArgs},
    backend::find,
    home::{Home, short},
    print,
};
use kiln::{
    BuildId, Error, ErrorKind, Op, Result,
    port::{BuildFilter, Page},
};
use std::{
    io::{self, IsTerminal},
    process::Stdio,
};
use tokio::process::Command;

const OP: &str = "kiln inspect";
/// How many runs are looked at for one that left an image.
const RUNS_MAX: usize = 50;
/// Goes where the source is, if it is there.
const THERE: &str = "cd /pipeline/source 2>/dev/null; ";
/// The best shell that the image has.
const SHELL: &str = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi";

pub(crate) async fn inspect(home: &Home, host: Option<&str>, args: InspectArgs) -> Result<Exit> {
    let (build, image) = match &args.id {
        Some(id) => {
            let build = find(&home.engine, id).await?.build;
            let image = image(home, &build).await?;
            (build.clone(), image.ok_or_else(|| none(&build))?)
        }
        None => latest(home).await?,
    };
    if io::stderr().is_terminal() {
        print::note(format!("the box of build {}, from image {image}", short(&build)));
    }
    let mut command = Command::new("docker");
    command.args(["run", "--rm", "--interactive"]);
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        command.arg("--tty");
    }
    if let Some(host) = host {
        command.env("DOCKER_HOST", host);
    }
    command.args(["--label", "dev.kiln.inspect=true", "--entrypoint", "/bin/sh", &image, "-c"]);
    match args.command.is_empty() {
        true => command.arg(format!("{THERE}{SHELL}")),
        // What was named is data, and not text of a shell.
        false => command.arg(format!("{THERE}exec \"$@\"")).arg("sh").args(&args.command),
    };
    let status = command.stdin(Stdio::inherit()).status().await.map_err(|e| {
        Error::new(ErrorKind::Unexpected, OP, "the command `docker` cannot be started")
            .source(e)
            .hint(format!("Install it, or start a container of {image} in another way."))
    })?;
    Ok(if status.success() { Exit::Fine } else { Exit::Failed })
}

/// The image that was made of the box of a build, and is still its own: the last one.
async fn image(home: &Home, build: &BuildId) -> Result<Option<String>> {
    let (view, state) = (home.engine.view(build).await?, home.engine.state(build).await?);
    let made = view.step_views.iter().rev().find_map(|step| {
        let is_commit = matches!(state.plan().step(step.id).op, Op::Commit { .. });
        step.output.as_ref().filter(|_| is_commit)?.image.as_ref()
    });
    Ok(made.map(|image| image.id.clone()))
}

/// The latest run that left an image.
async fn latest(home: &Home) -> Result<(BuildId, String)> {
    let page = Page { max: RUNS_MAX, after: None };
    for summary in home.engine.list(&BuildFilter::default(), &page).await? {
        if let Some(image) = image(home, &summary.build).await? {
            return Ok((summary.build, image));
        }
    }
    Err(wrong_in(OP, "no run left an image of its box")
        .hint("Run with --commit IMAGE, or with --checkpoint for an image after every step."))
}

fn none(build: &BuildId) -> Error {
    wrong_in(OP, "the run left no image of its box")
        .with("build", build)
        .hint("Run with --commit IMAGE, or with --checkpoint for an image after every step.")
}
