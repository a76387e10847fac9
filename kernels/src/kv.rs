//! Where a paged KV block's bytes lie in HBM.
//!
//! ```text
//!   block  = 2 * layers pieces; piece 2l is K, piece 2l + 1 is V of layer l
//!   piece  = [kv_heads][block_tokens][head_dim]  bf16
//!
//!   LayerMajor:  [layer][K, V][block]  a layer's K is one array, as serving engines keep it
//!   BlockMajor:  [block][layer][K, V]  a block is one contiguous run: one copy moves it
//! ```
//!
//! Inside a piece the heads come first, so one head's rows are contiguous: attention reads them in runs
//! of 4 KiB (16 tokens of 128) rather than 256 B.
//! In the host pool a block is always contiguous, pieces in order ([`KvLayout::block_bytes`] each).

use crate::arguments::{holds, multiple, within};
use crate::gpu::{ArgumentError, View};

/// Whether the pool is ordered by layer or by block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvOrder {
    /// `[layer][K, V][block]`.
    LayerMajor,
    /// `[block][layer][K, V]`.
    BlockMajor,
}

/// Shape of a pool of paged KV blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvLayout {
    /// Order of the pieces in the pool.
    pub order: KvOrder,
    /// Blocks in the pool.
    pub block_count: u32,
    /// Layers of the model.
    pub layers: u32,
    /// Heads of K and V.
    pub kv_heads: u32,
    /// Tokens of a block; a power of two from 16 on for the attention kernels.
    pub block_tokens: u32,
    /// Elements of a head.
    pub head_dim: u32,
}

impl KvLayout {
    /// Bytes of the K or the V of one layer in one block.
    pub fn piece_bytes(&self) -> u64 {
        2 * u64::from(self.kv_heads) * u64::from(self.block_tokens) * u64::from(self.head_dim)
    }

    /// Pieces of a block: K and V of every layer.
    pub fn piece_count(&self) -> u32 {
        2 * self.layers
    }

    /// Bytes of a block, all layers; also its length in the host pool.
    pub fn block_bytes(&self) -> u64 {
        self.piece_bytes() * u64::from(self.piece_count())
    }

    /// Bytes of the pool.
    pub fn pool_bytes(&self) -> u64 {
        self.block_bytes() * u64::from(self.block_count)
    }

    /// Bytes from a piece of one block to the same piece of the next.
    pub fn block_stride(&self) -> u64 {
        match self.order {
            KvOrder::LayerMajor => self.piece_bytes(),
            KvOrder::BlockMajor => self.block_bytes(),
        }
    }

    /// Bytes from one piece of a block to the next.
    pub fn piece_stride(&self) -> u64 {
        match self.order {
            KvOrder::LayerMajor => self.piece_bytes() * u64::from(self.block_count),
            KvOrder::BlockMajor => self.piece_bytes(),
        }
    }

    /// Bytes from the start of the pool to piece `piece` of block `block`.
    pub fn piece_offset(&self, block: u32, piece: u32) -> u64 {
        u64::from(block) * self.block_stride() + u64::from(piece) * self.piece_stride()
    }
}

/// A pool of paged KV blocks in HBM.
#[derive(Debug, Clone, Copy)]
pub struct KvPool {
    /// Its shape.
    pub layout: KvLayout,
    /// Its memory.
    pub view: View,
}

/// `struct Pool` of `paged.cuh`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolParameters {
    base: u64,
    block_stride: u64,
    piece_stride: u64,
    piece_count: u32,
    piece_bytes: u32,
}

impl KvPool {
    /// K and V of `layer`: address of block 0, for the kernels that work on one layer.
    pub(crate) fn layer_addresses(&self, layer: u32) -> (u64, u64) {
        let at = |piece| self.view.address() + self.layout.piece_offset(0, piece);
        (at(2 * layer), at(2 * layer + 1))
    }

    /// The shape as the copy and integrity kernels take it.
    pub(crate) fn parameters(
        &self,
        operation: &'static str,
    ) -> Result<PoolParameters, ArgumentError> {
        let layout = &self.layout;
        within(
            operation,
            "piece_bytes",
            layout.piece_bytes(),
            16,
            u64::from(u32::MAX),
        )?;
        multiple(operation, "piece_bytes", layout.piece_bytes(), 16)?;
        within(operation, "layers", layout.layers.into(), 1, 1 << 20)?;
        holds(operation, "pool", self.view, layout.pool_bytes(), 16)?;
        Ok(PoolParameters {
            base: self.view.address(),
            block_stride: layout.block_stride(),
            piece_stride: layout.piece_stride(),
            piece_count: layout.piece_count(),
            piece_bytes: layout.piece_bytes() as u32,
        })
    }

