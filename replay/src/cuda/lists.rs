//! Lists of blocks in pinned host memory, which kernels read in place.
//!
//! ```text
//!   slot: [entries] uint64 contents | int32 blocks | int32 places in the host pool | uint32 mismatches
//! ```
//!
//! A list that was copied to HBM first would wait in the H2D lane behind the very chunks that it describes.

use kernels::gpu::{Error, Gpu, HostPool, View};

/// Blocks that one list can name.
pub(super) const ENTRIES: usize = 4_096;
const BLOCK_BYTES: usize = 4;
const CONTENT_BYTES: usize = 8;
const SLOT_BYTES: usize = ENTRIES * (CONTENT_BYTES + 3 * BLOCK_BYTES);
/// Contents come first: they need the largest alignment.
const BLOCKS_AT: usize = ENTRIES * CONTENT_BYTES;
const PLACES_AT: usize = BLOCKS_AT + ENTRIES * BLOCK_BYTES;
const MISMATCHES_AT: usize = PLACES_AT + ENTRIES * BLOCK_BYTES;

pub(super) struct Lists {
    memory: HostPool,
    free: Vec<usize>,
    /// Entries of each slot in use.
    lengths: Vec<usize>,
    bytes: Vec<u8>,
}

/// One block of a list.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// In the HBM pool.
    pub block: u32,
    /// In the host pool; 0 where only HBM is concerned.
    pub slot: u32,
    /// What it holds.
    pub content: u64,
}

/// Where a list is, as a kernel sees it.
#[derive(Clone, Copy)]
pub(super) struct List {
    pub slot: usize,
    pub blocks: View,
    pub places: View,
    pub contents: View,
    pub mismatches: View,
    pub length: u32,
}

impl Lists {
    pub fn new(gpu: &Gpu, slots: usize) -> Result<Self, Error> {
        Ok(Self {
            memory: HostPool::new(gpu, (slots * SLOT_BYTES) as u64, 1, &mut |_| ())?,
            free: (0..slots).rev().collect(),
            lengths: vec![0; slots],
            bytes: Vec::with_capacity(SLOT_BYTES),
        })
    }

    /// Writes a list of at most [`ENTRIES`] blocks; `None` if every slot is in use.
    pub fn write(&mut self, entries: &[Entry]) -> Result<Option<List>, Error> {
        let Some(slot) = self.free.pop() else {
            return Ok(None);
        };
        let entries = &entries[..entries.len().min(ENTRIES)];
        self.lengths[slot] = entries.len();
        let base = slot * SLOT_BYTES;
        self.fill(
            base,
            entries.iter().map(|entry| entry.content.to_le_bytes()),
        );
        self.fill(
            base + BLOCKS_AT,
            entries.iter().map(|entry| entry.block.to_le_bytes()),
        );
        self.fill(
            base + PLACES_AT,
            entries.iter().map(|entry| entry.slot.to_le_bytes()),
        );
        self.fill(
            base + MISMATCHES_AT,
            entries.iter().map(|_| [0; BLOCK_BYTES]),
        );
        let view = |at: usize, size: usize| {
            self.memory
                .view()
                .slice((base + at) as u64, (entries.len() * size) as u64)
        };
        Ok(Some(List {
            slot,
            blocks: view(BLOCKS_AT, BLOCK_BYTES)?,
            places: view(PLACES_AT, BLOCK_BYTES)?,
            contents: view(0, CONTENT_BYTES)?,
            mismatches: view(MISMATCHES_AT, BLOCK_BYTES)?,
            length: entries.len() as u32,
        }))
    }

    fn fill<const N: usize>(&mut self, at: usize, values: impl Iterator<Item = [u8; N]>) {
        self.bytes.clear();
        self.bytes.extend(values.flatten());
        self.memory.write(at as u64, &self.bytes);
    }

    /// Frees a slot whose kernel is done; the first entry with mismatches, and how many.
    pub fn take_back(&mut self, slot: usize) -> Option<(usize, u32)> {
        let length = self.lengths[slot];
        self.free.push(slot);
        self.bytes.clear();
        self.bytes.resize(length * BLOCK_BYTES, 0);
        self.memory
            .read((slot * SLOT_BYTES + MISMATCHES_AT) as u64, &mut self.bytes);
        let words = self.bytes.chunks_exact(BLOCK_BYTES).map(|word| {
            word.iter()
                .rev()
                .fold(0_u32, |sum, &byte| sum << 8 | u32::from(byte))
        });
        words.enumerate().find(|&(_, words)| words > 0)
    }
}
