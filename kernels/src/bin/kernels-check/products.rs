//! cuBLASLt's products against double precision.

use half::bf16;
use kernels::gemm::{self, Gemm, GemmOutput, GemmShape};
use kernels::gpu::Error;

use crate::suite::{Suite, doubles, random};

pub fn check(suite: &mut Suite) -> Result<(), Error> {
    let gemm = Gemm::new(&suite.gpu)?;
    for (rows, columns, inner) in [(1, 512, 256), (7, 1032, 520), (129, 4096, 264)] {
        for output in [GemmOutput::Bf16, GemmOutput::Float] {
            for accumulate in [false, true] {
                let shape = GemmShape {
                    rows,
                    columns,
                    inner,
                    output,
                    accumulate,
                };
                one_shape(suite, &gemm, shape)?;
            }
        }
    }
    Ok(())
}

fn product(input: &[bf16], weight: &[bf16], inner: usize) -> Vec<f64> {
    let row = |x| weight.chunks(inner).map(move |w| gemm::reference(x, w));
    input.chunks(inner).flat_map(row).collect()
}

fn one_shape(suite: &mut Suite, gemm: &Gemm, shape: GemmShape) -> Result<(), Error> {
    let (rows, columns, inner) = (
        shape.rows as usize,
        shape.columns as usize,
        shape.inner as usize,
    );
    let (input, weight) = (
        random(1, rows * inner, 1.0),
        random(2, columns * inner, 1.0),
    );
    let (input_gpu, weight_gpu) = (suite.upload(&input)?, suite.upload(&weight)?);
    // Float sums of a few hundred terms stay below 1e-5; rounding to bf16 is at most 2^-8 = 3.9e-3.
    let (size, bound) = match shape.output {
        GemmOutput::Bf16 => (2, 4e-3),
        GemmOutput::Float => (4, 1e-5),
    };
    let output = suite.poisoned((size * rows * columns) as u64)?;
    // What is added to; not-a-number where nothing may be.
    let before = random(3, rows * columns, 1.0);
    let prepare = |suite: &Suite| match (shape.accumulate, shape.output) {
        (false, _) => suite.stream.fill(output.view(), 0xff),
        (true, GemmOutput::Bf16) => suite.stream.upload(output.view(), &before),
        (true, GemmOutput::Float) => {
            let before: Vec<f32> = before.iter().map(|x| x.to_f32()).collect();
            suite.stream.upload(output.view(), &before)
        }
    };
    let download = |suite: &Suite| -> Result<Vec<f64>, Error> {
        Ok(match shape.output {
            GemmOutput::Bf16 => doubles(&suite.stream.download::<bf16>(output.view())?),
            GemmOutput::Float => suite
                .stream
                .download::<f32>(output.view())?
                .into_iter()
                .map(f64::from)
                .collect(),
        })
    };
    let mut want = product(&input, &weight, inner);
    if shape.accumulate {
        want.iter_mut()
            .zip(&before)
            .for_each(|(x, b)| *x += b.to_f64());
    }
    let mut plan = gemm.plan(shape)?;
    let [input, weight] = [input_gpu.view(), weight_gpu.view()];
    for tuned in [false, true] {
        if tuned {
            let output = output.view();
            gemm.tune(&suite.stream, &mut plan, input, &[weight], output, &|| {
                Ok(())
            })?;
        }
        prepare(suite)?;
        gemm.launch(&suite.stream, &plan, input, weight, output.view())?;
        let sum = if shape.accumulate {
            "accumulated"
        } else {
            "stored"
        };
        let by = if tuned { "tuned" } else { "first guess" };
        let name = format!(
            "gemm {rows} x {columns} x {inner}, {:?}, {sum}, {by}",
            shape.output
        );
        let have = download(suite)?;
        suite.close(&name, &have, &want, bound);
    }
    Ok(())
}
