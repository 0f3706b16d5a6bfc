use std::{fs::File, io, os::unix::fs::FileExt};

/// What the file of an artifact ends with.
const MARK: &[u8; 8] = b"KILNART2";
/// Digest and number of bytes, before the name.
const FIXED: usize = 32 + 8;
/// Length of the name, sum and mark, behind it.
const END: usize = 4 + 4 + 8;
/// No name is longer.
const NAME_MAX: usize = 4096;

/// What is known of an artifact; it stands behind its bytes.
pub(super) struct Trailer {
    pub(super) name: String,
    /// SHA-256.
    pub(super) digest: [u8; 32],
    pub(super) bytes: u64,
}

impl Trailer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED + self.name.len() + END);
        out.extend_from_slice(&self.digest);
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(&(self.name.len() as u32).to_le_bytes());
        let sum = crc32fast::hash(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(MARK);
        out
    }

    /// Reads the trailer of a file; `InvalidData` if it is not what was written.
    pub(super) fn read(file: &File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let end = last(file, length, END)?;
        let name = end.first_chunk().map_or(0, |n| u32::from_le_bytes(*n)) as usize;
        if &end[8..] != MARK || name > NAME_MAX {
            return Err(bad());
        }
        let size = FIXED + name + END;
        let all = last(file, length, size)?;
        let trailer = Self::decode(&all, name).ok_or_else(bad)?;
        if trailer.bytes.checked_add(size as u64) == Some(length) {
            Ok(trailer)
        } else {
            Err(bad())
        }
    }

    fn decode(all: &[u8], name: usize) -> Option<Self> {
        let (text, sum) = all.split_at_checked(FIXED + name + 4)?;
        if crc32fast::hash(text).to_le_bytes() != *sum.first_chunk::<4>()? {
            return None;
        }
        let (digest, text) = text.split_first_chunk()?;
        let (bytes, text) = text.split_first_chunk()?;
        let name = String::from_utf8(text.get(..name)?.to_vec()).ok()?;
        Some(Self { name, digest: *digest, bytes: u64::from_le_bytes(*bytes) })
    }
}

fn bad() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// The last bytes of a file of a length.
fn last(file: &File, length: u64, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    let from = length.checked_sub(count as u64).ok_or_else(bad)?;
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}
