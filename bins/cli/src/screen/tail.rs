//! The last lines of what a step says.

use kiln::port::Stream;
use std::collections::VecDeque;

/// How many lines are kept, to be shown if the step fails.
const LINES_MAX: usize = 20;
/// How much of a line that does not end is kept.
const LINE_BYTES_MAX: usize = 4096;

/// The last lines of output, as a terminal would show them.
#[derive(Debug, Default)]
pub(super) struct Tail {
    lines: VecDeque<String>,
    begun: [Vec<u8>; 3],
}

impl Tail {
    /// Takes in output; returns the lines that it completes.
    pub(super) fn take(&mut self, stream: Stream, data: &[u8]) -> Vec<String> {
        let mut whole = Vec::new();
        for piece in data.split_inclusive(|c| *c == b'\n') {
            let begun = &mut self.begun[stream as usize];
            begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = shown(begun);
                begun.clear();
                whole.push(line.clone());
                self.push(line);
            } else if begun.len() > LINE_BYTES_MAX {
                let cut = begun.len() - LINE_BYTES_MAX;
                begun.drain(..cut);
            }
        }
        whole
    }

    /// What of it is no whole line yet.
    pub(super) fn begun(&self) -> Vec<String> {
        self.begun.iter().map(|b| shown(b)).filter(|line| !line.is_empty()).collect()
    }

    pub(super) fn push(&mut self, line: String) {
        self.lines.push_back(line);
        if self.lines.len() > LINES_MAX {
            self.lines.pop_front();
        }
    }

    /// The last so many lines, begun ones included.
    pub(super) fn last(&self, most: usize) -> Vec<String> {
        let mut all: Vec<String> = self.lines.iter().cloned().chain(self.begun()).collect();
        all.split_off(all.len().saturating_sub(most))
    }
}

/// A line after everything that wrote over its beginning.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\r', '\n']);
    text.rsplit('\r').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_what_a_terminal_shows() {
        let mut tail = Tail::default();
        assert_eq!(tail.take(Stream::Stdout, b"one\ntw"), ["one"]);
        tail.take(Stream::Stderr, b"10%\r20%");
        tail.take(Stream::Stdout, b"o\r\nthr");
        assert_eq!(tail.last(9), ["one", "two", "thr", "20%"]);
        assert_eq!(tail.last(1), ["20%"]);
        tail.take(Stream::Stdout, &[b'x'; 10_000]);
        assert_eq!(tail.last(2)[0].len(), LINE_BYTES_MAX);
        for i in 0..100 {
            tail.push(i.to_string());
        }
        assert_eq!(tail.lines.len(), LINES_MAX);
    }
}
