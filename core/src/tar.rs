//! Tar archives on their way: moved below a directory, in flat memory and without unpacking them.

mod header;

use crate::{Error, ErrorKind, Result, port::ByteStream};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use header::{BLOCK, Header};

/// How many bytes the words about one entry may have.
const WORDS_MAX: u64 = 1 << 20;

/// The same archive with every name below a directory, as if it had been made one level up.
///
/// An engine that unpacks an archive refuses links that lead out of where it unpacks, though what
/// they lead to may well be there: so it is asked to unpack at the root. Symbolic links stay as
/// they are, hard links move along, and an entry for the directory itself is left out.
///
/// The stream ends with `Invalid` at what is no archive, at one that is cut short, and at a name
/// that is absolute or leads up.
pub fn below(archive: ByteStream, directory: &str) -> ByteStream {
    let directory = directory.trim_matches('/').as_bytes().to_vec();
    let buffer = BytesMut::new();
    let mover = Mover { archive, buffer, directory, left: 0, drop: false, words: Words::default() };
    let pieces = stream::try_unfold(Some(mover), |mover| async move {
        let Some(mut mover) = mover else { return Ok(None) };
        Ok(match mover.next().await? {
            Some(piece) => Some((piece, Some(mover))),
            None => Some((Bytes::from_static(&[0; 2 * BLOCK]), None)),
        })
    });
    pieces.boxed()
}

/// Whether the beginning of an archive shows more than one directory; none if it is too short to
/// tell.
pub(crate) fn holds_anything(head: &[u8]) -> Option<bool> {
    let (mut at, mut entries) = (0_usize, 0);
    loop {
        let block = head.get(at..at.checked_add(BLOCK)?)?;
        let Ok(header) = Header::read(block) else { return Some(true) };
        let Some(header) = header else { return Some(false) };
        match header.flag() {
            // Words about the next entry.
            b'x' | b'g' | b'L' | b'K' => {}
            b'5' if entries == 0 => entries = 1,
            _ => return Some(true),
        }
        // What is longer than that holds something.
        let Some(size) = header.size().filter(|size| *size <= WORDS_MAX) else { return Some(true) };
        at += BLOCK + size.next_multiple_of(BLOCK as u64) as usize;
    }
}

pub(crate) fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Invalid, "tar", what)
}

/// What is said about an entry before it comes.
#[derive(Default)]
struct Words {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    /// Records that are passed on as they are.
    rest: Vec<u8>,
}

struct Mover {
    archive: ByteStream,
    buffer: BytesMut,
    directory: Vec<u8>,
    /// How many bytes of the present entry are still to come, and whether nobody wants them.
    left: u64,
    drop: bool,
    words: Words,
}

