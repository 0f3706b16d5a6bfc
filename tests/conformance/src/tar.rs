//! Archives as the suites write and read them.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream as streams};
use kiln::port::ByteStream;

const BLOCK: usize = 512;

/// One entry of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) flag: u8,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) link: String,
    pub(crate) data: Vec<u8>,
}

impl Entry {
    pub(crate) fn file(name: &str, data: &[u8]) -> Self {
        let (name, data) = (name.to_owned(), data.to_vec());
        Self { name, flag: b'0', mode: 0o644, data, ..Self::default() }
    }

    pub(crate) fn directory(name: &str) -> Self {
        Self { name: format!("{name}/"), flag: b'5', mode: 0o755, ..Self::default() }
    }

    pub(crate) fn link(name: &str, to: &str) -> Self {
        let (name, link) = (name.to_owned(), to.to_owned());
        Self { name, flag: b'2', mode: 0o777, link, ..Self::default() }
    }
}

/// The archive of entries with short names.
pub(crate) fn pack(entries: &[Entry]) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in entries {
        let mut block = [0_u8; BLOCK];
        let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
        put(0, entry.name.as_bytes());
        let (user, group) = entry.owner;
        put(100, format!("{:07o}\0{user:07o}\0{group:07o}\0", entry.mode).as_bytes());
        put(124, format!("{:011o}\x0000000000000\0        ", entry.data.len()).as_bytes());
        put(156, &[entry.flag]);
        put(157, entry.link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        all.extend(block);
        all.extend(&entry.data);
        all.resize(all.len().next_multiple_of(BLOCK), 0);
    }
    all.resize(all.len() + 2 * BLOCK, 0);
    all
}

/// Bytes in small pieces.
pub(crate) fn bytes(all: Vec<u8>) -> ByteStream {
    let pieces: Vec<_> = all.chunks(700).map(Bytes::copy_from_slice).map(Ok).collect();
    streams::iter(pieces).boxed()
}

/// An archive in small pieces.
pub(crate) fn stream(entries: &[Entry]) -> ByteStream {
    bytes(pack(entries))
}

/// The entries of an archive with short names.
pub(crate) async fn read(archive: ByteStream) -> Vec<Entry> {
    let all = archive.try_collect::<Vec<_>>().await.expect("the archive comes").concat();
    let (mut at, mut entries) = (0, Vec::new());
    while all.get(at).is_some_and(|first| *first != 0) {
        let block = &all[at..at + BLOCK];
        let text = |from: usize, len: usize| {
            let field = block[from..from + len].split(|b| *b == 0).next().unwrap_or_default();
            String::from_utf8_lossy(field).trim().to_owned()
        };
        let number = |from, len| u32::from_str_radix(&text(from, len), 8).unwrap_or(0);
        let size = number(124, 12) as usize;
        entries.push(Entry {
            name: text(0, 100),
            flag: block[156],
            mode: number(100, 8),
            owner: (number(108, 8), number(116, 8)),
            link: text(157, 100),
            data: all[at + BLOCK..at + BLOCK + size].to_vec(),
        });
        at += BLOCK + size.next_multiple_of(BLOCK);
    }
    entries
}
