//! Packed segments: independent zstd frames, and an index by which one of them is found.
//!
//! To a program that unpacks zstd the file is the plain segment: the index is a frame to skip.

use super::{
    frame::{BODY_MAX, Frames, HEADER, Seen},
    trouble::Trouble,
};
use kiln::port::Offset;
use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    os::unix::fs::FileExt,
    vec,
};

/// A block is ended by the frame that makes it as long as this, or longer.
const BLOCK_BYTES: usize = 256 * 1024;
/// So no block is longer than this.
const BLOCK_MAX: usize = BLOCK_BYTES + BODY_MAX + 8;
/// How hard it is compressed: about as fast as the disk.
const LEVEL: i32 = 1;
/// What a zstd frame to skip begins with.
const SKIP: [u8; 4] = 0x184D_2A5E_u32.to_le_bytes();
/// What the file ends with.
const MARK: &[u8; 8] = b"KILNIDX2";
const ENTRY: usize = 16;
/// The end of the index: end of the segment, count, flags, sum, mark.
const TAIL: usize = 8 + 4 + 4 + 4 + 8;
const FLAG_CLOSED: u32 = 1;

/// Where a block is.
#[derive(Clone, Copy, Debug)]
struct Block {
    at: Offset,
    packed: u32,
    plain: u32,
}

/// Packs a segment that is written no more: reads it, checking every frame, and writes the packed
/// form.
pub(super) fn pack(plain: &File, start: Offset, to: &mut File) -> Result<(), Trouble> {
    let mut frames = Frames::new(BufReader::with_capacity(1 << 18, plain), 0, start);
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    let mut blocks = Vec::new();
    let mut block = HEADER.to_vec();
    let (mut at, mut closed) = (start, false);
    let mut flush = |at: Offset, block: &mut Vec<u8>, to: &mut File| -> io::Result<()> {
        let packed = compressor.compress(block)?;
        to.write_all(&packed)?;
        blocks.push(Block { at, packed: packed.len() as u32, plain: block.len() as u32 });
        block.clear();
        Ok(())
    };
    while let Some(seen) = frames.next()? {
        closed |= seen == Seen::Closed;
        block.extend_from_slice(frames.raw());
        if block.len() >= BLOCK_BYTES {
            flush(at, &mut block, to)?;
            at = frames.at();
        }
    }
    if frames.is_torn() {
        return Err(frames.damage());
    }
    if !block.is_empty() {
        flush(at, &mut block, to)?;
    }
    to.write_all(&index(&blocks, frames.at(), closed))?;
    Ok(())
}

fn index(blocks: &[Block], end: Offset, closed: bool) -> Vec<u8> {
    let length = blocks.len() * ENTRY + TAIL;
    let mut out = Vec::with_capacity(8 + length);
    out.extend_from_slice(&SKIP);
    out.extend_from_slice(&(length as u32).to_le_bytes());
    for block in blocks {
        out.extend_from_slice(&block.at.0.to_le_bytes());
        out.extend_from_slice(&block.packed.to_le_bytes());
        out.extend_from_slice(&block.plain.to_le_bytes());
    }
    out.extend_from_slice(&end.0.to_le_bytes());
    out.extend_from_slice(&(blocks.len() as u32).to_le_bytes());
    out.extend_from_slice(&if closed { FLAG_CLOSED } else { 0 }.to_le_bytes());
    let sum = crc32fast::hash(&out[8..]);
    out.extend_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(MARK);
    out
}

/// A packed segment, open, with its index.
#[derive(Debug)]
pub(super) struct Packed {
    file: File,
    blocks: Vec<Block>,
    /// Where the records of the segment end.
    pub(super) end: Offset,
    /// Whether the log ends here.
    pub(super) closed: bool,
}

