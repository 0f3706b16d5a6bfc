//! Printing the log of a build: `logs`.

use crate::{
    args::{Exit, LogArgs},
    backend::Backend,
    lines::{self, Lines},
    print,
};
use kiln::{
    BuildView, Error, ErrorKind, Result, StepId,
    port::{LogRecord, Offset},
};
use std::{collections::VecDeque, io, time::Duration};

/// How much is read at once.
const PAGE_BYTES: usize = 1 << 20;
/// How long more is waited for before it is looked whether anybody reads.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn logs(from: &Backend, args: LogArgs) -> Result<Exit> {
    let build = from.find_or_latest(args.id.as_deref()).await?.build;
    let view = from.engine().view(&build).await?;
    let only = args.step.as_deref().map(|name| step(&view, name)).transpose()?;
    let mut names = names_of(&view);
    let mut known = names.len();
    let mut lines =
        Lines::new(names.clone(), print::colours(&io::stdout())).timestamps(args.timestamps);
    let wanted = |record: &LogRecord| {
        only.is_none_or(|only| only == record.step)
            && args.since.is_none_or(|since| record.time >= since)
    };
    let reader = &from.engine().tools().log_reader;
    let mut out = Out { left: args.tail.map(|n| (n, VecDeque::new())) };
    let (mut at, mut patience) = (Offset(0), Duration::ZERO);
    while !print::nobody_reads() {
        let page = reader.read(&build, at, PAGE_BYTES, patience).await?;
        at = page.next;
        // A plan may grow. A record of a step that is in no journal is shown without a name.
        let last = page.records.iter().map(|r| r.step.index() + 1).max();
        if let Some(last) = last.filter(|last| *last > known) {
            names = names_of(&from.engine().view(&build).await?);
            known = names.len().max(last);
            lines.name(names.clone());
        }
        let records = page.records.iter().filter(|record| wanted(record));
        if args.json {
            records.for_each(|record| lines::print_json(record, &names));
        } else {
            out.take(records.flat_map(|record| lines.take(record)));
        }
        if page.records.is_empty() {
            if page.closed || !args.follow {
                break;
            }
            // All that there was has been read; from here on it comes as it is made.
            out.end_tail();
            patience = PATIENCE;
        }
    }
    out.take(lines.rest());
    out.end_tail();
    Ok(Exit::Fine)
}

fn names_of(view: &BuildView) -> Vec<String> {
    view.step_views.iter().map(|s| s.name.clone()).collect()
}

/// Where lines go: to the reader, or, as long as only the last ones are wanted, not yet.
struct Out {
    left: Option<(usize, VecDeque<String>)>,
}

impl Out {
    fn take(&mut self, lines: impl IntoIterator<Item = String>) {
        let Some((most, kept)) = &mut self.left else { return print_lines(lines) };
        for line in lines {
            kept.push_back(line);
            if kept.len() > *most {
                kept.pop_front();
            }
        }
    }

    fn end_tail(&mut self) {
        if let Some((_, kept)) = self.left.take() {
            print_lines(kept);
        }
    }
}

/// Prints many lines at once, since a long log has many.
fn print_lines(lines: impl IntoIterator<Item = String>) {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    if !text.is_empty() {
        print::raw(text.as_bytes());
    }
}

fn step(view: &BuildView, name: &str) -> Result<StepId> {
    view.step(name).map(|s| s.id).ok_or_else(|| {
        let names: Vec<_> = view.step_views.iter().map(|s| s.name.as_str()).collect();
        Error::new(ErrorKind::NotFound, "kiln logs", format!("the build has no step `{name}`"))
            .with("steps", names.join(", "))
    })
}
