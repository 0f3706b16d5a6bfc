//! Showing a log: as plain lines, as JSON, and as a screen that moves.

use crate::print;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kiln::{
    StepId, Timestamp,
    port::{LogBody, LogRecord, Progress, ProgressUnit, StepEnd},
};
use std::{collections::BTreeMap, time::Duration};

/// A record as JSON, for programs.
pub(crate) fn as_json(record: &LogRecord) -> serde_json::Value {
    let mut json = serde_json::json!({
        "type": "log",
        "at": record.at,
        "time": record.time,
        "step": record.step,
        "attempt": record.attempt,
    });
    let body = match &record.body {
        LogBody::Started => serde_json::json!({ "kind": "started" }),
        LogBody::Bytes { stream, data } => serde_json::json!({
            "kind": "output", "stream": stream, "text": String::from_utf8_lossy(data),
        }),
        LogBody::Progress(progress) => {
            serde_json::json!({ "kind": "progress", "progress": progress })
        }
        LogBody::Gap { bytes, why } => {
            serde_json::json!({ "kind": "gap", "bytes": bytes, "why": why })
        }
        LogBody::Ended(end) => serde_json::json!({ "kind": "ended", "end": end }),
        _ => serde_json::json!({ "kind": "other" }),
    };
    if let (Some(json), serde_json::Value::Object(body)) = (json.as_object_mut(), body) {
        json.extend(body);
    }
    json
}

/// Turns records into whole lines, each with the name of its step.
#[derive(Debug)]
pub(crate) struct Lines {
    names: Vec<String>,
    begun: BTreeMap<(StepId, StreamKey), Vec<u8>>,
    started: BTreeMap<StepId, Timestamp>,
}

/// A stream as a key that can be ordered.
type StreamKey = u8;

impl Lines {
    pub(crate) fn new(names: Vec<String>) -> Self {
        Self { names, begun: BTreeMap::new(), started: BTreeMap::new() }
    }

    pub(crate) fn name(&self, step: StepId) -> &str {
        self.names.get(step.index()).map_or("?", String::as_str)
    }

    /// The lines that a record completes.
    pub(crate) fn take(&mut self, record: &LogRecord) -> Vec<String> {
        let name = self.name(record.step).to_owned();
        match &record.body {
            LogBody::Started => {
                self.started.insert(record.step, record.time);
                let again = match record.attempt {
                    1 => String::new(),
                    n => format!(", attempt {n}"),
                };
                vec![format!("[{name}] started{again}")]
            }
            LogBody::Bytes { stream, data } => {
                let part = self.begun.entry((record.step, *stream as u8)).or_default();
                part.extend_from_slice(data);
                let Some(end) = part.iter().rposition(|c| *c == b'\n') else { return vec![] };
                let rest = part.split_off(end + 1);
                let whole = std::mem::replace(part, rest);
                lines(&name, &whole)
            }
            LogBody::Progress(_) => vec![],
            LogBody::Gap { bytes, why } => {
                vec![format!("[{name}] {bytes} bytes of output are missing here: {why}")]
            }
            LogBody::Ended(end) => {
                let mut out = self.rest_of(record.step);
                let took = self.started.get(&record.step).map(|s| record.time.since(*s));
                let word = if *end == StepEnd::Succeeded { "done" } else { "failed" };
                out.push(format!("[{name}] {word} in {}", print::time(took.unwrap_or_default())));
                out
            }
            _ => vec![],
        }
    }

    fn rest_of(&mut self, step: StepId) -> Vec<String> {
        let name = self.name(step).to_owned();
        let mut out = vec![];
        for ((of, _), part) in &mut self.begun {
            if *of == step && !part.is_empty() {
                out.extend(lines(&name, &std::mem::take(part)));
            }
        }
        out
    }

    /// What came without a line break at its end.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let steps: Vec<_> = self.begun.keys().map(|(step, _)| *step).collect();
        steps.into_iter().flat_map(|step| self.rest_of(step)).collect()
    }
}

fn lines(name: &str, bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.lines()
        .map(|line| format!("[{name}] {}", print::clean(line.trim_end_matches('\r'))))
        .collect()
}

