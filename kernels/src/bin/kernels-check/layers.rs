//! The element-wise kernels against their references, in sizes that do not divide the grid.

use half::bf16;
use kernels::argmax::{self, Argmax, ArgmaxRows};
use kernels::gpu::{DeviceBuffer, Error, Event};
use kernels::kv::{KvLayout, KvOrder, KvPool};
use kernels::occupy::{self, Occupy};
use kernels::random::{self, Random};
use kernels::rms_norm::{self, RmsNorm, RmsNormRows};
use kernels::rope::{self, Rope, RopeTokens};
use kernels::silu_mul::{self, SiluMul, SiluMulRows};
use kernels::take_rows::{self, RowsToTake, TakeRows};

use crate::suite::{Suite, doubles, random as draw};

/// Rounding to bf16 (7 bits after the point) is at most 2^-8 = 3.9e-3 of an element, so of the norm.
const BF16_BOUND: f64 = 4e-3;

pub fn check(suite: &mut Suite) -> Result<(), Error> {
    check_random(suite)?;
    for (rows, hidden) in [(1, 8), (3, 520), (37, 4096), (5, 16_384)] {
        check_rms_norm(suite, rows, hidden, false)?;
        check_rms_norm(suite, rows, hidden, true)?;
    }
    for (rows, width) in [(1, 8), (3, 2056), (37, 11_008)] {
        check_silu_mul(suite, rows, width)?;
    }
    for order in [KvOrder::LayerMajor, KvOrder::BlockMajor] {
        check_rope(suite, order, 3, 1, 64, 16)?;
        check_rope(suite, order, 8, 2, 128, 32)?;
    }
    check_take_rows(suite)?;
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
    let row = |row: &[bf16]| silu_mul::reference(&row[..width], &row[width..]);
    let want: Vec<f64> = gate_up.chunks(2 * width).flat_map(row).collect();
    suite.close(
        &format!("silu_mul {rows} x {width}"),
        &doubles(&have),
        &want,
        BF16_BOUND,
    );
    Ok(())
}

fn check_rope(
    suite: &mut Suite,
    order: KvOrder,
    q_heads: u32,
    kv_heads: u32,
    head_dim: u32,
    block_tokens: u32,
) -> Result<(), Error> {
    let kernel = Rope::load(&suite.gpu)?;
    let layout = KvLayout {
        order,
        block_count: 5,
        layers: 2,
        kv_heads,
        block_tokens,
        head_dim,
    };
    let (layer, tokens, dim) = (1, 19_usize, head_dim as usize);
    let stride = (q_heads + 2 * kv_heads) as usize * dim;
    let qkv = draw(5, tokens * stride, 1.0);
    // Positions from the first to far out; every fourth token is padding.
    let positions: Vec<i32> = (0..tokens as i32).map(|i| i * i * i * 20).collect();
    let slots: Vec<i32> = (0..tokens as i32)
        .map(|i| {
            if i % 4 == 3 {
                -1
            } else {
                (i * 7) % (5 * block_tokens as i32)
            }
        })
        .collect();
    let frequency = rope::frequencies(head_dim, 10_000.0);
    let (qkv_gpu, positions_gpu) = (suite.upload(&qkv)?, suite.upload(&positions)?);
    let (slots_gpu, frequency_gpu) = (suite.upload(&slots)?, suite.upload(&frequency)?);
    let pool = suite.poisoned(layout.pool_bytes())?;
    kernel.launch(
        &suite.stream,
        &RopeTokens {
            qkv: qkv_gpu.view(),
            positions: positions_gpu.view(),
            slots: slots_gpu.view(),
            frequency: frequency_gpu.view(),
            pool: KvPool {
                layout,
                view: pool.view(),
            },
            layer,
            q_heads,
            token_count: tokens as u32,
        },
    )?;
    let rows: Vec<bf16> = suite.stream.download(qkv_gpu.view())?;
    let blocks: Vec<bf16> = suite.stream.download(pool.view())?;
    let (mut q, mut q_want, mut k, mut k_want) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut untouched = vec![true; blocks.len()];
    let mut v_exact = true;
    for token in 0..tokens {
        let row = &qkv[token * stride..][..stride];
        for head in 0..q_heads as usize {
            q.extend(doubles(&rows[token * stride + head * dim..][..dim]));
            q_want.extend(rope::reference(
                &row[head * dim..][..dim],
                positions[token],
                &frequency,
            ));
        }
        if slots[token] < 0 {
            continue;
        }
        let (block, place) = (
            slots[token] as u32 / block_tokens,
            slots[token] as u32 % block_tokens,
        );
        for head in 0..kv_heads as usize {
            let line = (head * block_tokens as usize + place as usize) * dim;
            let at = |piece| (layout.piece_offset(block, piece) / 2) as usize + line;
            let (k_at, v_at) = (at(2 * layer), at(2 * layer + 1));
            k.extend(doubles(&blocks[k_at..][..dim]));
            let key = &row[(q_heads as usize + head) * dim..][..dim];
            k_want.extend(rope::reference(key, positions[token], &frequency));
            let value = &row[((q_heads + kv_heads) as usize + head) * dim..][..dim];
            v_exact &= blocks[v_at..][..dim] == *value;
            untouched[k_at..k_at + dim].fill(false);
            untouched[v_at..v_at + dim].fill(false);
        }
    }
    let name = format!("rope {order:?}, {q_heads} and {kv_heads} heads of {head_dim}");
    suite.close(&format!("{name}: Q"), &q, &q_want, BF16_BOUND);
    suite.close(&format!("{name}: K in its blocks"), &k, &k_want, BF16_BOUND);
    suite.holds(&format!("{name}: V in its blocks"), v_exact, "bit for bit");
    let spared = blocks
        .iter()
        .zip(&untouched)
        .all(|(value, &spared)| !spared || value.to_bits() == 0xffff);
    suite.holds(&format!("{name}: everything else"), spared, "untouched");
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
