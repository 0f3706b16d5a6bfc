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
    /// Instructions of the recipe, where the builder tells of them.
    instructions: usize,
    cached: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<StepError<'a>>,
}

/// Tells how a build ended.
pub(super) async fn tell(
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
    let pushed = pushed(&view, &engine.state(build).await?);
    let image = view.step_views.iter().find_map(|s| s.output.as_ref()?.image.as_ref());
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
                instructions,
                cached,
                errors: failures(&view, outcome)
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
        (_, image) => people(&view, image, &pushed, tally),
    }
    for (step, failure) in failures(&view, outcome) {
        print::step_failure(step, failure);
    }
    if show == Show::Screen && matches!(exit, Exit::Failed | Exit::Errored) {
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

fn people(view: &BuildView, image: Option<&Image>, all: &[Pushed], tally: &Tally) {
    let look = Look::of(&std::io::stdout());
    let fact = |name: &str, value: String| {
        print::result(format!("{}  {value}", look.paint(Paint::Dim, &format!("{name:<6}"))));
    };
    if let Some(image) = image {
        fact("image", image.id.clone());
        fact("size", text::bytes(image.bytes));
        for tag in &image.tags {
            fact("tag", tag.to_string());
        }
    }
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
    outcome: &Outcome,
) -> impl Iterator<Item = (&'a str, &'a Failure)> {
    let any = !matches!(outcome, Outcome::Succeeded | Outcome::Cancelled);
    let failed = view.step_views.iter().filter(move |s| any && s.status == StepStatus::Failed);
    failed.filter_map(|s| Some((s.name.as_str(), s.failure.as_ref()?)))
}
