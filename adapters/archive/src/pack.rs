//! Reading tar archives: ustar, GNU and PAX (POSIX.1-2017, `pax`).
//!
//! Only the fields of a header are read by the `tar` crate. Its reader of archives keeps long names
//! and extensions in memory however long they are, and a compressed gigabyte of them is small.

use crate::error::{damaged, shown};
use kiln::{Error, ErrorKind, Result};
use std::io::{self, Read};
use tar::{EntryType, Header};

const BLOCK: usize = 512;
/// The longest name that an entry of its own gives.
const NAME_MAX: u64 = 64 << 10;
/// The longest extended header.
const EXTENSION_MAX: u64 = 1 << 20;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// A symbolic link and where it leads.
    Link(Vec<u8>),
    /// Another name of a file, and its first one.
    HardLink(Vec<u8>),
    /// A device, a pipe, or what nobody knows.
    Other,
}

/// One entry, before its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    /// The permission bits.
    pub(crate) mode: u32,
    /// When it was last changed, in seconds since 1970.
    pub(crate) modified: i64,
    pub(crate) bytes: u64,
}

/// What extensions say of the next entry.
#[derive(Default)]
struct Said {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    bytes: Option<u64>,
    modified: Option<i64>,
}

/// Reads an archive entry by entry.
pub(crate) struct Reader<R> {
    from: R,
    /// What is left of the content of the entry.
    left: u64,
    /// What fills its last block.
    padding: u64,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, left: 0, padding: 0 }
    }

    /// The next entry; none at the end of the archive. What nobody read of the one before is
    /// passed over.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        let mut said = Said::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let bytes = header.entry_size().map_err(|e| damaged(e.to_string()))?;
            self.has(bytes)?;
            match header.entry_type() {
                EntryType::GNULongName => said.path = Some(self.name()?),
                EntryType::GNULongLink => said.target = Some(self.name()?),
                EntryType::XHeader => self.extension(&mut said)?,
                EntryType::XGlobalHeader => self.extension(&mut Said::default())?,
                kind => return self.entry(&header, kind, said).map(Some),
            }
        }
    }

    fn entry(&mut self, header: &Header, kind: EntryType, said: Said) -> Result<Entry> {
        let path = said.path.unwrap_or_else(|| header.path_bytes().into_owned());
        if kind == EntryType::GNUSparse {
            return Err(sparse(&path));
        }
        if let Some(bytes) = said.bytes {
            self.has(bytes)?;
        }
        let target = said.target.or_else(|| Some(header.link_name_bytes()?.into_owned()));
        let kind = match kind {
            // A name that ends so was a directory before directories had a kind.
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Link(target.unwrap_or_default()),
            EntryType::Link => Kind::HardLink(target.unwrap_or_default()),
            _ => Kind::Other,
        };
        let mode = header.mode().map_err(|e| damaged(e.to_string()))? & 0o777;
        let modified = match said.modified {
            Some(modified) => modified,
            None => header.mtime().ok().and_then(|t| i64::try_from(t).ok()).unwrap_or(0),
        };
        Ok(Entry { path, kind, mode, modified, bytes: self.left })
    }

    /// The content of the entry that was read last.
    pub(crate) fn content(&mut self) -> Content<'_, R> {
        Content(self)
    }

    fn has(&mut self, bytes: u64) -> Result<()> {
        let whole = bytes.checked_next_multiple_of(BLOCK as u64);
        let whole = whole.ok_or_else(|| damaged("an entry is larger than anything"))?;
        (self.left, self.padding) = (bytes, whole - bytes);
        Ok(())
    }

    fn skip(&mut self) -> Result<()> {
        let all = self.left + self.padding;
        let skipped = io::copy(&mut (&mut self.from).take(all), &mut io::sink());
        if skipped.map_err(unreadable)? < all {
            return Err(damaged("it ends inside of an entry"));
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// The next header; none where the archive says that it ends.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut block = [0; BLOCK];
        self.from.read_exact(&mut block).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it has no end"),
            _ => unreadable(e),
        })?;
        if block == [0; BLOCK] {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block);
        let field = 148..156;
        let sum = |byte: fn(&u8) -> i64| {
            let bytes = block.iter().enumerate();
            bytes.map(|(i, b)| if field.contains(&i) { i64::from(b' ') } else { byte(b) }).sum()
        };
        let told = header.cksum().map_err(|_| damaged("it is no tar archive"))?;
        let (unsigned, signed): (i64, i64) =
            (sum(|b| i64::from(*b)), sum(|b| i64::from(b.cast_signed())));
        if i64::from(told) != unsigned && i64::from(told) != signed {
            return Err(damaged("the checksum of an entry is wrong"));
        }
        Ok(Some(header.clone()))
    }

    fn all(&mut self, max: u64, what: &str) -> Result<Vec<u8>> {
        if self.left > max {
            return Err(Error::new(ErrorKind::Exhausted, crate::error::FETCH, what)
                .with("bytes", self.left)
                .with("limit", max));
        }
        let mut bytes = Vec::new();
        self.content().read_to_end(&mut bytes).map_err(unreadable)?;
        Ok(bytes)
    }

    fn name(&mut self) -> Result<Vec<u8>> {
        let mut name = self.all(NAME_MAX, "a name in the archive is too long")?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    /// Reads records of the form `LENGTH KEY=VALUE\n`, of which the later ones count.
    fn extension(&mut self, said: &mut Said) -> Result<()> {
        let all = self.all(EXTENSION_MAX, "an extended header of the archive is too long")?;
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let (key, value, after) = record(rest).ok_or_else(|| damaged("an extended header"))?;
            rest = after;
            let number = || std::str::from_utf8(value).ok();
            match key {
                b"path" => said.path = Some(value.to_owned()),
                b"linkpath" => said.target = Some(value.to_owned()),
                b"size" => {
                    let bytes = number().and_then(|text| text.parse().ok());
                    said.bytes = Some(bytes.ok_or_else(|| damaged("a size is no number"))?);
                }
                b"mtime" => {
                    let whole = number().and_then(|text| text.split('.').next()?.parse().ok());
                    said.modified = Some(whole.ok_or_else(|| damaged("a time is no number"))?);
                }
                key if key.starts_with(b"GNU.sparse.") => return Err(sparse(b"")),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The first record: its key, its value, and what comes after it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|b| *b == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|b| *b == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &bytes[length..]))
}

