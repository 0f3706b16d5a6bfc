//! Listing builds: `builds`.

use crate::{
    args::{Exit, ListArgs, StatusKind, now},
    backend::Backend,
    home::short,
    print,
    screen::{Look, Paint},
    text,
};
use kiln::{
    BuildId, Outcome, Phase, Result,
    port::{BuildFilter, BuildSummary, Page, PageToken},
};
use serde::Serialize;

/// A build as JSON lists it.
#[derive(Serialize)]
pub(crate) struct Listed<'a> {
    pub(crate) status: &'static str,
    #[serde(flatten)]
    pub(crate) summary: &'a BuildSummary,
}

pub(crate) async fn builds(from: &Backend, args: ListArgs) -> Result<Exit> {
    let filter = filter(&args);
    let idle = from.interrupted().await?;
    let wanted = |build: &BuildSummary| match args.status {
        Some(StatusKind::Interrupted) => status(build, &idle) == INTERRUPTED,
        Some(StatusKind::Queued | StatusKind::Running | StatusKind::Stopping) => {
            status(build, &idle) != INTERRUPTED
        }
        _ => true,
    };
    let most = if args.all { usize::MAX } else { args.limit };
    let mut all: Vec<BuildSummary> = Vec::new();
    let mut after = None;
    while all.len() < most {
        let page = Page { max: most.min(1000), after };
        let more = from.engine().list(&filter, &page).await?;
        let Some(last) = more.last() else { break };
        after = Some(PageToken::after(last));
        all.extend(more.into_iter().filter(wanted));
    }
    all.truncate(most);
    if args.json {
        for summary in &all {
            print::json("build", Listed { status: status(summary, &idle), summary });
        }
    } else if all.is_empty() {
        let any = args.status.is_some() || !args.labels.is_empty();
        print::note(if any { "no such builds" } else { "no builds yet" });
    } else {
        table(&all, &idle);
    }
    Ok(Exit::Fine)
}

fn filter(args: &ListArgs) -> BuildFilter {
    let outcome = |word: &str| BuildFilter { outcome: Some(word.into()), ..BuildFilter::default() };
    let phase = |phase| BuildFilter { phase: Some(phase), ..BuildFilter::default() };
    let filter = match args.status {
        None | Some(StatusKind::Interrupted) => BuildFilter::default(),
        Some(StatusKind::Queued) => phase(Phase::Queued),
        Some(StatusKind::Running) => phase(Phase::Running),
        Some(StatusKind::Stopping) => phase(Phase::Stopping),
        Some(StatusKind::Succeeded) => outcome("succeeded"),
        Some(StatusKind::Failed) => outcome("failed"),
        Some(StatusKind::Errored) => outcome("errored"),
        Some(StatusKind::TimedOut) => outcome("timed_out"),
        Some(StatusKind::Cancelled) => outcome("cancelled"),
    };
    BuildFilter { labels: args.labels.iter().cloned().collect(), ..filter }
}

fn table(builds: &[BuildSummary], idle: &[BuildId]) {
    let look = Look::of(&std::io::stdout());
    let columns = columns();
    let head =
        format!("{:<12}  {:<11}  {:<8}  {:<7}  {}", "BUILD", "STATUS", "STARTED", "TOOK", "WHAT");
    print::result(look.paint(Paint::Dim, &head));
    for build in builds {
        let label = |name: &str| build.labels.get(name).map(String::as_str).unwrap_or_default();
        let word = status(build, idle);
        let paint = match build.outcome {
            Some(Outcome::Succeeded) => Paint::Good,
            Some(_) => Paint::Bad,
            None => Paint::Busy,
        };
        let end = build.finished_at.unwrap_or_else(now);
        // Nobody knows how long a build ran that was interrupted.
        let took = match word {
            INTERRUPTED => String::new(),
            _ => text::time(end.since(build.accepted_at)),
        };
        let line = format!(
            "{:<12}  {}  {:<8}  {took:<7}  {}  {}",
            short(&build.build),
            look.paint(paint, &format!("{word:<11}")),
            text::ago(now().since(build.accepted_at)),
            text::plain(label("kiln.what")),
            look.paint(Paint::Dim, &text::plain(label("kiln.tags"))),
        );
        print::result(columns.map_or(line.clone(), |c| text::cut(&line, c)).trim_end());
    }
}

/// How wide a table may be; as wide as it gets where it does not go to a terminal.
fn columns() -> Option<usize> {
    console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns))
}

const INTERRUPTED: &str = "interrupted";

/// Where a build stands or how it ended, in a word.
pub(crate) fn status(build: &BuildSummary, idle: &[BuildId]) -> &'static str {
    match (&build.outcome, build.phase) {
        (Some(outcome), _) => outcome.word(),
        (None, _) if idle.contains(&build.build) => INTERRUPTED,
        (None, Phase::Queued) => "queued",
        (None, Phase::Stopping) => "stopping",
        (None, _) => "running",
    }
}
