//! The element-wise kernels against their references, in sizes that do not divide the grid.

use half::bf16;
use kernels::argmax::{self, Argmax, ArgmaxRows};
use kernels::gpu::{DeviceBuffer, Error, Event, HostPool};
use kernels::occupy::{self, Occupy};
use kernels::random::{self, Random};
use kernels::rms_norm::{self, RmsNorm, RmsNormRows};
use kernels::silu_mul::{self, SiluMul, SiluMulRows};
use kernels::step_inputs::{self, InputLists, StepInputs};
use kernels::take_rows::{self, RowsToTake, TakeRows};

use crate::suite::{Suite, doubles, random as draw};

/// Rounding to bf16 (7 bits after the point) is at most 2^-8 = 3.9e-3 of an element, so of the norm.
pub const BF16_BOUND: f64 = 4e-3;

pub fn check(suite: &mut Suite) -> Result<(), Error> {
    check_random(suite)?;
    for (rows, hidden) in [(1, 8), (3, 520), (37, 4096), (5, 16_384)] {
        check_rms_norm(suite, rows, hidden, false)?;
        check_rms_norm(suite, rows, hidden, true)?;
    }
    for (rows, width) in [(1, 8), (3, 2056), (37, 11_008)] {
        check_silu_mul(suite, rows, width)?;
    }
    check_take_rows(suite)?;
    check_step_inputs(suite)?;
    for width in [1, 31, 513, 32_000] {
        check_argmax(suite, width)?;
    }
    check_occupy(suite)
}

fn check_random(suite: &mut Suite) -> Result<(), Error> {
    let kernel = Random::load(&suite.gpu)?;
    let output = suite.poisoned(2 * 10_008)?;
    kernel.fill(&suite.stream, output.view(), 42, 0.02)?;
    let have: Vec<u16> = suite.stream.download(output.view())?;
    let want: Vec<u16> = (0..10_008)
        .map(|i| random::reference(42, i, 0.02).to_bits())
        .collect();
    suite.equal("random, 10,008 weights bit for bit", &have, &want);
    Ok(())
}

fn check_rms_norm(
    suite: &mut Suite,
    rows: usize,
    hidden: usize,
    with_residual: bool,
) -> Result<(), Error> {
    let kernel = RmsNorm::load(&suite.gpu)?;
    let (input, weight) = (draw(1, rows * hidden, 2.0), draw(2, hidden, 1.0));
    let residual = draw(3, rows * hidden, 2.0);
    let (input_gpu, weight_gpu, residual_gpu) = (
        suite.upload(&input)?,
        suite.upload(&weight)?,
        suite.upload(&residual)?,
    );
    let output = suite.poisoned(2 * (rows * hidden) as u64)?;
    kernel.launch(
        &suite.stream,
        &RmsNormRows {
            input: input_gpu.view(),
            residual: with_residual.then(|| residual_gpu.view()),
            weight: weight_gpu.view(),
            output: output.view(),
            row_count: rows as u32,
            hidden: hidden as u32,
            epsilon: 1e-5,
        },
    )?;
    let have: Vec<bf16> = suite.stream.download(output.view())?;
    let (mut sums, mut want) = (Vec::new(), Vec::new());
    for (x, r) in input.chunks(hidden).zip(residual.chunks(hidden)) {
        let (sum, row) = rms_norm::reference(x, with_residual.then_some(r), &weight, 1e-5);
        sums.extend(sum);
        want.extend(row);
    }
    let name = format!("rms_norm {rows} x {hidden}, residual {with_residual}");
    suite.close(&name, &doubles(&have), &want, BF16_BOUND);
    if with_residual {
        let stored: Vec<bf16> = suite.stream.download(residual_gpu.view())?;
        suite.equal(&format!("{name}: the sum, bit for bit"), &stored, &sums);
    }
    Ok(())
}

fn check_silu_mul(suite: &mut Suite, rows: usize, width: usize) -> Result<(), Error> {
    let kernel = SiluMul::load(&suite.gpu)?;
    let gate_up = draw(4, rows * 2 * width, 8.0);
    let input = suite.upload(&gate_up)?;
    let output = suite.poisoned(2 * (rows * width) as u64)?;
    let call = SiluMulRows {
        gate_up: input.view(),
        output: output.view(),
        row_count: rows as u32,
        width: width as u32,
    };
    kernel.launch(&suite.stream, &call)?;
    let have: Vec<bf16> = suite.stream.download(output.view())?;
    let want: Vec<f64> = gate_up
        .chunks(2 * width)
        .flat_map(silu_mul::reference)
        .collect();
    suite.close(
        &format!("silu_mul {rows} x {width}"),
        &doubles(&have),
        &want,
        BF16_BOUND,
    );
    Ok(())
}

