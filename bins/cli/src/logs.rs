//! Printing the log of a build: `logs`.

use crate::{
    args::{Exit, LogArgs},
    home::Home,
    lines::{self, Lines},
    print,
};
use kiln::{
    BuildView, Error, ErrorKind, Result, StepId,
    port::{LogRecord, Offset},
};
use std::{io, time::Duration};

/// How much is read at once.
const PAGE_BYTES: usize = 1 << 20;
/// How long more is waited for before it is looked whether anybody reads.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn logs(home: &Home, args: LogArgs) -> Result<Exit> {
    let build = home.find(&args.id).await?.build;
    let view = home.engine.view(&build).await?;
    let only = args.step.as_deref().map(|name| step(&view, name)).transpose()?;
    let names: Vec<_> = view.step_views.iter().map(|s| s.name.clone()).collect();
    let mut lines =
        Lines::new(names.clone(), print::colours(&io::stdout())).timestamps(args.timestamps);
    let wanted = |record: &LogRecord| {
        only.is_none_or(|only| only == record.step)
            && args.since.is_none_or(|since| record.time >= since)
    };
    let reader = &home.engine.tools().log_reader;
    let patience = if args.follow { PATIENCE } else { Duration::ZERO };
    let mut at = Offset(0);
    while !print::nobody_reads() {
        let page = reader.read(&build, at, PAGE_BYTES, patience).await?;
        let over = page.records.is_empty() && (page.closed || !args.follow);
        at = page.next;
        let records = page.records.iter().filter(|record| wanted(record));
        if args.json {
            records.for_each(|record| lines::print_json(record, &names));
        } else {
            print_lines(records.flat_map(|record| lines.take(record)));
        }
        if over {
            break;
        }
    }
    if !args.json {
        print_lines(lines.rest());
    }
    Ok(Exit::Fine)
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
