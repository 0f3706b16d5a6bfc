//! Telling all there is to tell of a build: `show`.

use crate::{
    args::{Exit, OneArgs, now},
    backend::Backend,
    builds::status,
    home::short,
    print,
    screen::{Look, Paint},
    text,
};
use kiln::{BuildId, BuildView, Result, StepStatus, view::StepView};
use serde::Serialize;

/// A build as JSON shows it.
#[derive(Serialize)]
struct Shown<'a> {
    status: &'static str,
    #[serde(flatten)]
    view: &'a BuildView,
}

pub(crate) async fn show(from: &Backend, args: OneArgs) -> Result<Exit> {
    let build = from.find_or_latest(args.id.as_deref()).await?.build;
    let view = from.engine().view(&build).await?;
    let idle = from.interrupted().await?;
    if args.json {
        print::json("build", Shown { status: status(&view.summary, &idle), view: &view });
    } else {
        print::result(people(&view, &idle, Look::of(&std::io::stdout())));
    }
    Ok(Exit::Fine)
}

fn people(view: &BuildView, idle: &[BuildId], look: Look) -> String {
    let summary = &view.summary;
    let mut out = Vec::new();
    let mut fact = |name: &str, value: &str| {
        let name = look.paint(Paint::Dim, &format!("{name:<8}"));
        out.push(format!("{name} {}", text::plain(value)));
    };
    fact("build", summary.build.as_str());
    fact("status", status(summary, idle));
    for (key, value) in &summary.labels {
        match key.strip_prefix("kiln.") {
            Some(own) => fact(own, value),
            None => fact("label", &format!("{key}={value}")),
        }
    }
    let at = summary.accepted_at;
    fact("started", &format!("{} ({})", text::moment(at), text::ago(now().since(at))));
    if let Some(end) = summary.finished_at {
        fact("took", &text::time(end.since(at)));
    }
    if view.takeovers > 0 {
        let times = if view.takeovers == 1 { "time" } else { "times" };
        fact("resumed", &format!("{} {times}", view.takeovers));
    }
    if let Some(stop) = &view.stop {
        fact("stopped", &stop.reason);
    }
    for step in &view.step_views {
        out.push(String::new());
        out.extend(of_step(step, look));
    }
    if let Some(failed) = view.step_views.iter().find(|s| s.status == StepStatus::Failed) {
        out.push(String::new());
        out.push(format!("kiln logs {} --step {}", short(&summary.build), failed.name));
    }
    out.join("\n")
}

fn of_step(step: &StepView, look: Look) -> Vec<String> {
    let mark = match step.status {
        StepStatus::Succeeded => look.good(),
        StepStatus::Failed => look.bad(),
        StepStatus::Running => look.paint(Paint::Busy, if look.unicode { "…" } else { ">" }),
        StepStatus::Skipped => look.paint(Paint::Dim, "-"),
        StepStatus::Waiting => " ".into(),
    };
    let took = match (step.started_at, step.ended_at) {
        (Some(a), Some(b)) => text::time(b.since(a)),
        (Some(a), None) => text::time(now().since(a)),
        (None, _) if step.status == StepStatus::Skipped => "skipped".into(),
        _ => "waiting".into(),
    };
    let mut head = format!("{mark} {took:>7}  {}", look.paint(Paint::Bold, &step.name));
    if step.attempts > 1 {
        head.push_str(&format!("  attempt {}", step.attempts));
    }
    let mut out = vec![head];
    let mut fact = |name: &str, value: String| {
        let name = look.paint(Paint::Dim, &format!("{name:<8}"));
        out.push(format!("           {name} {}", text::plain(&value)));
    };
    if let Some(pin) = &step.pin {
        fact("revision", pin.id.clone());
    }
    if let Some(output) = &step.output {
        if let Some(image) = &output.image {
            fact("image", image.id.clone());
            fact("size", text::bytes(image.bytes));
            image.tags.iter().for_each(|tag| fact("tag", tag.to_string()));
        }
        if let Some(digest) = &output.digest {
            fact("digest", digest.to_string());
        }
        if let Some(kept) = &output.artifact {
            let name = kept.key.split_once('/').map_or(kept.key.as_str(), |(_, name)| name);
            fact("kept", format!("{name} ({})", text::bytes(kept.bytes)));
        }
        output.notes.iter().for_each(|(name, value)| fact(name, value.clone()));
    }
    if let Some(failure) = &step.failure {
        fact("error", failure.message.clone());
        if let Some(hint) = &failure.hint {
            fact("help", hint.clone());
        }
    }
    out
}
