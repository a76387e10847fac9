//! Stamp: KV blocks filled with a pattern of their content id, and the count of words that differ from it.
//!
//! A wrong copy, a wrong prefix hit and a block overwritten too early all leave a block whose words are not
//! those of the content id that the ledger says it holds. Shapes, grid and traffic: `stamp.cu`.

use crate::arguments::{holds, within};
use crate::gpu::{ArgumentError, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image};
use crate::kv::{KvLayout, KvPool, PoolParameters};
use crate::mix::mix64;

/// The shipped kernels.
pub const IMAGE: Image = image!("stamp");

/// Writes stamps and counts words that differ from them.
pub struct Stamp {
    write: Kernel,
    verify: Kernel,
}

/// Blocks and the content ids that they hold, or shall hold.
#[derive(Debug, Clone, Copy)]
pub struct BlockContents {
    /// Where the blocks are.
    pub pool: KvPool,
    /// `[block_count]` int32: block ids.
    pub blocks: View,
    /// `[block_count]` uint64: content ids.
    pub contents: View,
    /// Length of both lists; zero submits nothing.
    pub block_count: u32,
    /// CTAs; twice the multiprocessors fill the GPU.
    pub ctas: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Parameters {
    pool: PoolParameters,
    blocks: u64,
    contents: u64,
    mismatches: u64,
    block_count: u32,
}

impl Stamp {
    /// Loads the kernels.
    ///
    /// # Errors
    /// [`Error::Module`] if the GPU takes neither of their forms.
    pub fn load(gpu: &Gpu) -> Result<Self, Error> {
        let module = Module::load(gpu, &IMAGE)?;
        Ok(Self {
            write: module.kernel("stamp", 0)?,
            verify: module.kernel("stamp_verify", 0)?,
        })
    }

    /// Fills the blocks (no id twice) with the pattern of their content ids.
    ///
    /// # Errors
    /// A typed argument error for buffers too short or misaligned, or what the driver refuses.
    pub fn write(&self, stream: &Stream, blocks: &BlockContents) -> Result<(), Error> {
        let parameters = stamp_parameters("stamp", blocks, View::new(0, 0))?;
        submit(stream, &self.write, blocks, &parameters)
    }

    /// Counts, per block, the 8-byte words that differ: `mismatches` is `[block_count]` uint32.
    ///
    /// # Errors
    /// As [`Stamp::write`].
    pub fn verify(
        &self,
        stream: &Stream,
        blocks: &BlockContents,
        mismatches: View,
    ) -> Result<(), Error> {
        if blocks.block_count > 0 {
            let bytes = 4 * u64::from(blocks.block_count);
            holds("stamp_verify", "mismatches", mismatches, bytes, 4)?;
            stream.fill(mismatches.slice(0, bytes)?, 0)?;
        }
        self.verify_zeroed(stream, blocks, mismatches)
    }