/// A screen that moves: finished lines scroll away above, what runs stays below with its time and
/// its bars.
pub(crate) struct Screen {
    all: MultiProgress,
    steps: BTreeMap<StepId, ProgressBar>,
    bars: BTreeMap<(StepId, String), ProgressBar>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { all: MultiProgress::new(), steps: BTreeMap::new(), bars: BTreeMap::new() }
    }

    pub(crate) fn take(&mut self, lines: &mut Lines, record: &LogRecord) {
        let step = record.step;
        match &record.body {
            LogBody::Started => {
                lines.take(record);
                let bar = self.all.add(ProgressBar::new_spinner());
                bar.set_style(style("{spinner} {msg:.bold} {elapsed:.dim}"));
                bar.set_message(lines.name(step).to_owned());
                bar.enable_steady_tick(Duration::from_millis(120));
                self.steps.insert(step, bar);
            }
            LogBody::Progress(progress) => self.progress(step, progress),
            LogBody::Ended(end) => {
                let said = lines.take(record);
                let (last, rest) =
                    said.split_last().map_or((None, &said[..]), |(l, r)| (Some(l), r));
                rest.iter().for_each(|line| self.line(line));
                for (_, bar) in self.bars.extract_if(.., |(of, _), _| *of == step) {
                    bar.finish_and_clear();
                }
                if let Some(bar) = self.steps.remove(&step) {
                    bar.finish_and_clear();
                }
                let mark = if *end == StepEnd::Succeeded { "✓" } else { "✗" };
                if let Some(last) = last {
                    self.line(&format!("{mark} {last}"));
                }
            }
            _ => lines.take(record).iter().for_each(|line| self.line(line)),
        }
    }

    fn line(&self, text: &str) {
        // A terminal that went away is no reason to stop a build.
        let _ = self.all.println(text);
    }

    fn progress(&mut self, step: StepId, progress: &Progress) {
        let key = (step, progress.item.clone());
        if progress.total == Some(progress.done) {
            if let Some(bar) = self.bars.remove(&key) {
                bar.finish_and_clear();
            }
            return;
        }
        let all = &self.all;
        let bar = self.bars.entry(key).or_insert_with(|| all.add(ProgressBar::no_length()));
        let counts = match progress.unit {
            ProgressUnit::Bytes => "{bytes:>10}/{total_bytes:10}",
            ProgressUnit::Objects => "{pos:>10}/{len:10}",
        };
        match progress.total {
            Some(total) => {
                bar.set_length(total);
                bar.set_style(style(&format!("  {{prefix:12!}} [{{bar:24}}] {counts} {{msg}}")));
            }
            None => bar.set_style(style("  {prefix:12!} {bytes:>10} {msg}")),
        }
        bar.set_prefix(print::clean(&progress.item).into_owned());
        bar.set_message(print::clean(&progress.action).into_owned());
        bar.set_position(progress.done);
    }

    pub(crate) fn close(self, lines: &mut Lines) {
        lines.rest().iter().for_each(|line| self.line(line));
        // As above.
        let _ = self.all.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use kiln::port::{Offset, Stream};

    fn record(time: u64, body: LogBody) -> LogRecord {
        LogRecord { at: Offset(0), time: Timestamp(time), step: StepId(0), attempt: 1, body }
    }

    fn bytes(stream: Stream, text: &'static str) -> LogBody {
        LogBody::Bytes { stream, data: Bytes::from_static(text.as_bytes()) }
    }

    #[test]
    fn lines_are_whole_and_named() {
        let mut lines = Lines::new(vec!["build".into()]);
        assert_eq!(lines.take(&record(0, LogBody::Started)), ["[build] started"]);
        assert!(lines.take(&record(1, bytes(Stream::Stdout, "a"))).is_empty());
        assert!(lines.take(&record(1, bytes(Stream::Stderr, "err"))).is_empty());
        assert_eq!(
            lines.take(&record(2, bytes(Stream::Stdout, "b\r\nc\u{1b}[2J\nd"))),
            ["[build] ab", "[build] c"]
        );
        assert_eq!(
            lines.take(&record(1500, LogBody::Ended(StepEnd::Failed))),
            ["[build] d", "[build] err", "[build] failed in 1.5s"]
        );
        assert!(lines.rest().is_empty());
    }

    #[test]
    fn a_gap_is_told() {
        let mut lines = Lines::new(vec!["x".into()]);
        let gap = LogBody::Gap { bytes: 7, why: "the disk is full".into() };
        assert_eq!(
            lines.take(&record(0, gap)),
            ["[x] 7 bytes of output are missing here: the disk is full"]
        );
    }
}
