//! Tar archives, as far as pretended containers need them: plain names and no extensions.

use crate::{Error, ErrorKind, Result};
use bytes::{Bytes, BytesMut};

/// A file, a directory or a link, with its mode and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File(Bytes),
    Directory,
    Link(String),
}

impl Entry {
    /// A file that anybody may read.
    pub(super) fn file(bytes: Bytes) -> Self {
        Self { kind: Kind::File(bytes), mode: 0o644, owner: (0, 0) }
    }

    /// A directory that anybody may read.
    pub(super) fn directory() -> Self {
        Self { kind: Kind::Directory, mode: 0o755, owner: (0, 0) }
    }
}

/// The archive of entries under their names.
pub(super) fn pack<'a>(entries: impl IntoIterator<Item = (String, &'a Entry)>) -> Vec<Bytes> {
    let mut out = Vec::new();
    for (name, entry) in entries {
        let none = Bytes::new();
        let (flag, target, bytes) = match &entry.kind {
            Kind::File(bytes) => (b'0', "", bytes),
            Kind::Directory => (b'5', "", &none),
            Kind::Link(target) => (b'2', target.as_str(), &none),
        };
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, &name.as_bytes()[..name.len().min(100)]);
        let (user, group) = entry.owner;
        put(100, format!("{:07o}\0{user:07o}\0{group:07o}\0", entry.mode).as_bytes());
        put(124, format!("{:011o}\x0000000000000\0", bytes.len()).as_bytes());
        put(148, b"        ");
        put(156, &[flag]);
        put(157, &target.as_bytes()[..target.len().min(100)]);
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend([Bytes::copy_from_slice(&header), bytes.clone()]);
        out.push(BytesMut::zeroed(bytes.len().next_multiple_of(512) - bytes.len()).freeze());
    }
    out.push(BytesMut::zeroed(1024).freeze());
    out
}

/// The entries of an archive with the names they have below the directory it is unpacked in.
///
/// `Invalid` for what is no archive, and for a name that leads out.
pub(super) fn unpack(mut archive: Bytes, op: &'static str) -> Result<Vec<(String, Entry)>> {
    let broken = |what: &str| Error::new(ErrorKind::Invalid, op, what.to_owned());
    let mut entries = Vec::new();
    while !archive.is_empty() {
        if archive.len() < 512 {
            return Err(broken("the archive ends in the middle"));
        }
        let header = archive.split_to(512);
        if header.iter().all(|b| *b == 0) {
            return Ok(entries);
        }
        let number = |at: usize, len: usize| {
            let text = String::from_utf8_lossy(&header[at..at + len]).into_owned();
            let text = text.trim_matches(|c| c == '\0' || c == ' ').to_owned();
            u64::from_str_radix(&text, 8).map_err(|_| broken("that is no tar archive"))
        };
        let blank = |i: usize| if (148..156).contains(&i) { b' ' } else { header[i] };
        let sum: u64 = (0..512).map(|i| u64::from(blank(i))).sum();
        if number(148, 8)? != sum {
            return Err(broken("that is no tar archive"));
        }
        let text = |at: usize, len: usize| {
            let field = &header[at..at + len];
            let end = field.iter().position(|b| *b == 0).unwrap_or(len);
            String::from_utf8_lossy(&field[..end]).into_owned()
        };
        let size = usize::try_from(number(124, 12)?).unwrap_or(usize::MAX);
        if size > archive.len() {
            return Err(broken("the archive ends in the middle"));
        }
        let bytes = archive.split_to(size);
        let _ = archive.split_to(archive.len().min(size.next_multiple_of(512) - size));
        let kind = match header[156] {
            b'0' | 0 => Kind::File(bytes),
            b'5' => Kind::Directory,
            b'2' => Kind::Link(text(157, 100)),
            _ => return Err(broken("the archive holds what a pretended container cannot")),
        };
        let field = |at| Ok::<u32, Error>(u32::try_from(number(at, 8)?).unwrap_or(u32::MAX));
        let entry = Entry { kind, mode: field(100)?, owner: (field(108)?, field(116)?) };
        entries.push((inside(&text(0, 100)).ok_or_else(|| broken("a name leads out"))?, entry));
    }
    Ok(entries)
}

/// A name without what means nothing; none if it is absolute or leads up.
fn inside(name: &str) -> Option<String> {
    let parts: Vec<_> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (!name.starts_with('/') && !parts.contains(&"..")).then(|| parts.join("/"))
}
