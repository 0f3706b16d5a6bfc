//! What is told when a build is over.

use super::Show;
use crate::{
    args::Exit,
    home::short,
    instructions::Tally,
    print,
    screen::{Look, Paint},
    text,
};
use kiln::{
    BuildId, BuildState, BuildView, Engine, Failure, Image, Op, Outcome, Result, StepStatus,
    image::Digest,
};
use serde::Serialize;

/// What was pushed where.
#[derive(Debug, Serialize)]
struct Pushed {
    image: String,
    digest: Digest,
}

#[derive(Serialize)]
struct StepError<'a> {
    step: &'a str,
    #[serde(flatten)]
    failure: &'a Failure,
}

/// A file that the build keeps.
#[derive(Debug, Serialize)]
struct Kept<'a> {
    name: &'a str,
    bytes: u64,
    digest: &'a Digest,
}

/// All that is told of the end of a build, as JSON has it.
#[derive(Serialize)]
struct Ending<'a> {
    build: &'a BuildId,
    outcome: &'static str,
    exit_code: u8,
    took_ms: u64,
    image: Option<&'a Image>,
    pushed: &'a [Pushed],
    digests: Vec<&'a Digest>,
    /// All images that were made.
    images: &'a [&'a Image],
    artifacts: &'a [Kept<'a>],
    /// Instructions of the recipe, where the builder tells of them.
    instructions: usize,
    cached: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<StepError<'a>>,
}

/// Tells how a build ended.
pub(crate) async fn tell(
    engine: &Engine,
    build: &BuildId,
    outcome: &Outcome,
    show: Show,
    tally: &Tally,
) -> Result<Exit> {
    let view = engine.view(build).await?;
    let exit = match outcome {
        Outcome::Succeeded => Exit::Fine,
        Outcome::Failed { .. } | Outcome::TimedOut => Exit::Failed,
        Outcome::Errored { .. } => Exit::Errored,
        Outcome::Cancelled => Exit::Cancelled,
    };
    let state = engine.state(build).await?;
    let pushed = pushed(&view, &state);
    let image = view.step_views.iter().find_map(|s| s.output.as_ref()?.image.as_ref());
    let (images, artifacts) = (images(&view, &state, outcome), artifacts(&view));
    if show == Show::Json {
        let (cached, instructions) = tally.cached();
        print::json(
            "result",
            Ending {
                build,
                outcome: outcome.word(),
                exit_code: exit as u8,
                took_ms: u64::try_from(took(&view).as_millis()).unwrap_or(u64::MAX),
                image,
                pushed: &pushed,
                digests: pushed.iter().map(|p| &p.digest).collect(),
                images: &images,
                artifacts: &artifacts,
                instructions,
                cached,
                errors: failures(&view, &state, outcome)
                    .into_iter()
                    .map(|(step, failure)| StepError { step, failure })
                    .collect(),
            },
        );
        return Ok(exit);
    }
    let image = image.filter(|_| *outcome == Outcome::Succeeded);
    match (show, image) {
        (Show::Nothing, Some(image)) => match pushed.first() {
            Some(pushed) => print::result(&pushed.digest),
            None => print::result(&image.id),
        },
        (Show::Nothing, None) => {}
        (_, image) => {
            made(&images, &artifacts, build);
            people(&view, image, &pushed, tally);
        }
    }
    for (step, failure) in failures(&view, &state, outcome) {
        print::step_failure(step, failure);
    }
    let told = show != Show::Nothing && *outcome != Outcome::Cancelled;
    for step in view.step_views.iter().filter(|s| s.status == StepStatus::Failed) {
        let (may_fail, failure) = (state.plan().step(step.id).may_fail, step.failure.as_ref());
        if let Some(failure) = failure.filter(|_| told && may_fail) {
            let said = text::plain(&failure.message);
            print::note(format!("warning: step `{}`: {said}", text::plain(&step.name)));
        }
    }
    if show.moves() && matches!(exit, Exit::Failed | Exit::Errored) {
        print::note(format!("help: `kiln logs {}` has the whole log.", short(build)));
    }
    Ok(exit)
}

fn took(view: &BuildView) -> std::time::Duration {
    view.summary.finished_at.unwrap_or_default().since(view.summary.accepted_at)
}

