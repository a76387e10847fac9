//! How the blocks of a chunk cross the link.
//!
//! | method | pool | on the link |
//! |---|---|---|
//! | contiguous | block-major | one batched memcpy: a piece is a block |
//! | memcpy | layer-major | one memcpy for each piece |
//! | batch | layer-major | one batched memcpy |
//! | gather | layer-major | a kernel that reaches into pinned host memory |
//! | staged | layer-major | a kernel to or from a buffer in HBM, and one memcpy for each block |
//!
//! In the host pool a block is one run, whatever the method.

use super::lists::List;
use engine::device::BlockCopy;
use kernels::gather::{Gather, GatherBlocks};
use kernels::gpu::{BatchCopy, BatchMethod, Error, Event, Gpu, Piece, Stream, View};
use kernels::kv::{KvLayout, KvOrder, KvPool};
use kernels::scatter::{Scatter, ScatterBlocks};
use kernels::staged::{StagedBlocks, StagedCopy};
use model::Direction;
use results::spec::CopyMethod;
use std::fmt;

/// How copies are made: the run spec's choice.
pub type Method = CopyMethod;

/// CTAs of a kernel that reaches over the link, D2H and H2D: as many as fill it (`kernels/measurements/link.csv`).
const LINK_CTAS: [u32; 2] = [64, 128];
/// CTAs of a kernel between pool and staging buffer: enough for twice the link's rate, and few beside compute.
const STAGING_CTAS: u32 = 16;

/// The order of pieces in the HBM pool that a method copies from.
pub fn order(method: Method) -> KvOrder {
    match method {
        Method::Contiguous => KvOrder::BlockMajor,
        Method::Memcpy | Method::Batch | Method::Gather | Method::Staged => KvOrder::LayerMajor,
    }
}

/// One direction's way over the link.
pub(super) struct Mover {
    direction: Direction,
    way: Way,
}

enum Way {
    Pieces(BatchCopy, Vec<Piece>),
    Gather(Gather),
    Scatter(Scatter),
    Staged(StagedCopy, Vec<u32>),
}

/// A chunk, and what its copy needs besides.
pub(super) struct Moved<'a> {
    pub pool: KvPool,
    /// The whole host pool.
    pub host: View,
    pub blocks: &'a [BlockCopy],
    /// The same blocks where kernels can read them.
    pub list: Option<&'a List>,
    /// What the first byte must wait for; the stream of the copy does so already.
    pub after: &'a [&'a Event],
}

impl Mover {
    pub fn new(
        gpu: &Gpu,
        method: Method,
        direction: Direction,
        layout: &KvLayout,
        chunk_blocks: u32,
    ) -> Result<Self, Error> {
        let pieces = |batch| Way::Pieces(batch, Vec::new());
        let way = match (method, direction) {
            (Method::Contiguous | Method::Batch, _) => pieces(BatchCopy::new(gpu)),
            (Method::Memcpy, _) => {
                let mut batch = BatchCopy::new(gpu);
                batch.prefer(BatchMethod::Loop);
                pieces(batch)
            }
            (Method::Gather, Direction::D2h) => Way::Gather(Gather::load(gpu)?),
            (Method::Gather, _) => Way::Scatter(Scatter::load(gpu)?),
            (Method::Staged, _) => {
                // Half a chunk in each half of the buffer: the kernel of one runs beside the memcpys of the other.
                let half = chunk_blocks.div_ceil(2).max(1);
                let staged = StagedCopy::new(gpu, layout.block_bytes(), half, STAGING_CTAS)?;
                Way::Staged(staged, Vec::new())
            }
        };
        Ok(Self { direction, way })
    }

    /// Whether kernels must be told the blocks, in a [`List`].
    pub fn needs_list(&self) -> bool {
        !matches!(self.way, Way::Pieces(..))
    }

