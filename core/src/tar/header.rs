//! One header of a tar archive: the block before each entry.

use super::broken;
use crate::Result;
use bytes::Bytes;

/// What an archive is made of.
pub(super) const BLOCK: usize = 512;

const NAME: std::ops::Range<usize> = 0..100;
const SIZE: std::ops::Range<usize> = 124..136;
const SUM: std::ops::Range<usize> = 148..156;
const FLAG: usize = 156;
const LINK: std::ops::Range<usize> = 157..257;
const MAGIC: std::ops::Range<usize> = 257..265;
const PREFIX: std::ops::Range<usize> = 345..500;
/// What the headers of POSIX say that they are; those of GNU use the prefix for something else.
const POSIX: &[u8] = b"ustar\x0000";

/// A header whose sum is right.
pub(super) struct Header([u8; BLOCK]);

impl Header {
    /// Reads a block; none for the one that ends an archive.
    pub(super) fn read(block: &[u8]) -> Result<Option<Self>> {
        let wrong = || broken("that is no tar archive");
        let header: [u8; BLOCK] = block.try_into().map_err(|_| wrong())?;
        if header.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let header = Self(header);
        match octal(&header.0[SUM]) == Some(header.sum()) {
            true => Ok(Some(header)),
            false => Err(wrong()),
        }
    }

    fn sum(&self) -> u64 {
        let byte = |(i, b): (usize, &u8)| u64::from(if SUM.contains(&i) { b' ' } else { *b });
        self.0.iter().enumerate().map(byte).sum()
    }

    /// What kind of entry follows.
    pub(super) fn flag(&self) -> u8 {
        self.0[FLAG]
    }

    /// How many bytes follow.
    pub(super) fn size(&self) -> Option<u64> {
        let field = &self.0[SIZE];
        if field[0] != 0x80 {
            return octal(field);
        }
        // More than eight octal digits can say: a number of eleven bytes.
        let high = field[1..4].iter().all(|b| *b == 0);
        high.then(|| field[4..].iter().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    /// The name of the entry, where nothing else says it.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(&self.0[NAME]);
        let prefix = text(&self.0[PREFIX]);
        match &self.0[MAGIC] == POSIX && !prefix.is_empty() {
            true => [prefix, b"/", name].concat(),
            false => name.to_vec(),
        }
    }

    /// Where the entry leads, where nothing else says it.
    pub(super) fn link(&self) -> Vec<u8> {
        text(&self.0[LINK]).to_vec()
    }

    /// The same entry under another name, with what else there is to say of it.
    pub(super) fn rename(
        &mut self,
        name: &[u8],
        link: Option<&[u8]>,
        size: Option<u64>,
        rest: &[u8],
    ) -> Bytes {
        let mut words = rest.to_vec();
        if !put(&mut self.0[NAME], name) {
            words.extend(record("path", name));
        }
        if let Some(link) = link
            && !put(&mut self.0[LINK], link)
        {
            words.extend(record("linkpath", link));
        }
        if let Some(size) = size {
            words.extend(record("size", size.to_string().as_bytes()));
        }
        self.0[MAGIC].copy_from_slice(POSIX);
        self.0[PREFIX].fill(0);
        self.seal();
        let mut all = Vec::new();
        if !words.is_empty() {
            all.extend(Self::of_words(words.len()).0);
            all.extend_from_slice(&words);
            all.resize(all.len().next_multiple_of(BLOCK), 0);
        }
        all.extend(self.0);
        all.into()
    }

    /// The header of words about the next entry.
    fn of_words(bytes: usize) -> Self {
        let mut header = Self([0; BLOCK]);
        put(&mut header.0[NAME], b"PaxHeaders/entry");
        header.0[100..124].copy_from_slice(b"0000644\x000000000\x000000000\0");
        header.0[124..148].copy_from_slice(format!("{bytes:011o}\x0000000000000\0").as_bytes());
        header.0[FLAG] = b'x';
        header.0[MAGIC].copy_from_slice(POSIX);
        header.seal();
        header
    }

    fn seal(&mut self) {
        let sum = format!("{:06o}\0 ", self.sum());
        self.0[SUM].copy_from_slice(sum.as_bytes());
    }
}

/// The number in a field.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches(|c| c == '\0' || c == ' ');
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}

/// The text in a field.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    &field[..end]
}

/// Puts a text into a field, cut to its size; says whether that is all there is to say of it.
fn put(field: &mut [u8], text: &[u8]) -> bool {
    let n = text.len().min(field.len());
    field.fill(0);
    field[..n].copy_from_slice(&text[..n]);
    n == text.len() && text.is_ascii()
}

/// One record: its length counts itself.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length += 1;
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}