/// The images that were pushed, with the names they have there.
fn pushed(view: &BuildView, state: &BuildState) -> Vec<Pushed> {
    let of = |step: &kiln::view::StepView| match &state.plan().step(step.id).op {
        Op::Push { to, .. } => {
            let digest = step.output.as_ref()?.digest.clone()?;
            Some(Pushed { image: to.to_string(), digest })
        }
        _ => None,
    };
    view.step_views.iter().filter_map(of).collect()
}

fn fact(look: Look, name: &str, value: &str) {
    print::result(format!("{}  {value}", look.paint(Paint::Dim, &format!("{name:<6}"))));
}

/// The images to be told of, each once: those that a recipe gave if all went well, and in any case
/// those that were made of boxes.
fn images<'a>(view: &'a BuildView, state: &BuildState, outcome: &Outcome) -> Vec<&'a Image> {
    let mut all: Vec<&Image> = Vec::new();
    for step in &view.step_views {
        let is_commit = matches!(state.plan().step(step.id).op, Op::Commit { .. });
        let image = step.output.as_ref().and_then(|output| output.image.as_ref());
        let counts = is_commit || *outcome == Outcome::Succeeded;
        if let Some(image) = image.filter(|image| counts && all.iter().all(|i| i.id != image.id)) {
            all.push(image);
        }
    }
    all
}

/// What the build keeps under its own name.
fn artifacts(view: &BuildView) -> Vec<Kept<'_>> {
    let own = format!("{}/", view.summary.build);
    let all = view.step_views.iter().filter_map(|step| step.output.as_ref()?.artifact.as_ref());
    all.filter_map(|artifact| {
        let name = artifact.key.strip_prefix(&own)?;
        Some(Kept { name, bytes: artifact.bytes, digest: &artifact.digest })
    })
    .collect()
}

/// Tells people what was made, and how to get at it.
fn made(images: &[&Image], artifacts: &[Kept<'_>], build: &BuildId) {
    let look = Look::of(&std::io::stdout());
    for image in images {
        fact(look, "image", &image.id);
        fact(look, "size", &text::bytes(image.bytes));
        image.tags.iter().for_each(|tag| fact(look, "tag", &tag.to_string()));
    }
    for kept in artifacts {
        let bytes = text::bytes(kept.bytes);
        fact(look, "kept", &format!("{} ({bytes})", text::plain(kept.name)));
    }
    if let Some(first) = artifacts.first() {
        let take = format!("kiln artifacts {} {}", short(build), text::plain(first.name));
        print::note(format!("help: `{take}` writes it here."));
    }
}

fn people(view: &BuildView, image: Option<&Image>, all: &[Pushed], tally: &Tally) {
    let look = Look::of(&std::io::stdout());
    let fact = |name: &str, value: String| fact(look, name, &value);
    for (i, pushed) in all.iter().enumerate() {
        // One line has no room for both, and many names have one digest.
        fact("pushed", pushed.image.clone());
        if all.get(i + 1).is_none_or(|next| next.digest != pushed.digest) {
            fact("digest", pushed.digest.to_string());
        }
    }
    if let (Some(_), (cached, all @ 1..)) = (image, tally.cached()) {
        fact("cached", format!("{cached} of {all} instructions"));
    }
    let look = Look::of(&std::io::stderr());
    let (word, paint) = match &view.summary.outcome {
        Some(outcome @ Outcome::Succeeded) => (outcome.word(), Paint::Good),
        Some(outcome) => (outcome.word(), Paint::Bad),
        None => ("is not over", Paint::Bad),
    };
    let word = look.paint(paint, &word.replace('_', " "));
    print::note(format!(
        "build {} {word} in {}",
        short(&view.summary.build),
        text::time(took(view))
    ));
}

/// The steps that are to blame.
fn failures<'a>(
    view: &'a BuildView,
    state: &BuildState,
    outcome: &Outcome,
) -> Vec<(&'a str, &'a Failure)> {
    if matches!(outcome, Outcome::Succeeded | Outcome::Cancelled) {
        return Vec::new();
    }
    let to_blame = |s: &&kiln::view::StepView| {
        s.status == StepStatus::Failed && !state.plan().step(s.id).may_fail
    };
    let failed = view.step_views.iter().filter(to_blame);
    failed.filter_map(|s| Some((s.name.as_str(), s.failure.as_ref()?))).collect()
}
