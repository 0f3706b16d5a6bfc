//! Looking back, and stopping what runs: `builds`, `show`, `logs`, `cancel`.

use crate::{
    args::{CancelArgs, Exit, ListArgs, LogArgs, OneArgs},
    home::{Home, short},
    print,
    screen::Lines,
};
use futures::StreamExt;
use kiln::{
    BuildView, Error, ErrorKind, Result, StepStatus, Timestamp,
    port::{BuildFilter, BuildSummary, LogRecord, Offset, Page, PageToken},
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) async fn builds(home: &Home, args: ListArgs) -> Result<Exit> {
    let filter = BuildFilter { outcome: args.status.clone(), ..BuildFilter::default() };
    let most = if args.all { usize::MAX } else { args.number };
    let mut all: Vec<BuildSummary> = Vec::new();
    while all.len() < most {
        let after = all.last().map(PageToken::after);
        let page = Page { max: (most - all.len()).min(1000), after };
        let more = home.engine.list(&filter, &page).await?;
        if more.is_empty() {
            break;
        }
        all.extend(more);
    }
    if args.json {
        print::json(&all);
        return Ok(Exit::Fine);
    }
    if all.is_empty() {
        print::note("no builds yet");
        return Ok(Exit::Fine);
    }
    print::result(format!(
        "{:<12}  {:<10}  {:<9}  {:<8}  {}",
        "BUILD", "STATUS", "STARTED", "TOOK", "WHAT"
    ));
    for build in &all {
        let what = build.labels.get("kiln.what").map(String::as_str).unwrap_or_default();
        let end = build.finished_at.unwrap_or_else(now);
        print::result(format!(
            "{:<12}  {:<10}  {:<9}  {:<8}  {}",
            short(&build.build),
            status(build),
            ago(build.accepted_at),
            print::time(end.since(build.accepted_at)),
            print::clean(what),
        ));
    }
    Ok(Exit::Fine)
}

fn status(build: &BuildSummary) -> &'static str {
    match (&build.outcome, build.phase) {
        (Some(outcome), _) => outcome.word(),
        (None, kiln::Phase::Queued) => "queued",
        (None, kiln::Phase::Stopping) => "stopping",
        (None, _) => "running",
    }
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn ago(at: Timestamp) -> String {
    match now().since(at).as_secs() {
        s @ 0..60 => format!("{s}s ago"),
        s @ 60..3600 => format!("{}m ago", s / 60),
        s @ 3600..86_400 => format!("{}h ago", s / 3600),
        s => format!("{}d ago", s / 86_400),
    }
}

pub(crate) async fn show(home: &Home, args: OneArgs) -> Result<Exit> {
    let build = home.find(&args.id).await?.build;
    let view = home.engine.view(&build).await?;
    if args.json {
        print::json(&view);
    } else {
        print::result(text(&view));
    }
    Ok(Exit::Fine)
}

fn text(view: &BuildView) -> String {
    let summary = &view.summary;
    let mut out = format!("build    {}\nstatus   {}\n", summary.build, status(summary));
    for (key, value) in &summary.labels {
        out.push_str(&format!("{:<8} {}\n", key.trim_start_matches("kiln."), print::clean(value)));
    }
    out.push_str(&format!("started  {}\n", ago(summary.accepted_at)));
    if view.takeovers > 0 {
        out.push_str(&format!("resumed  {} times\n", view.takeovers));
    }
    if let Some(stop) = &view.stop {
        out.push_str(&format!("stopped  {}\n", print::clean(&stop.reason)));
    }
    for step in &view.step_views {
        let mark = match step.status {
            StepStatus::Succeeded => "✓",
            StepStatus::Failed => "✗",
            StepStatus::Running => "…",
            StepStatus::Skipped => "-",
            StepStatus::Waiting => " ",
        };
        let took = match (step.started_at, step.ended_at) {
            (Some(a), Some(b)) => print::time(b.since(a)),
            _ => String::new(),
        };
        out.push_str(&format!("\n{mark} {:<20} {took:>8}", step.name));
        if step.attempts > 1 {
            out.push_str(&format!("  attempt {}", step.attempts));
        }
        if let Some(pin) = &step.pin {
            out.push_str(&format!("\n    revision {}", pin.id));
        }
        if let Some(output) = &step.output {
            if let Some(image) = &output.image {
                out.push_str(&format!(
                    "\n    image    {}  {}",
                    image.id,
                    print::bytes(image.bytes)
                ));
            }
            if let Some(digest) = &output.digest {
                out.push_str(&format!("\n    digest   {digest}"));
            }
        }
        if let Some(failure) = &step.failure {
            out.push_str(&format!("\n    error    {}", print::clean(&failure.message)));
        }
    }
    out
}

pub(crate) async fn logs(home: &Home, args: LogArgs) -> Result<Exit> {
    let build = home.find(&args.id).await?.build;
    let view = home.engine.view(&build).await?;
    let only = match &args.step {
        None => None,
        Some(name) => Some(view.step(name).map(|s| s.id).ok_or_else(|| {
            let names: Vec<_> = view.step_views.iter().map(|s| s.name.as_str()).collect();
            Error::new(ErrorKind::NotFound, "kiln logs", format!("the build has no step `{name}`"))
                .with("steps", names.join(", "))
        })?),
    };
    let names = view.step_views.iter().map(|s| s.name.clone()).collect();
    let mut lines = Lines::new(names);
    let mut show = |record: LogRecord| {
        if only.is_some_and(|o| o != record.step) {
            return;
        }
        if args.json {
            print::json(&crate::screen::as_json(&record));
        } else {
            lines.take(&record).into_iter().for_each(print::result);
        }
    };
    if args.follow {
        let mut log = home.engine.log(&build, Offset(0));
        while let Some(record) = log.next().await {
            show(record?);
        }
    } else {
        let reader = &home.engine.tools().log_reader;
        let mut at = Offset(0);
        loop {
            let page = reader.read(&build, at, 1 << 20, Duration::ZERO).await?;
            if page.records.is_empty() {
                break;
            }
            at = page.next;
            page.records.into_iter().for_each(&mut show);
        }
    }
    if !args.json {
        lines.rest().into_iter().for_each(print::result);
    }
    Ok(Exit::Fine)
}

pub(crate) async fn cancel(home: &Home, args: CancelArgs) -> Result<Exit> {
    let build = home.find(&args.id).await?.build;
    home.engine.cancel(&build, "somebody asked with `kiln cancel`", args.force).await?;
    // If nobody drives it any more, this process does what is left to do.
    if let Ok(_lock) = home.lock(&build) {
        home.engine.drive(&build).await?;
    }
    home.reindex(&build).await?;
    if args.json {
        print::json(&serde_json::json!({ "build": build, "cancelled": true }));
    } else {
        print::note(format!("build {} is asked to stop", short(&build)));
    }
    Ok(Exit::Fine)
}
