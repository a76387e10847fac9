//! A pool of blocks in real memory, each stamped with what it holds.
//!
//! A modelled block of megabytes is backed by a few KiB, and only once it is first written, so that an 80 GB pool fits a laptop.
//! The bytes are a function of the content's id: a block that holds the wrong content, half a copy, or nothing is found
//! by looking at it.
//!
//! Each block has a lock of its own: it keeps the program sound, not the engine correct. Two operations that race for a
//! block still leave it with the wrong stamp.

use model::{ContentId, Tier};
use std::sync::{Mutex, PoisonError};

pub(super) struct Arena {
    tier: Tier,
    blocks: Vec<Mutex<Vec<u8>>>,
    backing_bytes: usize,
}

impl Arena {
    /// A pool of `blocks` blocks, nothing in them, each backed by `backing_bytes` (at least 8).
    pub fn new(tier: Tier, blocks: u32, backing_bytes: usize) -> Self {
        assert!(
            backing_bytes >= 8,
            "{backing_bytes} bytes cannot tell contents apart"
        );
        Self {
            tier,
            blocks: (0..blocks).map(|_| Mutex::default()).collect(),
            backing_bytes,
        }
    }

    /// Whether it has no blocks at all.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether the pool has such a block.
    pub fn contains(&self, block: u32) -> bool {
        (block as usize) < self.blocks.len()
    }

    /// Writes the stamp of `content`.
    pub fn stamp(&self, block: u32, content: ContentId) {
        self.with(block, |bytes| {
            bytes.clear();
            bytes.extend(
                stamp(content)
                    .flat_map(u64::to_le_bytes)
                    .take(self.backing_bytes),
            );
        });
    }

    /// Copies a block out. Empty if it was never written.
    pub fn read(&self, block: u32, into: &mut Vec<u8>) {
        self.with(block, |bytes| into.clone_from(bytes));
    }

    /// Copies a block in.
    pub fn write(&self, block: u32, from: &[u8]) {
        self.with(block, |bytes| {
            bytes.clear();
            bytes.extend_from_slice(from);
        });
    }

    /// Inverts the bits of the byte in the middle of a block.
    pub fn flip_byte(&self, block: u32) {
        self.with(block, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
        });
    }

    /// Says what is wrong if `block` does not hold `content`.
    pub fn verify(&self, block: u32, content: ContentId) -> Result<(), String> {
        let tier = match self.tier {
            Tier::Hbm => "HBM",
            Tier::Host => "host",
            Tier::Disk => "disk",
        };
        let wanted = format!("block {} of lineage {}", content.index, content.lineage);
        self.with(block, |bytes| {
            if bytes.is_empty() {
                return Err(format!(
                    "{tier} block {block} should hold {wanted}, but was never written"
                ));
            }
            let expected = stamp(content).flat_map(u64::to_le_bytes);
            match bytes
                .iter()
                .zip(expected)
                .position(|(is, should)| *is != should)
            {
                None => Ok(()),
                Some(at) => Err(format!(
                    "{tier} block {block} should hold {wanted}, but byte {at} differs"
                )),
            }
        })
    }

    fn with<T>(&self, block: u32, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        // A panic while the lock was held leaves at worst a wrong stamp, which is what stamps are for.
        let mut bytes = self.blocks[block as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        work(&mut bytes)
    }
}

/// Words that no other content has: a SplitMix64 sequence that starts at the id.
fn stamp(content: ContentId) -> impl Iterator<Item = u64> {
    let mut state = (u64::from(content.lineage.0) << 32) | u64::from(content.index);
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::LineageId;

    const CONTENT: ContentId = ContentId {
        lineage: LineageId(3),
        index: 7,
    };

    #[test]
    fn a_stamped_block_holds_its_content_and_no_other() {
        let arena = Arena::new(Tier::Hbm, 2, 100);
        arena.stamp(1, CONTENT);
        assert_eq!(arena.verify(1, CONTENT), Ok(()));
        // (3, 7) and (7, 3) differ, and so do neighbours.
        for other in [(7, 3), (3, 8), (4, 7)] {
            let other = ContentId {
                lineage: LineageId(other.0),
                index: other.1,
            };
            assert!(arena.verify(1, other).is_err());
        }
    }

    #[test]
    fn a_block_that_was_never_written_holds_nothing() {
        let text = Arena::new(Tier::Host, 2, 64)
            .verify(0, CONTENT)
            .unwrap_err();
        assert_eq!(
            text,
            "host block 0 should hold block 7 of lineage 3, but was never written"
        );
    }

    #[test]
    fn one_wrong_byte_is_found_where_it_is() {
        let arena = Arena::new(Tier::Hbm, 1, 64);
        arena.stamp(0, CONTENT);
        arena.flip_byte(0);
        let text = arena.verify(0, CONTENT).unwrap_err();
        assert_eq!(
            text,
            "HBM block 0 should hold block 7 of lineage 3, but byte 32 differs"
        );
    }
}
