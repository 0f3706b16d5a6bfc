//! The messages of a build: one JSON value a line.

use bollard::models::BuildInfo;
use kiln::{Error, ErrorKind, Result};

/// The longest message there may be.
const LINE_BYTES_MAX: usize = 32 << 20;

/// Cuts what arrives into messages.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    /// Takes in a piece and gives out the messages that are whole.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Vec<BuildInfo>> {
        let mut messages = Vec::new();
        for part in piece.split_inclusive(|b| *b == b'\n') {
            self.0.extend_from_slice(part);
            if part.ends_with(b"\n") {
                messages.extend(message(&std::mem::take(&mut self.0))?);
            } else if self.0.len() > LINE_BYTES_MAX {
                return Err(nonsense("a message without an end"));
            }
        }
        Ok(messages)
    }

    /// The last message, if no line end followed it.
    pub(super) fn finish(self) -> Result<Option<BuildInfo>> {
        message(&self.0)
    }
}

fn message(line: &[u8]) -> Result<Option<BuildInfo>> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    let e = match serde_json::from_slice(line) {
        Ok(message) => return Ok(Some(message)),
        Err(e) => e,
    };
    // Engines add kinds of detail that we do not know; the rest of such a message counts.
    let mut value: serde_json::Value =
        serde_json::from_slice(line).map_err(|_| nonsense(&e.to_string()))?;
    value.as_object_mut().map(|o| o.remove("aux"));
    serde_json::from_value(value).map(Some).map_err(|e| nonsense(&e.to_string()))
}

fn nonsense(what: &str) -> Error {
    Error::new(ErrorKind::Unexpected, super::OP, "the Docker engine said what is no message")
        .source(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_whatever_the_pieces() {
        let text =
            "{\"stream\":\"a\"}\r\n\n{\"aux\":{\"new\":[1]},\"stream\":\"b\"}\n{\"stream\":\"c\"}";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let mut seen = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                seen.extend(lines.push(piece).unwrap());
            }
            seen.extend(lines.finish().unwrap());
            let seen: String = seen.into_iter().filter_map(|m| m.stream).collect();
            assert_eq!(seen, "abc", "{size}");
        }
        assert!(Lines::default().push(b"<html>\n").is_err());
    }
}
