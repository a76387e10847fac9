//! Checksum: one 64-bit digest per KV block, of its bytes and its content id.
//!
//! The digest of a block before it leaves HBM must equal the one after it returns; taken with the content
//! id that the ledger expects, it differs if the right bytes came back under the wrong name.
//! A change within one 8-byte word always changes the digest. Shapes, grid and traffic: `checksum.cu`.

use crate::arguments::holds;
use crate::gpu::{ArgumentError, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image};
use crate::kv::PoolParameters;
use crate::mix::mix64;
use crate::stamp::BlockContents;

/// The shipped kernel.
pub const IMAGE: Image = image!("checksum");

/// Digests blocks.
pub struct Checksum {
    kernel: Kernel,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Parameters {
    pool: PoolParameters,
    blocks: u64,
    contents: u64,
    digests: u64,
    block_count: u32,
}

impl Checksum {
    /// Loads the kernel.
    ///
    /// # Errors
    /// [`Error::Module`] if the GPU takes neither of its forms.
    pub fn load(gpu: &Gpu) -> Result<Self, Error> {
        Ok(Self {
            kernel: Module::load(gpu, &IMAGE)?.kernel("checksum", 0)?,
        })
    }

    /// Writes the digest of every block to `digests`, `[block_count]` uint64.
    ///
    /// # Errors
    /// A typed argument error for buffers too short or misaligned, or what the driver refuses.
    pub fn launch(
        &self,
        stream: &Stream,
        blocks: &BlockContents,
        digests: View,
    ) -> Result<(), Error> {
        let parameters = check(blocks, digests)?;
        if blocks.block_count == 0 {
            return Ok(());
        }
        stream.fill(digests.slice(0, 8 * u64::from(blocks.block_count))?, 0)?;
        let launch = Launch {
            grid: [blocks.ctas, 1, 1],
            threads: 256,
        };
        // SAFETY: 1. the struct mirrors `ChecksumArgs`. 2. checked, but for the ids, which the caller owns.
        unsafe { self.kernel.launch(stream, launch, &parameters) }
    }
}

fn check(blocks: &BlockContents, digests: View) -> Result<Parameters, ArgumentError> {
    let pool = blocks.check("checksum")?;
    holds(
        "checksum",
        "digests",
        digests,
        8 * u64::from(blocks.block_count),
        8,
    )?;
    Ok(Parameters {
        pool,
        blocks: blocks.blocks.address(),
        contents: blocks.contents.address(),
        digests: digests.address(),
        block_count: blocks.block_count,
    })
}

/// Bijection of `word` for every `place`.
fn scramble(word: u64, place: u64) -> u64 {
    let x = (word ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 32)
}

/// The digest of a block, its pieces in order, as it also lies in the host pool.
///
/// # Panics
/// If the block is not a whole number of 8-byte words.
pub fn reference(content: u64, block: &[u8]) -> u64 {
    let (words, rest) = block.as_chunks::<8>();
    assert!(
        rest.is_empty(),
        "a block of {} bytes is no whole number of words",
        block.len()
    );
    let sum = (0..).zip(words).fold(0_u64, |sum, (place, word)| {
        sum.wrapping_add(scramble(u64::from_le_bytes(*word), place))
    });
    mix64(content).wrapping_add(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_block_has_the_digest_of_its_content_alone() {
        assert_eq!(reference(5, &[]), mix64(5));
    }

    #[test]
    fn any_single_byte_that_changes_changes_the_digest() {
        let block: Vec<u8> = (0..64_u8).map(|i| i.wrapping_mul(37)).collect();
        let digest = reference(1, &block);
        for at in 0..block.len() {
            for flip in 1..=255_u8 {
                let mut wrong = block.clone();
                wrong[at] ^= flip;
                assert_ne!(reference(1, &wrong), digest, "byte {at} xor {flip}");
            }
        }
    }

    #[test]
    fn swapped_words_and_a_wrong_name_change_the_digest() {
        let block: Vec<u8> = (0..32).collect();
        let mut swapped = block.clone();
        swapped.rotate_left(8);
        assert_ne!(reference(1, &block), reference(1, &swapped));
        assert_ne!(reference(1, &block), reference(2, &block));
    }

    #[test]
    fn a_short_digest_list_is_refused() {
        use crate::kv::{KvLayout, KvOrder, KvPool};
        let layout = KvLayout {
            order: KvOrder::LayerMajor,
            block_count: 3,
            layers: 1,
            kv_heads: 1,
            block_tokens: 2,
            head_dim: 4,
        };
        let blocks = BlockContents {
            pool: KvPool {
                layout,
                view: View::new(256, layout.pool_bytes()),
            },
            blocks: View::new(0, 12),
            contents: View::new(0, 24),
            block_count: 3,
            ctas: 4,
        };
        assert!(check(&blocks, View::new(0, 24)).is_ok());
        assert!(matches!(
            check(&blocks, View::new(0, 16)),
            Err(ArgumentError::TooShort {
                name: "digests",
                ..
            })
        ));
    }
}
