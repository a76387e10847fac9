//! Gather: paged KV blocks from HBM into contiguous slots, in host memory or in a staging buffer.
//!
//! Shapes, grid and traffic: `gather.cu`. Block ids and slot ids live in GPU memory and are trusted:
//! the launcher cannot read them, so a caller hands over only ids inside the pool.

use crate::arguments::{holds, within};
use crate::gpu::{ArgumentError, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image};
use crate::kv::{KvLayout, KvPool, PoolParameters};

/// The shipped kernel.
pub const IMAGE: Image = image!("gather");

/// Moves paged KV blocks into slots.
pub struct Gather {
    kernel: Kernel,
}

/// One gather: block `from[i]` of `pool` goes to slot `to[i]` of `slots`, for all i.
#[derive(Debug, Clone, Copy)]
pub struct GatherBlocks {
    /// Where the blocks are.
    pub pool: KvPool,
    /// `[slot_count][block_bytes]`: pinned host memory or HBM.
    pub slots: View,
    /// `[block_count]` int32: block ids.
    pub from: View,
    /// `[block_count]` int32: slot ids, none twice.
    pub to: View,
    /// Blocks to move; zero submits nothing.
    pub block_count: u32,
    /// CTAs: few leave room for compute, many fill the link (see `measurements/`).
    pub ctas: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Parameters {
    pool: PoolParameters,
    slots: u64,
    from: u64,
    to: u64,
    block_count: u32,
}

impl Gather {
    /// Loads the kernel.
    ///
    /// # Errors
    /// [`Error::Module`] if the GPU takes neither of its forms.
    pub fn load(gpu: &Gpu) -> Result<Self, Error> {
        Ok(Self {
            kernel: Module::load(gpu, &IMAGE)?.kernel("gather", 0)?,
        })
    }

    /// Submits the gather to `stream`.
    ///
    /// # Errors
    /// A typed argument error for buffers too short or misaligned, or what the driver refuses.
    pub fn launch(&self, stream: &Stream, blocks: &GatherBlocks) -> Result<(), Error> {
        let parameters = blocks.check()?;
        if blocks.block_count == 0 {
            return Ok(());
        }
        let launch = Launch {
            grid: [blocks.ctas, 1, 1],
            threads: 256,
        };
        // SAFETY: 1. the struct mirrors `GatherArgs`. 2. `check` covers all but the ids, which the caller owns.
        unsafe { self.kernel.launch(stream, launch, &parameters) }
    }
}

impl GatherBlocks {
    fn check(&self) -> Result<Parameters, ArgumentError> {
        let operation = "gather";
        let ids = 4 * u64::from(self.block_count);
        let pool = self.pool.parameters(operation)?;
        holds(
            operation,
            "slots",
            self.slots,
            self.pool.layout.block_bytes(),
            16,
        )?;
        holds(operation, "from", self.from, ids, 4)?;
        holds(operation, "to", self.to, ids, 4)?;
        within(operation, "ctas", self.ctas.into(), 1, 1 << 16)?;
        Ok(Parameters {
            pool,
            slots: self.slots.address(),
            from: self.from.address(),
            to: self.to.address(),
            block_count: self.block_count,
        })
    }
}

/// What [`Gather`] computes, on the CPU.
///
/// # Panics
/// If an id is outside its buffer.
pub fn reference(layout: &KvLayout, pool: &[u8], slots: &mut [u8], from: &[i32], to: &[i32]) {
    let piece_bytes = layout.piece_bytes() as usize;
    for (&block, &slot) in from.iter().zip(to) {
        for piece in 0..layout.piece_count() {
            let source = layout.piece_offset(block as u32, piece) as usize;
            let target =
                slot as usize * layout.block_bytes() as usize + piece as usize * piece_bytes;
            slots[target..target + piece_bytes]
                .copy_from_slice(&pool[source..source + piece_bytes]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::KvOrder;

    #[test]
    fn the_reference_puts_pieces_in_order_whatever_the_layout() {
        // Two layers, two heads, two tokens of 4: 32 B a piece, 4 pieces, 128 B a block; 3 blocks.
        for order in [KvOrder::LayerMajor, KvOrder::BlockMajor] {
            let layout = KvLayout {
                order,
                block_count: 3,
                layers: 2,
                kv_heads: 2,
                block_tokens: 2,
                head_dim: 4,
            };
            let mut pool = vec![0_u8; layout.pool_bytes() as usize];
            for block in 0..3 {
                for piece in 0..4 {
                    let at = layout.piece_offset(block, piece) as usize;
                    pool[at..at + 32].fill((10 * block + piece) as u8);
                }
            }
            let mut slots = vec![255_u8; 2 * 128];
            reference(&layout, &pool, &mut slots, &[2], &[1]);
            assert!(
                slots[..128].iter().all(|&byte| byte == 255),
                "slot 0 was not asked for"
            );
            let firsts: Vec<u8> = slots[128..].iter().step_by(32).copied().collect();
            assert_eq!(firsts, [20, 21, 22, 23], "{order:?}");
        }
    }

    #[test]
    fn short_lists_odd_addresses_and_empty_grids_are_refused() {
        let layout = KvLayout {
            order: KvOrder::LayerMajor,
            block_count: 3,
            layers: 1,
            kv_heads: 1,
            block_tokens: 2,
            head_dim: 4,
        };
        let good = GatherBlocks {
            pool: KvPool {
                layout,
                view: View::new(256, layout.pool_bytes()),
            },
            slots: View::new(512, layout.block_bytes()),
            from: View::new(0, 12),
            to: View::new(0, 12),
            block_count: 3,
            ctas: 1,
        };
        assert!(good.check().is_ok());
        let named = |bad: GatherBlocks| bad.check().expect_err("refused").to_string();
        assert!(
            named(GatherBlocks {
                from: View::new(0, 8),
                ..good
            })
            .contains("`from` has 8 bytes")
        );
        assert!(
            named(GatherBlocks {
                to: View::new(2, 12),
                ..good
            })
            .contains("`to` is 2")
        );
        assert!(
            named(GatherBlocks {
                slots: View::new(512, 31),
                ..good
            })
            .contains("`slots` has 31 bytes")
        );
        assert!(named(GatherBlocks { ctas: 0, ..good }).contains("`ctas` is 0"));
    }
}
