//! A log as plain lines, and as JSON.

use crate::{print, text};
use base64::{Engine, engine::general_purpose::STANDARD};
use kiln::{
    StepId, Timestamp,
    port::{LogBody, LogRecord, StepEnd, Stream},
};
use serde_json::json;
use std::collections::BTreeMap;

/// Prints a record as JSON, for programs.
pub(crate) fn print_json(record: &LogRecord, names: &[String]) {
    let mut line = json!({
        "at": record.at,
        "time": record.time,
        "step": record.step,
        "name": names.get(record.step.index()),
        "attempt": record.attempt,
    });
    let body = match &record.body {
        LogBody::Started => json!({ "kind": "started" }),
        LogBody::Bytes { stream, data } => match std::str::from_utf8(data) {
            Ok(text) => json!({ "kind": "output", "stream": stream, "text": text }),
            // A record may end inside of a character, and output need not be text.
            Err(_) => {
                json!({ "kind": "output", "stream": stream, "base64": STANDARD.encode(data) })
            }
        },
        LogBody::Progress(progress) => json!({ "kind": "progress", "progress": progress }),
        LogBody::Gap { bytes, why } => json!({ "kind": "gap", "bytes": bytes, "why": why }),
        LogBody::Ended(end) => json!({ "kind": "ended", "end": end }),
        _ => json!({ "kind": "other" }),
    };
    if let (Some(line), serde_json::Value::Object(body)) = (line.as_object_mut(), body) {
        line.extend(body);
    }
    print::json("log", line);
}

/// How long a line may become before it is shown in pieces.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Turns records into whole lines, each with the name of its step.
#[derive(Debug)]
pub(crate) struct Lines {
    names: Vec<String>,
    begun: BTreeMap<(StepId, u8), Begun>,
    started: BTreeMap<StepId, Timestamp>,
    colours: bool,
    timestamps: bool,
}

/// A line whose end has not come yet.
#[derive(Debug)]
struct Begun {
    bytes: Vec<u8>,
    since: Timestamp,
}

impl Lines {
    pub(crate) fn new(names: Vec<String>, colours: bool) -> Self {
        let (begun, started) = (BTreeMap::new(), BTreeMap::new());
        Self { names, begun, started, colours, timestamps: false }
    }

    /// Takes in the names of all steps there are by now.
    pub(crate) fn name(&mut self, all: Vec<String>) {
        self.names = all;
    }

    /// Puts the moment of its record before each line.
    pub(crate) fn timestamps(mut self, on: bool) -> Self {
        self.timestamps = on;
        self
    }

    fn line(&self, step: StepId, at: Timestamp, text: &str) -> String {
        let name = self.names.get(step.index()).map_or("?", String::as_str);
        let text = if self.colours { text::clean(text) } else { text::plain(text) };
        if self.timestamps {
            format!("{} [{name}] {text}", text::moment(at))
        } else {
            format!("[{name}] {text}")
        }
    }

    /// The lines that a record completes.
    pub(crate) fn take(&mut self, record: &LogRecord) -> Vec<String> {
        let (step, at) = (record.step, record.time);
        match &record.body {
            LogBody::Started => {
                self.started.insert(step, at);
                let text = match record.attempt {
                    1 => "started".into(),
                    n => format!("started, attempt {n}"),
                };
                vec![self.line(step, at, &text)]
            }
            LogBody::Bytes { stream, data } => self.output(step, at, *stream, data),
            LogBody::Gap { bytes, why } => {
                let text = format!("{bytes} bytes of output are missing here: {why}");
                vec![self.line(step, at, &text)]
            }
            LogBody::Ended(end) => {
                let mut out = self.rest_of(step);
                let took = self.started.get(&step).map(|s| at.since(*s)).unwrap_or_default();
                let word = if *end == StepEnd::Succeeded { "done" } else { "failed" };
                out.push(self.line(step, at, &format!("{word} in {}", text::time(took))));
                out
            }
            _ => vec![],
        }
    }

