//! What a screen shows: what is over goes by as lines, what runs is a frame that is drawn again
//! and again. Nothing here knows a terminal or a clock.

use super::{
    bar::Bar,
    look::{Look, Paint},
    tail::Tail,
};
use crate::{
    instructions::{self, Said, Tally},
    text,
};
use kiln::port::{LogBody, LogRecord, StepEnd, Stream};
use std::{collections::BTreeMap, time::Duration};

/// How many bars a step shows at once.
const BARS_MAX: usize = 5;
/// How many steps that wait are named.
const WAITING_MAX: usize = 3;
/// How many lines of output are shown of all that runs.
const TAIL_MAX: usize = 8;
/// What the builder does for itself is only told if it took so long.
const INTERNAL_TIME_MIN: Duration = Duration::from_secs(1);

/// The steps of a build, and what each of them does. Times count from one moment, any moment.
#[derive(Debug)]
pub(crate) struct Board {
    look: Look,
    title: String,
    rows: Vec<Row>,
    tally: Tally,
    stopping: bool,
    /// Whether what steps print stays, and which step printed last.
    logs: Option<Option<usize>>,
}

#[derive(Debug, Default)]
struct Row {
    name: String,
    state: State,
    instructions: BTreeMap<u32, Instruction>,
    bars: BTreeMap<String, Bar>,
    tail: Tail,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Waiting,
    Running {
        since: Duration,
    },
    Over,
}

#[derive(Debug)]
struct Instruction {
    name: String,
    since: Duration,
}

impl Board {
    /// A board of steps by their names, none of which runs yet.
    pub(crate) fn new(look: Look, title: String, names: Vec<String>) -> Self {
        let rows = names.into_iter().map(|name| Row { name, ..Row::default() }).collect();
        Self { look, title, rows, tally: Tally::default(), stopping: false, logs: None }
    }

    /// What steps print stays, each line below the name of its step.
    pub(crate) fn with_logs(mut self) -> Self {
        self.logs = Some(None);
        self
    }

    /// Takes in the names of all steps there are by now; those it has stay as they are.
    pub(crate) fn name(&mut self, all: Vec<String>) {
        let new = all.into_iter().skip(self.rows.len());
        self.rows.extend(new.map(|name| Row { name, ..Row::default() }));
    }

    /// Says that the user asked the build to stop: what ends now did not fail.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
    }

    /// What is known of the instructions of the recipe.
    pub(crate) fn tally(self) -> Tally {
        self.tally
    }

    /// Takes in a record; returns the lines that stay, none longer than so many columns.
    pub(crate) fn take(
        &mut self,
        record: &LogRecord,
        now: Duration,
        columns: usize,
    ) -> Vec<String> {
        let said = self.tally.take(record);
        let look = self.look;
        let Some(row) = self.rows.get_mut(record.step.index()) else { return vec![] };
        let lines = match &record.body {
            LogBody::Started => row.start(look, record.attempt, now),
            LogBody::Bytes { stream: Stream::System, .. } => {
                let mut lines = Vec::new();
                for line in &said {
                    let stays = row.system(look, line, now);
                    match &mut self.logs {
                        Some(last) if stays.is_empty() && instructions::read(line).is_none() => {
                            let at = record.step.index();
                            lines.extend(row.print(look, vec![line.clone()], last, at));
                        }
                        _ => lines.extend(stays),
                    }
                }
                lines
            }
            LogBody::Bytes { stream, data } => {
                let whole = row.tail.take(*stream, data);
                match &mut self.logs {
                    Some(last) => row.print(look, whole, last, record.step.index()),
                    None => vec![],
                }
            }
            LogBody::Progress(progress) => {
                if Bar::is_over(progress) {
                    row.bars.remove(&progress.item);
                } else if let Some(bar) = row.bars.get_mut(&progress.item) {
                    bar.take(progress, now);
                } else {
                    row.bars.insert(progress.item.clone(), Bar::new(progress, now));
                }
                vec![]
            }
            LogBody::Gap { bytes, why } => {
                let text = format!("{bytes} bytes of output are missing here: {why}");
                vec![line(&look.warning(), "", &row.name, &text::plain(&text))]
            }
            LogBody::Ended(end) => {
                let mut lines = Vec::new();
                if let Some(last) = &mut self.logs {
                    lines = row.print(look, row.tail.begun(), last, record.step.index());
                    row.tail = Tail::default();
                    *last = None;
                }
                lines.extend(row.end(look, *end, self.stopping, now));
                lines
            }
            _ => vec![],
        };
        lines.into_iter().map(|l| text::cut(&l, columns)).collect()
    }

    /// The lines that are drawn now: at most so many, and none longer than so many columns.
    pub(crate) fn frame(&self, now: Duration, columns: usize, lines: usize) -> Vec<String> {
        let footer =
            self.look.paint(Paint::Dim, &format!("{:>9}  {}", text::time(now), self.title));
        let running: Vec<&Row> =
            self.rows.iter().filter(|r| matches!(r.state, State::Running { .. })).collect();
        let mut left = lines.saturating_sub(1);
        let mut parts: Vec<[Vec<String>; 3]> = Vec::new();
        for row in &running {
            let mut heads = row.heads(self.look, now);
            heads.truncate(left);
            left -= heads.len();
            parts.push([heads, vec![], vec![]]);
        }
        for (row, part) in running.iter().zip(&mut parts) {
            part[1] = row.bars(now, columns);
            part[1].truncate(left);
            left -= part[1].len();
        }
        let mut waiting = self.waiting();
        waiting.truncate(left);
        left -= waiting.len();
        // What stays need not be shown again.
        let most = if self.logs.is_some() { 0 } else { TAIL_MAX };
        let each = most.min(left) / running.len().max(1);
        for (row, part) in running.iter().zip(&mut parts) {
            let show = |l: String| format!("           {} {}", self.look.gutter(), text::clean(&l));
            part[2] = row.tail.last(each).into_iter().map(show).collect();
        }
        let all = parts.into_iter().flatten().flatten().chain(waiting).chain([footer]);
        all.map(|l| text::cut(&l, columns)).take(lines).collect()
    }

    fn waiting(&self) -> Vec<String> {
        let waiting: Vec<_> = self.rows.iter().filter(|r| r.state == State::Waiting).collect();
        let shown = waiting.iter().take(WAITING_MAX);
        let dim = |text: String| self.look.paint(Paint::Dim, &text);
        let mut out: Vec<_> = shown.map(|r| dim(format!("  waiting  {}", r.name))).collect();
        if waiting.len() > WAITING_MAX {
            out.push(dim(format!("           and {} more", waiting.len() - WAITING_MAX)));
        }
        out
    }
}