    /// Submits a chunk to `stream`. It is over when the stream that is returned has reached its present end.
    pub fn submit<'s>(
        &'s mut self,
        stream: &'s Stream,
        moved: &Moved<'_>,
    ) -> Result<&'s Stream, Error> {
        let block_count = moved.blocks.len() as u32;
        let list = || {
            moved.list.ok_or_else(|| Error::Cuda {
                call: "copy by a kernel",
                name: "was given no list of blocks".to_owned(),
            })
        };
        match &mut self.way {
            Way::Pieces(batch, pieces) => {
                pieces.clear();
                for block in moved.blocks {
                    push_pieces(pieces, self.direction, moved, block)?;
                }
                batch.submit(stream, pieces)?;
            }
            Way::Gather(gather) => {
                let list = list()?;
                let blocks = GatherBlocks {
                    pool: moved.pool,
                    slots: moved.host,
                    from: list.blocks,
                    to: list.places,
                    block_count,
                    ctas: LINK_CTAS[0],
                };
                gather.launch(stream, &blocks)?;
            }
            Way::Scatter(scatter) => {
                let list = list()?;
                let blocks = ScatterBlocks {
                    pool: moved.pool,
                    slots: moved.host,
                    from: list.places,
                    to: list.blocks,
                    block_count,
                    ctas: LINK_CTAS[1],
                };
                scatter.launch(stream, &blocks)?;
            }
            Way::Staged(staged, slots) => {
                let list = list()?;
                slots.clear();
                slots.extend(moved.blocks.iter().map(|block| match self.direction {
                    Direction::D2h => block.destination,
                    _ => block.source,
                }));
                let blocks = StagedBlocks {
                    pool: moved.pool,
                    host: moved.host,
                    blocks: list.blocks,
                    slots,
                };
                match self.direction {
                    Direction::D2h => staged.leave_after(stream, &blocks, moved.after)?,
                    _ => return staged.enter_apart(stream, &blocks),
                }
            }
        }
        Ok(stream)
    }
}

fn push_pieces(
    pieces: &mut Vec<Piece>,
    direction: Direction,
    moved: &Moved<'_>,
    block: &BlockCopy,
) -> Result<(), Error> {
    let (hbm, slot) = match direction {
        Direction::D2h => (block.source, block.destination),
        _ => (block.destination, block.source),
    };
    for run in runs(&moved.pool.layout, hbm, slot) {
        let device = moved.pool.view.slice(run.in_pool, run.bytes)?;
        let host = moved.host.slice(run.in_host, run.bytes)?;
        let (to, from) = match direction {
            Direction::D2h => (host, device),
            _ => (device, host),
        };
        pieces.push(Piece { to, from });
    }
    Ok(())
}

/// Bytes that lie together in both pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    in_pool: u64,
    in_host: u64,
    bytes: u64,
}

/// The runs of a block: one in a block-major pool, one for each piece in a layer-major one.
fn runs(layout: &KvLayout, block: u32, slot: u32) -> impl Iterator<Item = Run> {
    let (count, bytes) = match layout.order {
        KvOrder::BlockMajor => (1, layout.block_bytes()),
        KvOrder::LayerMajor => (layout.piece_count(), layout.piece_bytes()),
    };
    let in_host = u64::from(slot) * layout.block_bytes();
    (0..count).map(move |piece| Run {
        in_pool: layout.piece_offset(block, piece),
        in_host: in_host + u64::from(piece) * bytes,
        bytes,
    })
}

impl fmt::Display for Mover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.way {
            Way::Pieces(batch, _) => match batch.method() {
                BatchMethod::Second => "cuMemcpyBatchAsync_v2",
                BatchMethod::First => "cuMemcpyBatchAsync",
                BatchMethod::Loop => "cuMemcpyAsync for each piece",
            },
            Way::Gather(_) | Way::Scatter(_) => "a kernel over mapped host memory",
            Way::Staged(..) => "a kernel to a staging buffer, and cuMemcpyAsync for each block",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three blocks of two layers: 4 pieces of 2 heads * 2 tokens * 4 * 2 B = 32 B, 128 B a block.
    fn layout(order: KvOrder) -> KvLayout {
        KvLayout {
            order,
            block_count: 3,
            layers: 2,
            kv_heads: 2,
            block_tokens: 2,
            head_dim: 4,
        }
    }

    fn places(order: KvOrder) -> Vec<(u64, u64, u64)> {
        // HBM block 2, host slot 4.
        runs(&layout(order), 2, 4)
            .map(|run| (run.in_pool, run.in_host, run.bytes))
            .collect()
    }

    #[test]
    fn a_block_of_a_block_major_pool_is_one_run() {
        // Block 2 begins at 2 * 128 B, slot 4 at 4 * 128 B.
        assert_eq!(places(KvOrder::BlockMajor), [(256, 512, 128)]);
    }

    #[test]
    fn a_block_of_a_layer_major_pool_is_gathered_from_every_layer_in_order() {
        // Piece p of block 2 is at (p * 3 + 2) * 32 B; in the host the pieces follow each other.
        assert_eq!(
            places(KvOrder::LayerMajor),
            [
                (64, 512, 32),
                (160, 544, 32),
                (256, 576, 32),
                (352, 608, 32)
            ]
        );
    }

    #[test]
    fn only_the_contiguous_method_wants_blocks_in_one_run() {
        assert_eq!(order(Method::Contiguous), KvOrder::BlockMajor);
        for method in [
            Method::Memcpy,
            Method::Batch,
            Method::Gather,
            Method::Staged,
        ] {
            assert_eq!(order(method), KvOrder::LayerMajor, "{method:?}");
        }
    }
}