    fn output(&mut self, step: StepId, at: Timestamp, stream: Stream, data: &[u8]) -> Vec<String> {
        let key = (step, stream as u8);
        let part = self.begun.entry(key).or_insert(Begun { bytes: Vec::new(), since: at });
        if part.bytes.is_empty() {
            part.since = at;
        }
        part.bytes.extend_from_slice(data);
        let end = match part.bytes.iter().rposition(|c| *c == b'\n') {
            Some(end) => end + 1,
            None if part.bytes.len() > LINE_BYTES_MAX => part.bytes.len(),
            None => return vec![],
        };
        let rest = part.bytes.split_off(end);
        let whole = std::mem::replace(&mut part.bytes, rest);
        let since = std::mem::replace(&mut part.since, at);
        self.split(step, since, &whole)
    }

    /// Whole lines. What a program wrote over, as progress bars are, is a line each: a log hides
    /// nothing.
    fn split(&self, step: StepId, at: Timestamp, bytes: &[u8]) -> Vec<String> {
        let text = String::from_utf8_lossy(bytes);
        let parts = text.lines().flat_map(|line| line.trim_end_matches('\r').split('\r'));
        parts.map(|line| self.line(step, at, line)).collect()
    }

    fn rest_of(&mut self, step: StepId) -> Vec<String> {
        let keys: Vec<_> = self.begun.keys().filter(|(of, _)| *of == step).copied().collect();
        let rest = keys.into_iter().filter_map(|key| self.begun.remove(&key));
        let rest: Vec<_> = rest.filter(|part| !part.bytes.is_empty()).collect();
        rest.iter().flat_map(|part| self.split(step, part.since, &part.bytes)).collect()
    }

    /// What came without a line break at its end.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let steps: std::collections::BTreeSet<_> =
            self.begun.keys().map(|(step, _)| *step).collect();
        steps.into_iter().flat_map(|step| self.rest_of(step)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use kiln::port::Offset;

    fn record(time: u64, body: LogBody) -> LogRecord {
        LogRecord { at: Offset(0), time: Timestamp(time), step: StepId(0), attempt: 1, body }
    }

    fn bytes(stream: Stream, text: &'static str) -> LogBody {
        LogBody::Bytes { stream, data: Bytes::from_static(text.as_bytes()) }
    }

    fn lines() -> Lines {
        Lines::new(vec!["build".into()], true)
    }

    #[test]
    fn lines_are_whole_and_named() {
        let mut lines = lines();
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
    fn what_was_written_over_is_shown_too() {
        let said = lines().take(&record(1, bytes(Stream::Stdout, "10%\r20%\r\n")));
        assert_eq!(said, ["[build] 10%", "[build] 20%"]);
    }

    #[test]
    fn a_line_has_the_moment_at_which_it_began_and_no_colours_if_unwanted() {
        let mut lines = Lines::new(vec!["x".into()], false).timestamps(true);
        assert!(lines.take(&record(1000, bytes(Stream::Stdout, "\u{1b}[31ma"))).is_empty());
        assert_eq!(
            lines.take(&record(2000, bytes(Stream::Stdout, "b\n"))),
            ["1970-01-01T00:00:01.000Z [x] ab"]
        );
    }

    #[test]
    fn a_line_without_an_end_is_shown_in_pieces() {
        let mut lines = lines();
        let data = Bytes::from(vec![b'x'; LINE_BYTES_MAX + 1]);
        let body = LogBody::Bytes { stream: Stream::Stdout, data };
        assert_eq!(lines.take(&record(0, body)).len(), 1);
        assert!(lines.rest().is_empty());
    }

    #[test]
    fn a_gap_is_told() {
        let gap = LogBody::Gap { bytes: 7, why: "the disk is full".into() };
        assert_eq!(
            lines().take(&record(0, gap)),
            ["[build] 7 bytes of output are missing here: the disk is full"]
        );
    }
}