    /// The same where the caller has zeroed `mismatches`, which may then lie in pinned host memory: intact
    /// blocks leave it untouched.
    ///
    /// # Errors
    /// As [`Stamp::write`].
    pub fn verify_zeroed(
        &self,
        stream: &Stream,
        blocks: &BlockContents,
        mismatches: View,
    ) -> Result<(), Error> {
        let bytes = 4 * u64::from(blocks.block_count);
        holds("stamp_verify", "mismatches", mismatches, bytes, 4)?;
        let parameters = stamp_parameters("stamp_verify", blocks, mismatches)?;
        submit(stream, &self.verify, blocks, &parameters)
    }
}

fn submit(
    stream: &Stream,
    kernel: &Kernel,
    blocks: &BlockContents,
    parameters: &Parameters,
) -> Result<(), Error> {
    if blocks.block_count == 0 {
        return Ok(());
    }
    let launch = Launch {
        grid: [blocks.ctas, 1, 1],
        threads: 256,
    };
    // SAFETY: 1. the struct mirrors `StampArgs`. 2. checked, but for the ids, which the caller owns.
    unsafe { kernel.launch(stream, launch, parameters) }
}

fn stamp_parameters(
    operation: &'static str,
    blocks: &BlockContents,
    mismatches: View,
) -> Result<Parameters, ArgumentError> {
    let pool = blocks.check(operation)?;
    Ok(Parameters {
        pool,
        blocks: blocks.blocks.address(),
        contents: blocks.contents.address(),
        mismatches: mismatches.address(),
        block_count: blocks.block_count,
    })
}

impl BlockContents {
    pub(crate) fn check(&self, operation: &'static str) -> Result<PoolParameters, ArgumentError> {
        holds(
            operation,
            "blocks",
            self.blocks,
            4 * u64::from(self.block_count),
            4,
        )?;
        holds(
            operation,
            "contents",
            self.contents,
            8 * u64::from(self.block_count),
            8,
        )?;
        within(operation, "ctas", self.ctas.into(), 1, 1 << 16)?;
        self.pool.parameters(operation)
    }
}

/// Word `word` of a block that holds `content`, counted in 8-byte words over its pieces in order: four bf16 values of magnitude 1/8
/// to 2, which attention can read as any K and V.
pub fn word(content: u64, word: u64) -> u64 {
    let bits = mix64(mix64(content).wrapping_add(word));
    // Exponents 124 to 127.
    bits & 0x81ff_81ff_81ff_81ff | 0x3e00_3e00_3e00_3e00
}

/// What a stamped block holds, pieces in order, as it also lies in the host pool.
pub fn reference(layout: &KvLayout, content: u64) -> Vec<u8> {
    (0..layout.block_bytes() / 8)
        .flat_map(|index| word(content, index).to_le_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::KvOrder;

    const LAYOUT: KvLayout = KvLayout {
        order: KvOrder::LayerMajor,
        block_count: 3,
        layers: 1,
        kv_heads: 1,
        block_tokens: 2,
        head_dim: 4,
    };

    #[test]
    fn a_stamp_depends_on_the_content_and_on_the_place() {
        // 2 pieces of 16 B: four words.
        let stamp = reference(&LAYOUT, 7);
        assert_eq!(stamp.len(), 32);
        assert_eq!(stamp[8..16], word(7, 1).to_le_bytes());
        assert_ne!(stamp, reference(&LAYOUT, 8));
        assert_ne!(word(7, 0), word(7, 1));
        // Neighbouring contents do not continue each other's words, as content + word alone would.
        assert_ne!(word(7, 1), word(8, 0));
    }

    #[test]
    fn a_stamp_is_kv_of_sane_size() {
        let layout = KvLayout {
            head_dim: 1024,
            ..LAYOUT
        };
        let values: Vec<f32> = reference(&layout, 7)
            .chunks_exact(2)
            .map(|pair| half::bf16::from_le_bytes([pair[0], pair[1]]).to_f32())
            .collect();
        assert!(values.iter().all(|x| (0.125..2.0).contains(&x.abs())));
        // 4,096 values of either sign and of size 0.7 or so: the mean has a standard deviation of 0.01.
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.1, "{mean}");
    }

    #[test]
    fn short_lists_and_a_misaligned_content_list_are_refused() {
        let good = BlockContents {
            pool: KvPool {
                layout: LAYOUT,
                view: View::new(256, LAYOUT.pool_bytes()),
            },
            blocks: View::new(0, 12),
            contents: View::new(0, 24),
            block_count: 3,
            ctas: 4,
        };
        assert!(good.check("stamp").is_ok());
        let short = BlockContents {
            contents: View::new(0, 23),
            ..good
        };
        assert!(matches!(
            short.check("stamp"),
            Err(ArgumentError::TooShort {
                name: "contents",
                need: 24,
                ..
            })
        ));
        let odd = BlockContents {
            contents: View::new(4, 24),
            ..good
        };
        assert!(matches!(
            odd.check("stamp"),
            Err(ArgumentError::NotMultiple {
                name: "contents",
                ..
            })
        ));
        let idle = BlockContents { ctas: 0, ..good };
        assert!(matches!(
            idle.check("stamp"),
            Err(ArgumentError::OutOfRange { name: "ctas", .. })
        ));
    }
}
