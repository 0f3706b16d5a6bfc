//! Tells what a command printed from what our script around it says.
//!
//! The script says two things on standard output: `\x01MARK begin\n` before all output, and
//! `\x01MARK ENDING\n` after it; and on standard error one, `\x01MARK end\n` after all output. The
//! mark is random, so nothing else is taken for it.

use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;

/// The longest text kept of what comes before the beginning.
const BEFORE_MAX: usize = 4096;

/// Reads one stream of the script.
#[derive(Debug)]
pub(super) struct Output {
    mark: Vec<u8>,
    begun: bool,
    held: BytesMut,
    over: bool,
}

/// Files by their numbers, and the last line.
type Tail<'a> = (Vec<(usize, &'a [u8])>, &'a [u8]);

/// How the script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The command ended with this code.
    Code(i64),
    /// There is no such program.
    Missing,
    /// The program cannot be run.
    Denied,
    /// The directory to run it in does not exist.
    NoDirectory,
    /// The command was told to stop.
    Stopped,
    /// Nobody runs the command any more, and it left no code.
    Lost,
    /// The box lacks a tool.
    NoTool(String),
    /// The shell of the session was gone before.
    Over,
    /// The disk of the box has no room for what we keep of a command.
    Full,
}

impl Output {
    /// Standard output.
    pub(super) fn new(mark: &str) -> Self {
        let mark = format!("\u{1}{mark} ").into_bytes();
        Self { mark, begun: false, held: BytesMut::new(), over: false }
    }

    /// Standard error, which has no beginning.
    pub(super) fn errors(mark: &str) -> Self {
        Self { begun: true, ..Self::new(mark) }
    }