impl Packed {
    /// Reads the index of a segment that begins at an offset.
    pub(super) fn open(file: File, start: Offset) -> Result<Self, Trouble> {
        let length = file.metadata()?.len();
        let bad = || Trouble::Damaged { place: 0, at: start };
        let read = |length: u64, count: usize| -> Result<Vec<u8>, Trouble> {
            let mut bytes = vec![0; count];
            let from = length.checked_sub(count as u64).ok_or_else(bad)?;
            file.read_exact_at(&mut bytes, from)?;
            Ok(bytes)
        };
        let tail = read(length, TAIL)?;
        let mark = &tail[TAIL - 8..];
        if mark != MARK {
            let newer = mark.starts_with(&MARK[..7]) && mark[7].is_ascii_digit();
            return Err(if newer { Trouble::Newer } else { bad() });
        }
        let count = word(&tail, 8) as usize;
        let size =
            count.checked_mul(ENTRY).and_then(|n| n.checked_add(TAIL + 8)).ok_or_else(bad)?;
        if count == 0 || size as u64 > length {
            return Err(bad());
        }
        let index = read(length, size)?;
        let sum = word(&index, size - 12);
        let length_told = word(&index, 4) as usize;
        if index[..4] != SKIP
            || length_told != size - 8
            || crc32fast::hash(&index[8..size - 12]) != sum
        {
            return Err(bad());
        }
        let entries = index[8..size - TAIL].chunks_exact(ENTRY);
        let blocks: Vec<_> = entries
            .map(|e| Block { at: Offset(long(e, 0)), packed: word(e, 8), plain: word(e, 12) })
            .collect();
        let packed: u64 = blocks.iter().map(|b| u64::from(b.packed)).sum();
        let sane = blocks[0].at == start
            && blocks.is_sorted_by_key(|b| b.at)
            && blocks.iter().all(|b| b.plain as usize <= BLOCK_MAX)
            && packed + size as u64 == length;
        if !sane {
            return Err(bad());
        }
        let closed = word(&tail, 12) & FLAG_CLOSED != 0;
        Ok(Self { file, blocks, end: Offset(long(&tail, 0)), closed })
    }

    /// The frames from the block on that holds an offset.
    pub(super) fn frames(self, from: Offset) -> Frames<Unpacked> {
        let first = self.blocks.partition_point(|b| b.at <= from).saturating_sub(1);
        let (mut place, mut packed) = (0, 0);
        for block in &self.blocks[..first] {
            place += u64::from(block.plain);
            packed += u64::from(block.packed);
        }
        let at = self.blocks[first].at;
        let mut blocks = self.blocks;
        blocks.drain(..first);
        let source = Unpacked {
            file: self.file,
            place: packed,
            blocks: blocks.into_iter(),
            packed: Vec::new(),
            plain: Vec::new(),
            used: 0,
        };
        Frames::new(source, place, at)
    }
}

/// The bytes of a packed segment, one block in memory.
#[derive(Debug)]
pub(super) struct Unpacked {
    file: File,
    place: u64,
    blocks: vec::IntoIter<Block>,
    packed: Vec<u8>,
    plain: Vec<u8>,
    used: usize,
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.used == self.plain.len() {
            let Some(block) = self.blocks.next() else { return Ok(0) };
            self.packed.resize(block.packed as usize, 0);
            self.file.read_exact_at(&mut self.packed, self.place)?;
            self.place += u64::from(block.packed);
            let bad = || io::Error::from(io::ErrorKind::InvalidData);
            let plain = zstd::bulk::decompress(&self.packed, block.plain as usize);
            self.plain = plain.map_err(|_| bad())?;
            self.used = 0;
            if self.plain.len() != block.plain as usize {
                return Err(bad());
            }
        }
        let n = buffer.len().min(self.plain.len() - self.used);
        buffer[..n].copy_from_slice(&self.plain[self.used..self.used + n]);
        self.used += n;
        Ok(n)
    }
}

/// The number at a byte of what is long enough.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|w| w.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|w| w.try_into().ok()).map_or(0, u64::from_le_bytes)
}
