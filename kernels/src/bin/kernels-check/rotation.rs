//! Rotary embedding and the write of K and V, with and without bias and norms, in both layouts.

use half::bf16;
use kernels::gpu::Error;
use kernels::kv::{KvLayout, KvOrder, KvPool};
use kernels::rope::{self, Rope, RopeTokens};

use crate::layers::BF16_BOUND;
use crate::suite::{Suite, doubles, random as draw};

pub fn check(suite: &mut Suite) -> Result<(), Error> {
    for order in [KvOrder::LayerMajor, KvOrder::BlockMajor] {
        for prepared in [false, true] {
            check_rope(suite, order, 3, 1, 64, 16, prepared)?;
            check_rope(suite, order, 8, 2, 128, 32, prepared)?;
            check_rope(suite, order, 33, 3, 128, 16, prepared)?;
        }
    }
    Ok(())
}

fn check_rope(
    suite: &mut Suite,
    order: KvOrder,
    q_heads: u32,
    kv_heads: u32,
    head_dim: u32,
    block_tokens: u32,
    prepared: bool,
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
    // Qwen2.5 has the bias, Qwen3 the norms; both at once exercises their order too.
    let (bias, norm) = (draw(6, stride, 1.0), draw(7, 2 * dim, 1.0));
    let (bias_gpu, norm_gpu) = (suite.upload(&bias)?, suite.upload(&norm)?);
    let (qkv_gpu, positions_gpu) = (suite.upload(&qkv)?, suite.upload(&positions)?);
    let (slots_gpu, frequency_gpu) = (suite.upload(&slots)?, suite.upload(&frequency)?);
    let pool = suite.poisoned(layout.pool_bytes())?;
    kernel.launch(
        &suite.stream,
        &RopeTokens {
            qkv: qkv_gpu.view(),
            bias: prepared.then(|| bias_gpu.view()),
            norm: prepared.then(|| norm_gpu.view()),
            epsilon: 1e-5,
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
    let (mut v, mut v_want) = (Vec::new(), Vec::new());
    // A head of Q (which 0) or K (1) as it is rotated.
    let head_of = |row: &[bf16], head: usize, which: usize| {
        let at = head * dim..(head + 1) * dim;
        let bias = prepared.then(|| &bias[at.clone()]);
        let norm = prepared.then(|| &norm[which * dim..][..dim]);
        rope::prepared(&row[at], bias, norm, 1e-5)
    };
    for token in 0..tokens {
        let row = &qkv[token * stride..][..stride];
        for head in 0..q_heads as usize {
            q.extend(doubles(&rows[token * stride + head * dim..][..dim]));
            let query = head_of(row, head, 0);
            q_want.extend(rope::reference(&query, positions[token], &frequency));
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
            let key = head_of(row, q_heads as usize + head, 1);
            k_want.extend(rope::reference(&key, positions[token], &frequency));
            let at = ((q_heads + kv_heads) as usize + head) * dim;
            let value_bias = prepared.then(|| &bias[at..at + dim]);
            v.extend(doubles(&blocks[v_at..][..dim]));
            v_want.extend(rope::prepared(&row[at..at + dim], value_bias, None, 1e-5));
            untouched[k_at..k_at + dim].fill(false);
            untouched[v_at..v_at + dim].fill(false);
        }
    }
    let name = format!(
        "rope {order:?}, {q_heads} and {kv_heads} heads of {head_dim}, bias and norm {prepared}"
    );
    suite.close(&format!("{name}: Q"), &q, &q_want, BF16_BOUND);
    suite.close(&format!("{name}: K in its blocks"), &k, &k_want, BF16_BOUND);
    // V is copied as it is, or rounded once after the bias.
    let v_bound = if prepared { BF16_BOUND } else { 0.0 };
    suite.close(&format!("{name}: V in its blocks"), &v, &v_want, v_bound);
    let spared = blocks
        .iter()
        .zip(&untouched)
        .all(|(value, &spared)| !spared || value.to_bits() == 0xffff);
    suite.holds(&format!("{name}: everything else"), spared, "untouched");
    Ok(())
}
