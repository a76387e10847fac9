//! Products for few rows against double precision: every kernel, odd ends everywhere.

use half::bf16;
use kernels::gpu::Error;
use kernels::skinny_gemm::{self, Epilogue, SkinnyGemm, SkinnyProduct};

use crate::suite::{Suite, doubles, random};

/// Rounding to bf16 is at most 2^-8 = 3.9e-3; float sums of some thousand terms stay below 1e-5.
const BOUNDS: [f64; 2] = [4e-3, 1e-5];

pub fn check(suite: &mut Suite) -> Result<(), Error> {
    let kernel = SkinnyGemm::load(&suite.gpu)?;
    // Columns for each kernel of both forms, and two rounds of tiles; ends that fill no tile, no stage, no chunk of a warp, no 16 bytes.
    for (columns, inner) in [
        (16, 8),
        (280, 1096),
        (1003, 264),
        (1048, 4104),
        (4200, 520),
        (9008, 776),
        (20_008, 264),
        (22_400, 200),
        (27_024, 72),
        (33_008, 72),
        (40_005, 136),
    ] {
        for rows in [1, 3, 8, 9, 16, 17, 30, 32] {
            for epilogue in [
                Epilogue::Store,
                Epilogue::Add,
                Epilogue::Float,
                Epilogue::Gate,
            ] {
                if epilogue != Epilogue::Gate || columns % 16 == 0 {
                    one(suite, &kernel, [rows, columns, inner], epilogue)?;
                }
            }
        }
    }
    Ok(())
}

fn one(
    suite: &mut Suite,
    kernel: &SkinnyGemm,
    [rows, columns, inner]: [u32; 3],
    epilogue: Epilogue,
) -> Result<(), Error> {
    let (depth, line) = (inner as usize, columns as usize);
    let (input, weight) = (
        random(1, rows as usize * depth, 1.0),
        random(2, line * depth, 1.0),
    );
    let before = random(3, rows as usize * line, 8.0);
    let (input_gpu, weight_gpu) = (suite.upload(&input)?, suite.upload(&weight)?);
    let output = match epilogue {
        Epilogue::Add => suite.upload(&before)?,
        Epilogue::Float => suite.poisoned(4 * (rows * columns) as u64)?,
        Epilogue::Store => suite.poisoned(2 * (rows * columns) as u64)?,
        Epilogue::Gate => suite.poisoned((rows * columns) as u64)?,
    };
    let product = SkinnyProduct {
        input: input_gpu.view(),
        weight: weight_gpu.view(),
        output: output.view(),
        rows,
        columns,
        inner,
        epilogue,
    };
    kernel.launch(&suite.stream, &product)?;
    let have: Vec<f64> = if epilogue == Epilogue::Float {
        let have: Vec<f32> = suite.stream.download(output.view())?;
        have.into_iter().map(f64::from).collect()
    } else {
        doubles(&suite.stream.download::<bf16>(output.view())?)
    };
    // Large products are checked in a sample of their rows: the reference is slow.
    let sample = if line * depth > 1 << 20 { 13 } else { 1 };
    let width = have.len() / rows as usize;
    let (mut seen, mut want) = (Vec::new(), Vec::new());
    for row in (0..rows as usize).step_by(sample) {
        let before = &before[row * line..][..line];
        seen.extend_from_slice(&have[row * width..][..width]);
        let row = &input[row * depth..][..depth];
        want.extend(skinny_gemm::reference(row, &weight, epilogue, before));
    }
    let bound = BOUNDS[usize::from(epilogue == Epilogue::Float)];
    let name = format!("skinny {rows} x {columns} x {inner}, {epilogue:?}");
    let finite = have.iter().all(|x| x.is_finite());
    suite.holds(&format!("{name}: every element"), finite, "written");
    suite.close(&name, &seen, &want, bound);
    Ok(())
}