    /// Takes in what was printed, and returns what of it is the command's own.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Bytes {
        self.held.extend_from_slice(bytes);
        if !self.begun && !self.begin() {
            return Bytes::new();
        }
        if self.over {
            return Bytes::new();
        }
        let end = match find(&self.held, &self.mark) {
            Some(at) => {
                self.over = true;
                at
            }
            None => self.held.len() - open(&self.held, &self.mark),
        };
        self.held.split_to(end).freeze()
    }

    /// Drops the line with which the script begins, if it is there.
    fn begin(&mut self) -> bool {
        let Some(at) = find(&self.held, &self.mark) else {
            self.held.truncate(BEFORE_MAX);
            return false;
        };
        let Some(line) = self.held[at..].iter().position(|b| *b == b'\n') else { return false };
        self.held = self.held.split_off(at + line + 1);
        self.begun = true;
        true
    }

    /// Whether the end was seen.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// How the script ended, once its last line is whole.
    pub(super) fn ending(&self) -> Option<Ending> {
        let (_, line) = self.tail()?;
        let text = String::from_utf8_lossy(line);
        let mut words = text.split(' ');
        Some(match (words.next(), words.next(), words.next()) {
            (Some("code"), _, Some("missing")) => Ending::Missing,
            (Some("code"), _, Some("denied")) => Ending::Denied,
            (Some("code"), _, Some("cwd")) => Ending::NoDirectory,
            (Some("code"), Some(code), None) => code.parse().map_or(Ending::Lost, Ending::Code),
            (Some("stopped"), ..) => Ending::Stopped,
            (Some("over"), ..) => Ending::Over,
            (Some("full"), ..) => Ending::Full,
            (Some("tool"), Some(tool), _) => Ending::NoTool(tool.to_owned()),
            _ => Ending::Lost,
        })
    }

    /// What comes after all output: files with their numbers, and the last line, once that is whole.
    fn tail(&self) -> Option<Tail<'_>> {
        let (mut files, mut rest) = (Vec::new(), self.over.then_some(&self.held[..])?);
        loop {
            let after = rest.get(self.mark.len()..)?;
            let (line, body) = after.split_at(after.iter().position(|b| *b == b'\n')?);
            let number = line.strip_prefix(b"note ").and_then(|n| std::str::from_utf8(n).ok());
            let Some(number) = number.and_then(|n| n.parse().ok()) else {
                return Some((files, line));
            };
            let body = body.get(1..)?;
            let end = find(body, &self.mark)?;
            files.push((number, &body[..end]));
            rest = &body[end..];
        }
    }

    /// The texts of files that were told of, by their numbers.
    pub(super) fn notes(&self) -> BTreeMap<usize, String> {
        let (files, _) = self.tail().unwrap_or_default();
        files.into_iter().map(|(n, text)| (n, String::from_utf8_lossy(text).into_owned())).collect()
    }

    /// Whether the beginning was seen.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// What the engine said in place of the script, if that never began.
    pub(super) fn complaint(&self) -> Option<String> {
        (!self.begun).then(|| String::from_utf8_lossy(&self.held).trim().to_owned())
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|b| *b == what[0]) {
        if text[from + at..].starts_with(what) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// How many bytes at the end of a text may be the beginning of what is looked for.
fn open(text: &[u8], what: &[u8]) -> usize {
    let longest = what.len().saturating_sub(1).min(text.len());
    (1..=longest).rev().find(|n| text.ends_with(&what[..*n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8], sizes: &[usize]) -> (Vec<u8>, Option<Ending>) {
        let mut output = Output::new("m");
        let (mut printed, mut rest) = (Vec::new(), text);
        for size in sizes.iter().chain([&text.len()]) {
            let (now, later) = rest.split_at((*size).min(rest.len()));
            printed.extend_from_slice(&output.push(now));
            rest = later;
        }
        (printed, output.ending())
    }

    #[test]
    fn endings_are_read() {
        let ending = |text: &str| read(format!("\x01m begin\n\x01m {text}\n").as_bytes(), &[]).1;
        assert_eq!(ending("code 3"), Some(Ending::Code(3)));
        assert_eq!(ending("code 127 missing"), Some(Ending::Missing));
        assert_eq!(ending("code 126 denied"), Some(Ending::Denied));
        assert_eq!(ending("code 126 cwd"), Some(Ending::NoDirectory));
        assert_eq!(ending("tool cat"), Some(Ending::NoTool("cat".into())));
        assert_eq!(ending("stopped"), Some(Ending::Stopped));
        for odd in ["lost", "code x", "code", "", "what"] {
            assert_eq!(ending(odd), Some(Ending::Lost), "{odd}");
        }
    }

    #[test]
    fn files_come_before_the_last_line() {
        let mut output = Output::new("m");
        output.push(b"\x01m begin\nout\x01m note 0\na\nb\x01m note 2\n\x01m no");
        assert_eq!((output.ending(), output.notes()), (None, BTreeMap::new()));
        output.push(b"te 3\nno end\x01m code 4\n");
        assert_eq!(output.ending(), Some(Ending::Code(4)));
        let told = [(0, "a\nb"), (2, ""), (3, "no end")].map(|(n, t)| (n, t.to_owned()));
        assert_eq!(output.notes(), BTreeMap::from(told));
    }

    #[test]
    fn what_comes_before_is_the_engines() {
        let mut output = Output::new("m");
        assert_eq!(output.push(b"no such user\r\n"), Bytes::new());
        assert_eq!(output.complaint().as_deref(), Some("no such user"));
        assert_eq!(output.push(b"\x01m begin\nhi"), Bytes::from_static(b"hi"));
        assert_eq!(output.complaint(), None);
        assert_eq!(output.ending(), None);
    }

    proptest! {
        #[test]
        fn every_byte_comes_through_however_it_is_cut(
            text in proptest::collection::vec(
                prop_oneof![Just(1_u8), Just(b'm'), Just(b' '), Just(b'\n'), any::<u8>()], 0..60),
            sizes in proptest::collection::vec(0_usize..9, 0..20),
        ) {
            prop_assume!(find(&text, b"\x01m ").is_none());
            let mut all = b"\x01m begin\n".to_vec();
            all.extend_from_slice(&text);
            let (printed, ending) = read(&all, &sizes);
            prop_assert!(text.starts_with(&printed) && text.len() - printed.len() < 3);
            prop_assert_eq!(ending, None);
            // The last byte of the text could begin the mark.
            all.extend_from_slice(b"\x01m code 0\n");
            prop_assert_eq!(read(&all, &sizes), (text, Some(Ending::Code(0))));
        }
    }
}