fn sparse(path: &[u8]) -> Error {
    let message = "the archive holds a sparse file";
    let error = Error::new(ErrorKind::Unsupported, crate::error::FETCH, message);
    error.with("path", shown(path)).hint("Make the archive without tar's --sparse.")
}

/// What came before the archive, such as a decoder, would not go on.
pub(crate) fn unreadable(e: io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it ends too early"),
        io::ErrorKind::QuotaExceeded => {
            Error::new(ErrorKind::Exhausted, crate::error::FETCH, "the archive is too large")
                .source(e)
        }
        _ => damaged(e.to_string()),
    }
}

/// The content of one entry. An archive that ends inside of it is an error.
pub(crate) struct Content<'a, R>(&'a mut Reader<R>);

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let max = usize::try_from(self.0.left).unwrap_or(usize::MAX).min(buffer.len());
        if max == 0 {
            return Ok(0);
        }
        let n = self.0.from.read(&mut buffer[..max])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.0.left -= n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(path: &str, kind: EntryType, bytes: u64) -> Vec<u8> {
        let mut header = Header::new_ustar();
        header.set_path(path).unwrap();
        header.set_entry_type(kind);
        header.set_mode(0o100_644);
        header.set_size(bytes);
        header.set_mtime(7);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    fn with(mut header: Vec<u8>, content: &[u8]) -> Vec<u8> {
        header.extend_from_slice(content);
        header.resize(header.len().next_multiple_of(BLOCK), 0);
        header
    }

    fn first(archive: &[u8]) -> Result<(Entry, Vec<u8>)> {
        let mut reader = Reader::new(archive);
        let entry = reader.next()?.unwrap();
        let mut content = Vec::new();
        reader.content().read_to_end(&mut content).map_err(unreadable)?;
        assert_eq!(reader.next()?, None);
        Ok((entry, content))
    }

    const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

    fn extended(records: &str) -> Vec<u8> {
        let extension = header("x", EntryType::XHeader, records.len() as u64);
        let mut archive = with(extension, records.as_bytes());
        archive.extend(with(header("short", EntryType::Regular, 0), b"abc"));
        archive.extend(END);
        archive
    }

    #[test]
    fn extensions_say_what_a_header_has_no_room_for() {
        let long = "d/".repeat(200) + "name";
        let record = format!("path={long}\n");
        let record = format!("{} {record}", record.len() + 4);
        let archive = extended(&format!("{record}9 size=3\n18 mtime=12345.67\n"));
        let (entry, content) = first(&archive).unwrap();
        let (path, kind) = (long.into_bytes(), Kind::File);
        assert_eq!(entry, Entry { path, kind, mode: 0o644, modified: 12345, bytes: 3 });
        assert_eq!(content, b"abc");
    }

    #[test]
    fn what_is_damaged_is_told_and_never_unpacked_by_half() {
        let whole = [with(header("a", EntryType::Regular, 3), b"abc"), END.to_vec()].concat();
        assert!(first(&whole).is_ok());
        let mut flipped = whole.clone();
        flipped[0] ^= 1;
        for (bad, said) in [
            (&flipped[..], "checksum"),
            (&whole[..BLOCK + 2], "ends too early"),
            (&whole[..BLOCK + 3], "inside"),
            (&whole[..2 * BLOCK], "no end"),
            (b"", "no end"),
            (&[b'x'; 4 * BLOCK], "no tar archive"),
        ] {
            let e = first(bad).unwrap_err();
            assert!(e.to_string().contains(said), "{said}: {e}");
        }
        for records in ["9 size=x\n", "99 size=1\n", "size=1\n", "0 a=b\n", "8 mtime=\n"] {
            assert!(first(&extended(records)).is_err(), "{records:?}");
        }
    }

    #[test]
    fn names_and_extensions_take_no_memory_without_bound() {
        for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
            let e = Reader::new(&header("x", kind, 8 << 30)[..]).next().unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Exhausted, "{e:?}");
        }
        let e = first(&extended("22 GNU.sparse.major=1\n")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{e:?}");
    }
}
