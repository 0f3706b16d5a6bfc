//! The instructions of a Dockerfile, as the lines of the builder tell of them: `#4 [2/3] RUN make`,
//! then `#4 CACHED`, `#4 DONE 1.2s` or `#4 ERROR: …`, as Docker's own plain progress has it.

use kiln::{
    StepId,
    port::{LogBody, LogRecord, Stream},
};
use std::{collections::BTreeMap, time::Duration};

/// What a line says of an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Began(String),
    Cached,
    Done(Option<Duration>),
    Failed,
}

/// Reads one line of the builder; `None` if it is about something else.
pub(crate) fn read(line: &str) -> Option<(u32, Said)> {
    let (number, said) = line.strip_prefix('#')?.split_once(' ')?;
    let number = number.parse().ok()?;
    let said = said.trim_end();
    Some((
        number,
        match said.split_once(' ').unwrap_or((said, "")) {
            ("CACHED", "") => Said::Cached,
            ("DONE", time) => {
                let seconds = time.strip_suffix('s').and_then(|t| t.parse::<f64>().ok());
                Said::Done(seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()))
            }
            ("ERROR:" | "ERROR" | "CANCELED", _) => Said::Failed,
            _ => Said::Began(said.to_owned()),
        },
    ))
}

/// Counts instructions while a log goes by.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    seen: BTreeMap<(StepId, u32), bool>,
    begun: BTreeMap<StepId, Vec<u8>>,
}

impl Tally {
    /// What the builder says in a record, line by line. Only its own stream counts: the user's
    /// code could print the same.
    pub(crate) fn take(&mut self, record: &LogRecord) -> Vec<String> {
        if record.body == LogBody::Started {
            // A new attempt counts from the beginning.
            self.seen.retain(|(step, _), _| *step != record.step);
        }
        let LogBody::Bytes { stream: Stream::System, data } = &record.body else { return vec![] };
        let begun = self.begun.entry(record.step).or_default();
        begun.extend_from_slice(data);
        let Some(end) = begun.iter().rposition(|c| *c == b'\n') else { return vec![] };
        let rest = begun.split_off(end + 1);
        let whole = std::mem::replace(begun, rest);
        let lines: Vec<_> = String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect();
        for line in &lines {
            match read(line) {
                Some((n, Said::Began(name))) if is_instruction(&name) => {
                    self.seen.entry((record.step, n)).or_insert(false);
                }
                Some((n, Said::Cached)) => {
                    if let Some(cached) = self.seen.get_mut(&(record.step, n)) {
                        *cached = true;
                    }
                }
                _ => {}
            }
        }
        lines
    }

    /// How many instructions were taken from the cache, and how many there were.
    pub(crate) fn cached(&self) -> (usize, usize) {
        (self.seen.values().filter(|cached| **cached).count(), self.seen.len())
    }
}

/// Whether it is one of the recipe's own, and not just the name of a base image.
fn is_instruction(name: &str) -> bool {
    let Some((place, instruction)) = name.strip_prefix('[').and_then(|n| n.split_once("] ")) else {
        return false;
    };
    place != "internal" && !instruction.starts_with("FROM ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use kiln::{Timestamp, port::Offset};

    #[test]
    fn lines_of_the_builder_are_read() {
        let began = |n, text: &str| Some((n, Said::Began(text.into())));
        for (line, said) in [
            ("#4 [2/3] RUN make", began(4, "[2/3] RUN make")),
            ("#4 CACHED", Some((4, Said::Cached))),
            ("#12 DONE 1.5s", Some((12, Said::Done(Some(Duration::from_millis(1500)))))),
            ("#12 DONE", Some((12, Said::Done(None)))),
            ("#12 DONE -1s", Some((12, Said::Done(None)))),
            ("#5 ERROR: no", Some((5, Said::Failed))),
            ("# comment", None),
            ("warning: x", None),
        ] {
            assert_eq!(read(line), said, "{line}");
        }
    }

    #[test]
    fn only_instructions_of_the_recipe_count() {
        let mut tally = Tally::default();
        let said = "#1 [internal] load\n#1 CACHED\n#2 [1/3] FROM x\n#2 CACHED\n#3 [2/3] RUN a\n\
                    #3 CACHED\n#4 [3/3] RUN b\n#4 DONE 0.1s\n#5 exporting\n#5 CACHED\n";
        for piece in said.as_bytes().chunks(7) {
            let data = Bytes::copy_from_slice(piece);
            for stream in [Stream::Stdout, Stream::System] {
                tally.take(&LogRecord {
                    at: Offset(0),
                    time: Timestamp(0),
                    step: StepId(0),
                    attempt: 1,
                    body: LogBody::Bytes { stream, data: data.clone() },
                });
            }
        }
        assert_eq!(tally.cached(), (1, 2));
    }
}
