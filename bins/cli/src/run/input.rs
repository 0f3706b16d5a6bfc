//! What a deploy works on: the output of an earlier run.

use super::{
    settings::{LABEL_APP, app},
    source,
    target::Target,
    wrong,
};
use crate::{args::RunArgs, backend::find, home::Home, print, remote::Server, text};
use kiln::{
    BuildId, BuildView, Engine, Op, Outcome, RelPath, Result,
    port::{BuildFilter, Page},
};
use kiln_wercker::plan::{Kind, OUTPUT, Settings};
use reqwest::Method;

/// How many earlier runs are looked at for one that kept its output.
const RUNS_MAX: usize = 50;

/// A run that kept its output.
struct Found {
    build: BuildId,
    /// The image of its box, if one was made.
    image: Option<String>,
}

/// Gives a deploy of this machine the output of an earlier run.
pub(super) async fn here(
    home: &Home,
    args: &RunArgs,
    target: &Target,
    id: &BuildId,
    settings: &mut Settings,
) -> Result<()> {
    let Some(found) = choose(&home.engine, args, target, settings).await? else { return Ok(()) };
    let output = RelPath::new(OUTPUT).map_err(|e| wrong(e.to_string()))?;
    settings.input = Some(source::keep_input(home, id, &found.build, &output).await?);
    settings.last_build_box = found.image;
    Ok(())
}

/// Gives a deploy of a server the output of an earlier run there.
pub(super) async fn there(
    server: &Server,
    args: &RunArgs,
    target: &Target,
    settings: &mut Settings,
) -> Result<()> {
    let chosen = choose(&server.engine, args, target, settings).await?;
    let Some(found) = chosen else { return Ok(()) };
    let path = ["builds", found.build.as_str(), "artifacts", OUTPUT];
    let request = server.client.request(Method::GET, &path);
    let answer = server.client.send("kiln run", request).await?;
    settings.input = Some(source::send_on(server, answer.bytes_stream()).await?);
    settings.last_build_box = found.image;
    Ok(())
}

/// The run whose output is deployed: the one that was named, or the last one of the same
/// application. None if this is no deploy, or if there is none.
async fn choose(
    engine: &Engine,
    args: &RunArgs,
    target: &Target,
    settings: &Settings,
) -> Result<Option<Found>> {
    if let Some(prefix) = &args.input {
        let build = find(engine, prefix).await?.build;
        let view = engine.view(&build).await?;
        return match keeps_output(&view) {
            true => Ok(Some(Found { image: image(engine, &view).await?, build })),
            false => Err(wrong("the build kept no output")
                .with("build", &build)
                .hint("Run it with --artifacts.")),
        };
    }
    if settings.kind() != Kind::Deploy {
        return Ok(None);
    }
    let labels = [(LABEL_APP.to_owned(), app(target, &settings.git))].into();
    let filter = BuildFilter { labels, ..BuildFilter::default() };
    for summary in engine.list(&filter, &Page { max: RUNS_MAX, after: None }).await? {
        if summary.outcome != Some(Outcome::Succeeded) {
            continue;
        }
        let view = engine.view(&summary.build).await?;
        if keeps_output(&view) {
            if !args.shown.json && !args.shown.quiet {
                let ago = text::ago(crate::args::now().since(summary.accepted_at));
                let id = crate::home::short(&summary.build);
                print::note(format!("deploying the output of build {id} ({ago})"));
            }
            let image = image(engine, &view).await?;
            return Ok(Some(Found { build: summary.build, image }));
        }
    }
    if !args.shown.json && !args.shown.quiet {
        print::note("note: no earlier run kept its output (--artifacts); this one gets the source");
    }
    Ok(None)
}

fn keeps_output(view: &BuildView) -> bool {
    let output = format!("{}/{OUTPUT}", view.summary.build);
    let artifacts =
        view.step_views.iter().filter_map(|step| step.output.as_ref()?.artifact.as_ref());
    artifacts.into_iter().any(|artifact| artifact.key == output)
}

/// The image that was made of the box at the end, by its name, or else by its id.
async fn image(engine: &Engine, view: &BuildView) -> Result<Option<String>> {
    let state = engine.state(&view.summary.build).await?;
    let committed = view.step_views.iter().rev().find_map(|step| {
        let is_commit = matches!(state.plan().step(step.id).op, Op::Commit { .. });
        step.output.as_ref().filter(|_| is_commit)?.image.as_ref()
    });
    Ok(committed
        .map(|image| image.tags.first().map_or_else(|| image.id.clone(), ToString::to_string)))
}
