//! Scatter: contiguous slots, in host memory or in a staging buffer, into paged KV blocks in HBM.
//!
//! Shapes, grid and traffic: `scatter.cu`. Block ids and slot ids live in GPU memory and are trusted:
//! the launcher cannot read them, so a caller hands over only ids inside the pool.

use crate::arguments::{holds, within};
use crate::gpu::{ArgumentError, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image};
use crate::kv::{KvLayout, KvPool, PoolParameters};

/// The shipped kernel.
pub const IMAGE: Image = image!("scatter");

/// Moves slots into paged KV blocks.
pub struct Scatter {
    kernel: Kernel,
}

/// One scatter: slot `from[i]` of `slots` goes to block `to[i]` of `pool`, for all i.
#[derive(Debug, Clone, Copy)]
pub struct ScatterBlocks {
    /// Where the blocks go.
    pub pool: KvPool,
    /// `[slot_count][block_bytes]`: pinned host memory or HBM.
    pub slots: View,
    /// `[block_count]` int32: slot ids.
    pub from: View,
    /// `[block_count]` int32: block ids, none twice.
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

impl Scatter {
    /// Loads the kernel.
    ///
    /// # Errors
    /// [`Error::Module`] if the GPU takes neither of its forms.
    pub fn load(gpu: &Gpu) -> Result<Self, Error> {
        Ok(Self {
            kernel: Module::load(gpu, &IMAGE)?.kernel("scatter", 0)?,
        })
    }

    /// Submits the scatter to `stream`.
    ///
    /// # Errors
    /// A typed argument error for buffers too short or misaligned, or what the driver refuses.
    pub fn launch(&self, stream: &Stream, blocks: &ScatterBlocks) -> Result<(), Error> {
        let parameters = blocks.check()?;
        if blocks.block_count == 0 {
            return Ok(());
        }
        let launch = Launch {
            grid: [blocks.ctas, 1, 1],
            threads: 256,
        };
        // SAFETY: 1. the struct mirrors `ScatterArgs`. 2. `check` covers all but the ids, which the caller owns.
        unsafe { self.kernel.launch(stream, launch, &parameters) }
    }
}

impl ScatterBlocks {
    fn check(&self) -> Result<Parameters, ArgumentError> {
        let operation = "scatter";
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

/// What [`Scatter`] computes, on the CPU.
///
/// # Panics
/// If an id is outside its buffer.
pub fn reference(layout: &KvLayout, slots: &[u8], pool: &mut [u8], from: &[i32], to: &[i32]) {
    let piece_bytes = layout.piece_bytes() as usize;
    for (&slot, &block) in from.iter().zip(to) {
        for piece in 0..layout.piece_count() {
            let source =
                slot as usize * layout.block_bytes() as usize + piece as usize * piece_bytes;
            let target = layout.piece_offset(block as u32, piece) as usize;
            pool[target..target + piece_bytes]
                .copy_from_slice(&slots[source..source + piece_bytes]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::KvOrder;

    #[test]
    fn the_reference_undoes_a_gather_and_touches_no_other_block() {
        for order in [KvOrder::LayerMajor, KvOrder::BlockMajor] {
            let layout = KvLayout {
                order,
                block_count: 3,
                layers: 2,
                kv_heads: 2,
                block_tokens: 2,
                head_dim: 4,
            };
            let before: Vec<u8> = (0..layout.pool_bytes()).map(|i| (i % 251) as u8).collect();
            let mut slots = vec![0_u8; 2 * layout.block_bytes() as usize];
            crate::gather::reference(&layout, &before, &mut slots, &[2, 0], &[0, 1]);
            let mut after = before.clone();
            for block in [0, 2] {
                for piece in 0..4 {
                    let at = layout.piece_offset(block, piece) as usize;
                    after[at..at + 32].fill(0);
                }
            }
            assert_ne!(after, before);
            reference(&layout, &slots, &mut after, &[1, 0], &[0, 2]);
            assert_eq!(after, before, "{order:?}");
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
        let good = ScatterBlocks {
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
        let named = |bad: ScatterBlocks| bad.check().expect_err("refused").to_string();
        assert!(
            named(ScatterBlocks {
                from: View::new(0, 8),
                ..good
            })
            .contains("`from` has 8 bytes")
        );
        assert!(
            named(ScatterBlocks {
                to: View::new(2, 12),
                ..good
            })
            .contains("`to` is 2")
        );
        assert!(
            named(ScatterBlocks {
                slots: View::new(512, 31),
                ..good
            })
            .contains("`slots` has 31 bytes")
        );
        assert!(named(ScatterBlocks { ctas: 0, ..good }).contains("`ctas` is 0"));
    }
}
