//! The form of the skinny product for compute capability 9.0: the table and the parameters of `skinny_wgmma.cuh`.

use crate::gpu::{Error, Kernel, Launch, Stream, TensorMap};
use crate::skinny_gemm::{Epilogue, SkinnyProduct};

/// Most rows of a tile: whole blocks of a warpgroup's product.
pub const TILES: [u32; 4] = [64, 128, 192, 256];

/// Dynamic shared memory of every kernel \[bytes\]; barriers take 256 bytes of the 227 KiB beside it.
pub const SHARED_BYTES: u32 = 226 << 10;

/// Bytes of [`SHARED_BYTES`] that are no stage: what the alignment to 1,024 takes, and what the last block reads beyond its tile, at most
/// 48 rows.
const BEYOND_BYTES: u32 = 1024 + 48 * BOX_ROW_BYTES;

const BOX_ROW_BYTES: u32 = 2 * TensorMap::BOX_COLUMNS;

/// Threads of a CTA: a warpgroup that multiplies, and two warps that load.
const THREADS: u32 = 192;

/// Most stages of the ring: barriers of the kernel.
const STAGES_MAX: u32 = 16;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Parameters {
    input: TensorMap,
    weight: TensorMap,
    output: u64,
    rows: u32,
    columns: u32,
    inner: u32,
    tile: u32,
    stages: u32,
    epilogue: Epilogue,
}

/// Boxes of a stage.
fn boxes(most: u32) -> u32 {
    if most < 256 { 2 } else { 1 }
}

/// Stages of the ring for tiles of `tile` rows in the kernel for `built` rows of input and tiles of `most`.
fn stages(most: u32, built: u32, tile: u32) -> u32 {
    let stage_bytes = boxes(most) * (built + tile) * BOX_ROW_BYTES;
    STAGES_MAX.min((SHARED_BYTES - BEYOND_BYTES) / stage_bytes)
}

/// Submits `kernel`, built for `built` rows of input and tiles of `most` rows, with tiles of `tile`.
///
/// # Safety
/// The buffers of `product` hold its shapes.
///
/// # Errors
/// What the driver refuses.
pub unsafe fn launch(
    kernel: &Kernel,
    stream: &Stream,
    product: &SkinnyProduct,
    [built, most, tile]: [u32; 3],
) -> Result<(), Error> {
    let launch = Launch {
        grid: [product.columns.div_ceil(tile), 1, 1],
        threads: THREADS,
    };
    let parameters = Parameters {
        input: TensorMap::new(product.input, product.rows, product.inner, built)?,
        weight: TensorMap::new(product.weight, product.columns, product.inner, tile)?,
        output: product.output.address(),
        rows: product.rows,
        columns: product.columns,
        inner: product.inner,
        tile,
        stages: stages(most, built, tile),
        epilogue: product.epilogue,
    };
    // SAFETY: 1. the struct mirrors `SkinnyArgs`. 2. is the caller's word. 3. before it waits it reads the weight alone, which nobody
    // writes; every thread that goes on to touch something else waits.
    unsafe { kernel.launch_overlapping(stream, launch, &parameters) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skinny_gemm::ROWS;

    #[test]
    fn a_ring_has_two_stages_or_more_and_leaves_what_a_block_reads_beyond() {
        for most in TILES {
            for built in ROWS {
                for tile in (16..=most).step_by(16) {
                    let count = stages(most, built, tile);
                    assert!((2..=STAGES_MAX).contains(&count), "{most}, {built}, {tile}");
                    let ring = count * boxes(most) * (built + tile) * BOX_ROW_BYTES;
                    let sums = built * (tile + 4) * 4;
                    assert!(sums <= SHARED_BYTES - BEYOND_BYTES, "{sums}");
                    // The last block of the last box, where the tile is what the launcher gives this kernel.
                    if tile > most - 64 {
                        let beyond = tile.next_multiple_of(64) - tile;
                        let end = 1024 + ring + beyond * BOX_ROW_BYTES;
                        assert!(end <= SHARED_BYTES, "{most}, {built}, {tile}: {end}");
                    }
                }
            }
        }
    }
}