/// A line with a mark, a time or a word instead, the step, and what is told of it.
fn line(mark: &str, time: &str, name: &str, text: &str) -> String {
    let gap = if text.is_empty() { "" } else { "  " };
    format!("{mark} {time:>7}  {name}{gap}{text}")
}

impl Row {
    fn start(&mut self, look: Look, attempt: u8, now: Duration) -> Vec<String> {
        let name = std::mem::take(&mut self.name);
        *self = Self { name, state: State::Running { since: now }, ..Self::default() };
        if attempt <= 1 {
            return vec![];
        }
        vec![line(&look.warning(), "", &self.name, &format!("attempt {attempt}"))]
    }

    /// Lines of output that stay, below the name of the step where another one printed last.
    fn print(
        &self,
        look: Look,
        lines: Vec<String>,
        last: &mut Option<usize>,
        at: usize,
    ) -> Vec<String> {
        if lines.is_empty() {
            return lines;
        }
        let mut out = Vec::new();
        if last.replace(at) != Some(at) {
            out.push(line(&look.busy(), "", &look.paint(Paint::Bold, &self.name), ""));
        }
        let shown = |l: String| format!("           {} {}", look.gutter(), text::clean(&l));
        out.extend(lines.into_iter().map(shown));
        out
    }

    /// A line of the builder's own.
    fn system(&mut self, look: Look, said: &str, now: Duration) -> Vec<String> {
        let Some((number, what)) = instructions::read(said) else {
            if said.starts_with("warning: ") {
                return vec![line(&look.warning(), "", &self.name, &text::plain(said))];
            }
            self.tail.push(said.to_owned());
            return vec![];
        };
        if let Said::Began(name) = what {
            let name = text::plain(&name).into_owned();
            if self.instructions.is_empty() {
                // What an earlier one printed is no longer of interest.
                self.tail = Tail::default();
            }
            self.instructions.insert(number, Instruction { name, since: now });
            return vec![];
        }
        let Some(over) = self.instructions.remove(&number) else { return vec![] };
        let prefix = format!("#{number} ");
        self.bars.retain(|item, _| !item.starts_with(&prefix));
        let (mark, time) = match what {
            Said::Cached => (look.good(), "cached".to_owned()),
            Said::Done(time) => {
                let time = time.unwrap_or_else(|| now.saturating_sub(over.since));
                if time < INTERNAL_TIME_MIN && over.name.starts_with("[internal]") {
                    return vec![];
                }
                (look.good(), text::time(time))
            }
            _ => (look.bad(), text::time(now.saturating_sub(over.since))),
        };
        vec![line(&mark, &time, &self.name, &over.name)]
    }

    fn end(&mut self, look: Look, end: StepEnd, stopping: bool, now: Duration) -> Vec<String> {
        let State::Running { since } = self.state else { return vec![] };
        let took = text::time(now.saturating_sub(since));
        self.state = State::Over;
        let name = look.paint(Paint::Bold, &self.name);
        if end == StepEnd::Succeeded {
            return vec![line(&look.good(), &took, &name, "")];
        }
        if stopping {
            return vec![line(&look.bad(), &took, &name, "stopped")];
        }
        let said = self.tail.last(usize::MAX).into_iter();
        let mut out: Vec<_> =
            said.map(|l| format!("           {} {}", look.gutter(), text::clean(&l))).collect();
        out.push(line(&look.bad(), &took, &name, "failed"));
        out
    }

    /// What it does now: its instructions, or only itself.
    fn heads(&self, look: Look, now: Duration) -> Vec<String> {
        let State::Running { since } = self.state else { return vec![] };
        let spinner = look.spinner(now);
        let name = look.paint(Paint::Bold, &self.name);
        let head = |since: Duration, text: &str| {
            line(&spinner, &text::time(now.saturating_sub(since)), &name, text)
        };
        if self.instructions.is_empty() {
            return vec![head(since, "")];
        }
        self.instructions.values().map(|i| head(i.since, &i.name)).collect()
    }

    fn bars(&self, now: Duration, columns: usize) -> Vec<String> {
        let mut out: Vec<_> =
            self.bars.values().take(BARS_MAX).map(|bar| bar.line(now, columns)).collect();
        if self.bars.len() > BARS_MAX {
            out.push(format!("           and {} more", self.bars.len() - BARS_MAX));
        }
        out
    }
}

#[cfg(test)]
mod tests;