impl Mover {
    /// The next piece of the moved archive; none at its end.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.left > 0 {
                self.fill(1).await?;
                let n = self.left.min(self.buffer.len() as u64);
                let piece = self.buffer.split_to(n as usize).freeze();
                self.left -= n;
                if !self.drop {
                    return Ok(Some(piece));
                }
                continue;
            }
            self.fill(BLOCK).await?;
            let block = self.buffer.split_to(BLOCK);
            let Some(header) = Header::read(&block)? else {
                // Some engines break off what nobody reads to its end.
                while self.archive.try_next().await?.is_some() {}
                return Ok(None);
            };
            if let Some(moved) = self.entry(header).await? {
                return Ok(Some(moved));
            }
        }
    }

    /// Has at least so many bytes at hand.
    async fn fill(&mut self, bytes: usize) -> Result<()> {
        while self.buffer.len() < bytes {
            match self.archive.try_next().await? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None => return Err(broken("the archive ends in the middle")),
            }
        }
        Ok(())
    }

    /// Takes in a header; returns what it becomes, unless it is only words about the next one.
    async fn entry(&mut self, mut header: Header) -> Result<Option<Bytes>> {
        let size = self.words.size.take().or_else(|| header.size());
        let size = size.ok_or_else(|| broken("an entry of the archive has no size"))?;
        let padded = size.checked_next_multiple_of(BLOCK as u64);
        let padded = padded.ok_or_else(|| broken("an entry of the archive has no size"))?;
        match header.flag() {
            b'x' | b'L' | b'K' => {
                let text = self.text(size, padded).await?;
                match header.flag() {
                    b'x' => self.words.read(&text)?,
                    b'L' => self.words.path = Some(text),
                    _ => self.words.link = Some(text),
                }
                Ok(None)
            }
            // Words about all entries say nothing that a place in a container needs.
            b'g' => {
                (self.left, self.drop) = (padded, true);
                Ok(None)
            }
            b'S' => Err(broken("the archive holds a file with gaps in an old form")),
            flag => {
                let only = matches!(flag, b'1'..=b'6');
                self.left = if only { 0 } else { padded };
                let words = std::mem::take(&mut self.words);
                let name = inside(words.path.as_deref().unwrap_or(&header.name()))?;
                self.drop = name.is_empty();
                if name.is_empty() {
                    return Ok(None);
                }
                let link = match flag {
                    b'1' => {
                        let link = inside(words.link.as_deref().unwrap_or(&header.link()))?;
                        Some(self.moved(&link))
                    }
                    _ => words.link,
                };
                let mut name = self.moved(&name);
                if flag == b'5' {
                    name.push(b'/');
                }
                let size = (header.size() != Some(size)).then_some(size);
                Ok(Some(header.rename(&name, link.as_deref(), size, &words.rest)))
            }
        }
    }

    /// The words that follow a header.
    async fn text(&mut self, size: u64, padded: u64) -> Result<Vec<u8>> {
        if size > WORDS_MAX {
            return Err(broken("the archive says too much about one entry"));
        }
        self.fill(padded as usize).await?;
        let mut text = self.buffer.split_to(padded as usize);
        text.truncate(size as usize);
        while text.last() == Some(&0) {
            text.truncate(text.len() - 1);
        }
        Ok(text.to_vec())
    }

    fn moved(&self, name: &[u8]) -> Vec<u8> {
        match self.directory.is_empty() {
            true => name.to_vec(),
            false => [&self.directory[..], b"/", name].concat(),
        }
    }
}

impl Words {
    /// Reads records of the form `LENGTH KEY=VALUE`, each with a line end.
    fn read(&mut self, mut text: &[u8]) -> Result<()> {
        let wrong = || broken("the words about an entry of the archive cannot be read");
        while !text.is_empty() {
            let blank = text.iter().position(|b| *b == b' ').ok_or_else(wrong)?;
            let length = std::str::from_utf8(&text[..blank]).ok().and_then(|n| n.parse().ok());
            let length: usize = length.filter(|n| *n > blank + 1).ok_or_else(wrong)?;
            let record = text.get(..length).ok_or_else(wrong)?;
            let said = record[blank + 1..].strip_suffix(b"\n").ok_or_else(wrong)?;
            let equals = said.iter().position(|b| *b == b'=').ok_or_else(wrong)?;
            let (key, value) = (&said[..equals], &said[equals + 1..]);
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|n| n.parse().ok());
                    self.size = Some(size.ok_or_else(wrong)?);
                }
                _ => self.rest.extend_from_slice(record),
            }
            text = &text[length..];
        }
        Ok(())
    }
}

/// A name without what means nothing.
fn inside(name: &[u8]) -> Result<Vec<u8>> {
    let parts = name.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let parts: Vec<_> = parts.collect();
    if name.starts_with(b"/") || parts.contains(&&b".."[..]) || name.contains(&0) {
        return Err(broken("an entry of the archive leads out of where it is unpacked")
            .with("name", String::from_utf8_lossy(name)));
    }
    Ok(parts.join(&b'/'))
}

#[cfg(test)]
mod tests;
