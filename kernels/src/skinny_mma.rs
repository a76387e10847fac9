//! The form of the skinny product for every GPU from compute capability 8.0 on: the table and the parameters of `skinny_mma.cuh`.

use crate::gpu::{Error, Kernel, Launch, Stream};
use crate::skinny_gemm::{Epilogue, SkinnyProduct};

/// Most rows of a tile, as many as the stages of the least GPU hold.
pub const TILES: [u32; 3] = [16, 64, 160];

const STAGES: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Parameters {
    input: u64,
    weight: u64,
    output: u64,
    rows: u32,
    columns: u32,
    inner: u32,
    epilogue: Epilogue,
}

/// Columns of a stage of the kernel for tiles of `most` rows.
fn depth(most: u32) -> u32 {
    match most {
        16 => 512,
        64 => 256,
        _ => 128,
    }
}

/// Warps for 16 rows of the weight.
fn shares(most: u32) -> u32 {
    match most {
        16 => 8,
        64 => 4,
        _ => 1,
    }
}

/// Dynamic shared memory of the kernel for `rows` of input and tiles of `most` \[bytes\].
pub fn shared_bytes(most: u32, rows: u32) -> u32 {
    STAGES * (most + rows) * depth(most) * 2
}

/// Submits `kernel`, built for tiles of `most` rows, with tiles of `tile`.
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
    [most, tile]: [u32; 2],
) -> Result<(), Error> {
    let launch = Launch {
        grid: [product.columns.div_ceil(tile), 1, 1],
        threads: 2 * tile * shares(most),
    };
    let parameters = Parameters {
        input: product.input.address(),
        weight: product.weight.address(),
        output: product.output.address(),
        rows: product.rows,
        columns: product.columns,
        inner: product.inner,
        epilogue: product.epilogue,
    };
    // SAFETY: 1. the struct mirrors `SkinnyArgs`. 2. is the caller's word.
    unsafe { kernel.launch(stream, launch, &parameters) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skinny_gemm::ROWS;

    #[test]
    fn stages_fit_into_the_shared_memory_of_the_least_gpu_and_sums_into_stages() {
        for most in TILES {
            for rows in ROWS {
                let held = shared_bytes(most, rows);
                assert!(held <= 99 << 10, "{most} for {rows} rows: {held}");
                let sums = shares(most) * rows * (most + 4) * 4;
                assert!(sums <= held, "{most} for {rows} rows: {sums} in {held}");
                assert!(2 * most * shares(most) <= 1024);
            }
        }
    }
}