    /// Checks what the kernels of one layer need, and returns log2 of `block_tokens`.
    pub(crate) fn check_layer(
        &self,
        operation: &'static str,
        layer: u32,
    ) -> Result<u32, ArgumentError> {
        let layout = &self.layout;
        within(
            operation,
            "layer",
            layer.into(),
            0,
            u64::from(layout.layers).saturating_sub(1),
        )?;
        holds(operation, "pool", self.view, layout.pool_bytes(), 16)?;
        if layout.block_tokens < 16 || !layout.block_tokens.is_power_of_two() {
            let (name, value) = ("block_tokens", layout.block_tokens.into());
            return Err(ArgumentError::Unsupported {
                operation,
                name,
                value,
                known: "powers of two from 16 on",
            });
        }
        Ok(layout.block_tokens.ilog2())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llama_2_7b(order: KvOrder) -> KvLayout {
        KvLayout {
            order,
            block_count: 10,
            layers: 32,
            kv_heads: 32,
            block_tokens: 16,
            head_dim: 128,
        }
    }

    #[test]
    fn a_block_of_llama_2_7b_is_8_mib_in_64_pieces_of_128_kib() {
        // 16 tokens * 32 heads * 128 * 2 B = 131,072 B a piece; * 2 * 32 layers = 8,388,608 B.
        let layout = llama_2_7b(KvOrder::LayerMajor);
        assert_eq!(
            (layout.piece_bytes(), layout.piece_count()),
            (128 << 10, 64)
        );
        assert_eq!(layout.block_bytes(), 8 << 20);
        assert_eq!(layout.pool_bytes(), 80 << 20);
    }

    #[test]
    fn both_orders_put_every_piece_in_its_own_place() {
        for order in [KvOrder::LayerMajor, KvOrder::BlockMajor] {
            let layout = KvLayout {
                block_count: 3,
                layers: 2,
                ..llama_2_7b(order)
            };
            let mut offsets: Vec<u64> = (0..3)
                .flat_map(|block| (0..4).map(move |piece| layout.piece_offset(block, piece)))
                .collect();
            offsets.sort_unstable();
            // 3 blocks * 4 pieces tile the pool without gaps.
            let want: Vec<u64> = (0..12).map(|i| i * layout.piece_bytes()).collect();
            assert_eq!(offsets, want, "{order:?}");
        }
    }

    #[test]
    fn a_block_major_block_is_one_run_and_a_layer_major_layer_is_one_array() {
        let by_block = llama_2_7b(KvOrder::BlockMajor);
        assert_eq!(by_block.piece_offset(2, 5), 2 * (8 << 20) + 5 * (128 << 10));
        let by_layer = llama_2_7b(KvOrder::LayerMajor);
        assert_eq!(by_layer.piece_offset(2, 5), (5 * 10 + 2) * (128 << 10));
    }

    #[test]
    fn a_pool_too_small_for_its_shape_is_refused() {
        let layout = llama_2_7b(KvOrder::BlockMajor);
        let short = KvPool {
            layout,
            view: View::new(256, layout.pool_bytes() - 1),
        };
        assert!(matches!(
            short.parameters("gather"),
            Err(ArgumentError::TooShort { name: "pool", .. })
        ));
        let whole = KvPool {
            layout,
            view: View::new(256, layout.pool_bytes()),
        };
        assert!(whole.parameters("gather").is_ok());
    }

    #[test]
    fn a_layer_beyond_the_model_and_an_odd_block_length_are_refused() {
        let layout = llama_2_7b(KvOrder::BlockMajor);
        let pool = KvPool {
            layout,
            view: View::new(256, layout.pool_bytes()),
        };
        assert_eq!(pool.check_layer("rope", 31).unwrap(), 4);
        assert!(matches!(
            pool.check_layer("rope", 32),
            Err(ArgumentError::OutOfRange { name: "layer", .. })
        ));
        let layout = KvLayout {
            block_tokens: 24,
            ..layout
        };
        let pool = KvPool {
            layout,
            view: View::new(256, layout.pool_bytes()),
        };
        assert!(matches!(
            pool.check_layer("rope", 0),
            Err(ArgumentError::Unsupported { value: 24, .. })
        ));
    }
}
