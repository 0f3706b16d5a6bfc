//! The lines of a file, for those who look for what was meant.

use super::{Place, Source, diagnostic::printable};

/// A line of a file, and where it begins.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) start: usize,
    pub(crate) number: u32,
    pub(crate) text: &'a str,
}

impl<'a> Line<'a> {
    /// Its white space before everything else.
    pub(crate) fn before(self) -> &'a str {
        &self.text[..self.text.len() - self.text.trim_start().len()]
    }

    /// Its indentation in characters.
    pub(crate) fn indent(self) -> usize {
        self.before().chars().count()
    }

    /// Its white space, its dashes, and the rest.
    pub(crate) fn split(self) -> (&'a str, &'a str) {
        let mut rest = self.text.trim_start();
        while let Some(after) = rest.strip_prefix("- ") {
            rest = after.trim_start();
        }
        self.text.split_at(self.text.len() - rest.len())
    }

    /// The place of a part of it, which must be a slice of its text.
    pub(crate) fn place(self, from: usize, to: usize) -> Place {
        let column = self.text.get(..from).map_or(0, |t| t.chars().count()) + 1;
        Place {
            start: self.start + from,
            end: self.start + to,
            line: self.number,
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }

    /// Everything in it but the white space around.
    pub(crate) fn whole(self) -> Place {
        self.place(self.before().len(), self.text.trim_end().len())
    }
}

/// The line on which a place begins.
pub(crate) fn line_at(source: &Source, place: Place) -> Line<'_> {
    let text = source.line_at(place.start);
    Line { start: begin(source, text, place.start), number: place.line, text }
}

/// The next line that is not empty and no comment.
pub(crate) fn next_line<'a>(source: &'a Source, line: Line<'_>) -> Option<Line<'a>> {
    let (mut at, mut number) = (line.start + line.text.len(), line.number);
    loop {
        at += source.text().get(at..)?.find('\n')? + 1;
        number += 1;
        let place = Place { start: at, end: at, line: number, column: 1 };
        let next = line_at(source, place);
        let text = next.text.trim();
        if !text.is_empty() && !text.starts_with('#') {
            return Some(next);
        }
        if at >= source.text().len() || number > line.number.saturating_add(100) {
            return None;
        }
    }
}

/// Where a line begins. It is a slice of the text, so that is the difference of their addresses.
fn begin(source: &Source, line: &str, byte: usize) -> usize {
    let start = line.as_ptr().addr().wrapping_sub(source.text().as_ptr().addr());
    if line.is_empty() { byte.min(source.text().len()) } else { start }
}

pub(crate) fn line_of(source: &Source, byte: usize) -> Line<'_> {
    let text = source.line_at(byte);
    let start = begin(source, text, byte);
    let before = &source.text()[..start];
    let number = 1 + before.bytes().filter(|&b| b == b'\n').count();
    Line { start, number: u32::try_from(number).unwrap_or(u32::MAX), text }
}

/// `key: ` and its value, without white space and comment behind it.
pub(crate) fn value_of(rest: &str) -> Option<(&str, &str)> {
    let colon = rest.find(": ")?;
    let value = rest[colon + 2..].trim();
    let from = rest.len() - rest[colon + 2..].trim_start().len();
    (!value.is_empty()).then(|| (&rest[..from], value))
}

/// A value in single quotes.
pub(crate) fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// A part of a line that is proposed: shortened, and safe for a terminal.
pub(crate) fn shown(text: &str) -> String {
    text.split('\n').map(|line| printable(line, 200)).collect::<Vec<_>>().join("\n")
}