fn check_take_rows(suite: &mut Suite) -> Result<(), Error> {
    let kernel = TakeRows::load(&suite.gpu)?;
    let (table_rows, width) = (19, 4104);
    let table = draw(6, table_rows * width, 1.0);
    let ids = [18, 0, 7, 7, 3];
    let (table_gpu, ids_gpu) = (suite.upload(&table)?, suite.upload(&ids)?);
    let output = suite.poisoned((2 * ids.len() * width) as u64)?;
    kernel.launch(
        &suite.stream,
        &RowsToTake {
            table: table_gpu.view(),
            ids: ids_gpu.view(),
            output: output.view(),
            row_count: ids.len() as u32,
            width: width as u32,
        },
    )?;
    let have: Vec<bf16> = suite.stream.download(output.view())?;
    suite.equal(
        "take_rows 5 x 4104",
        &have,
        &take_rows::reference(&table, &ids, width),
    );
    Ok(())
}

fn check_step_inputs(suite: &mut Suite) -> Result<(), Error> {
    let kernel = StepInputs::load(&suite.gpu)?;
    let (word_count, row_count, row_words, row_stride) = (1037, 19, 33, 40);
    let from: Vec<u32> = (0..word_count + row_count * row_words)
        .map(|i| i * 7 + 1)
        .collect();
    let bytes: Vec<u8> = from.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut host = HostPool::new(&suite.gpu, bytes.len() as u64, 1, &mut |_| ())?;
    host.write(0, &bytes);
    let (words, rows) = (
        suite.poisoned(4 * u64::from(word_count))?,
        suite.poisoned(4 * u64::from(row_count * row_stride))?,
    );
    let lists = InputLists {
        from: host.view(),
        words: words.view(),
        rows: rows.view(),
        word_count,
        row_count,
        row_words,
        row_stride,
    };
    kernel.launch(&suite.stream, &lists)?;
    let have: [Vec<u32>; 2] = [
        suite.stream.download(words.view())?,
        suite.stream.download(rows.view())?,
    ];
    let mut want = [
        vec![0; word_count as usize],
        vec![u32::MAX; (row_count * row_stride) as usize],
    ];
    let [words, rows] = &mut want;
    step_inputs::reference(&from, words, rows, row_words as usize, row_stride as usize);
    suite.equal(
        "step_inputs 1037 words, 19 x 33 of 40",
        &have.concat(),
        &want.concat(),
    );
    Ok(())
}

fn check_argmax(suite: &mut Suite, width: usize) -> Result<(), Error> {
    let kernel = Argmax::load(&suite.gpu)?;
    // Seven rows of bf16 values, where ties abound; one of them all NaN, one with a NaN in front.
    let mut logits: Vec<f32> = draw(8, 7 * width, 1.0).iter().map(|x| x.to_f32()).collect();
    logits[..width].fill(f32::NAN);
    logits[width] = f32::NAN;
    let input = suite.upload(&logits)?;
    let output = suite.poisoned(28)?;
    kernel.launch(
        &suite.stream,
        &ArgmaxRows {
            logits: input.view(),
            output: output.view(),
            row_count: 7,
            width: width as u32,
        },
    )?;
    let have: Vec<i32> = suite.stream.download(output.view())?;
    let want: Vec<i32> = logits.chunks(width).map(argmax::reference).collect();
    suite.equal(&format!("argmax 7 x {width}"), &have, &want);
    Ok(())
}

fn check_occupy(suite: &mut Suite) -> Result<(), Error> {
    let kernel = Occupy::load(&suite.gpu)?;
    // 10 MiB and 16 B: whole rounds of the grid and a remainder.
    let words: Vec<u32> = (0..(10 << 18) + 4_u64)
        .map(|i| kernels::mix::mix64(i) as u32)
        .collect();
    let input = suite.upload(&words)?;
    let sink = DeviceBuffer::from_slice(&suite.stream, &[5_u64])?;
    kernel.touch(&suite.stream, input.view(), sink.view())?;
    let have: Vec<u64> = suite.stream.download(sink.view())?;
    suite.equal(
        "touch, sum of 10 MiB and 16 B",
        &have,
        &[occupy::reference(&words) + 5],
    );
    let (start, end) = (Event::new(&suite.gpu)?, Event::new(&suite.gpu)?);
    start.record(&suite.stream)?;
    kernel.spin(&suite.stream, 3_000_000)?;
    end.record(&suite.stream)?;
    end.synchronize()?;
    let nanos = end.nanos_since(&start)?;
    let near = (2_990_000..3_200_000).contains(&nanos);
    suite.holds("spin for 3 ms", near, &format!("{nanos} ns by events"));
    Ok(())
}
