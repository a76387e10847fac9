//! Both attention kernels against double precision, over ragged contexts, groups and layouts.
//!
//! Every KV row that no sequence owns is NaN, so one element too many shows.

use half::bf16;
use kernels::attention::reference;
use kernels::decode_attention::{Cut, DecodeAttention, DecodeBatch, DecodeWorkspace};
use kernels::gpu::{DeviceBuffer, Error};
use kernels::kv::{KvLayout, KvOrder, KvPool};
use kernels::prefill_attention::{
    Cut as PrefillCut, PrefillAttention, PrefillChunk, PrefillChunks, PrefillPlan, PrefillWorkspace,
};

use crate::appending::Appending;
use crate::suite::{Suite, doubles, random, scrambled};

/// Weights and output are rounded to bf16: about 1.1e-3 each in the norm; measured 2e-3 to 3e-3.
const BOUND: f64 = 5e-3;

pub struct Shape {
    pub order: KvOrder,
    pub q_heads: u32,
    pub kv_heads: u32,
    pub head_dim: u32,
    pub block_tokens: u32,
}

pub fn check(suite: &mut Suite) -> Result<(), Error> {
    let (decode, prefill) = (
        DecodeAttention::load(&suite.gpu)?,
        PrefillAttention::load(&suite.gpu)?,
    );
    let shape = |order, q_heads, kv_heads, head_dim, block_tokens| Shape {
        order,
        q_heads,
        kv_heads,
        head_dim,
        block_tokens,
    };
    let shapes = [
        shape(KvOrder::LayerMajor, 4, 4, 128, 16),
        shape(KvOrder::BlockMajor, 8, 2, 128, 16),
        shape(KvOrder::LayerMajor, 16, 1, 64, 32),
        shape(KvOrder::BlockMajor, 6, 2, 64, 16),
    ];
    for shape in &shapes {
        check_decode(
            suite,
            &decode,
            shape,
            &[1, 15, 16, 0, 17, 100, 127, 128, 129],
        )?;
        check_decode(suite, &decode, shape, &[3001, 64, 640])?;
        check_prefill(
            suite,
            &prefill,
            shape,
            &[
                (1, 1),
                (37, 37),
                (128, 128),
                (129, 134),
                (1, 300),
                (70, 1000),
            ],
        )?;
        check_prefill(suite, &prefill, shape, &[(500, 500)])?;
        // Split contexts: the shorter sequence leaves splits without a tile.
        check_prefill(suite, &prefill, shape, &[(19, 3000), (133, 200)])?;
    }
    Ok(())
}

/// A pool of two layers, of which the second holds random K and V for sequences of these contexts.
pub struct Paged {
    pub layout: KvLayout,
    pool: DeviceBuffer,
    pub values: Vec<bf16>,
    pub table: Vec<i32>,
    pub table_stride: u32,
}

const LAYER: u32 = 1;

impl Paged {
    fn new(suite: &Suite, shape: &Shape, contexts: &[i32]) -> Result<Self, Error> {
        let per_seq: Vec<u32> = contexts
            .iter()
            .map(|&c| (c as u32).div_ceil(shape.block_tokens))
            .collect();
        let used: u32 = per_seq.iter().sum();
        let layout = KvLayout {
            order: shape.order,
            block_count: used + 3,
            layers: 2,
            kv_heads: shape.kv_heads,
            block_tokens: shape.block_tokens,
            head_dim: shape.head_dim,
        };
        // One entry more than the longest sequence needs; entries never used point far outside the pool.
        let table_stride = per_seq.iter().max().copied().unwrap_or(0) + 1;
        let mut table = vec![1 << 30; table_stride as usize * contexts.len()];
        let mut free = scrambled(9, layout.block_count).into_iter();
        for (seq, &count) in per_seq.iter().enumerate() {
            for entry in 0..count as usize {
                table[seq * table_stride as usize + entry] =
                    free.next().expect("three blocks to spare");
            }
        }
        let nan = bf16::from_bits(0xffff);
        let mut paged = Self {
            layout,
            pool: suite.poisoned(layout.pool_bytes())?,
            values: Vec::new(),
            table,
            table_stride,
        };
        paged.values = vec![nan; (layout.pool_bytes() / 2) as usize];
        let dim = shape.head_dim as usize;
        for (seq, &context) in contexts.iter().enumerate() {
            for token in 0..context as u32 {
                for head in 0..shape.kv_heads {
                    for half in 0..2 {
                        let at = paged.row(seq, token, head, half);
                        let seed = u64::from(token) << 32
                            | u64::from(head) << 16
                            | (seq as u64) << 1
                            | u64::from(half);
                        paged.values[at..at + dim].copy_from_slice(&random(seed, dim, 2.0));
                    }
                }
            }
        }
        suite.stream.upload(paged.pool.view(), &paged.values)?;
        Ok(paged)
    }

    /// Index of the first element of a K (0) or V (1) row.
    pub fn row(&self, seq: usize, token: u32, head: u32, half: u32) -> usize {
        let layout = &self.layout;
        let block =
            self.table[seq * self.table_stride as usize + (token / layout.block_tokens) as usize];
        let line = head * layout.block_tokens + token % layout.block_tokens;
        (layout.piece_offset(block as u32, 2 * LAYER + half) / 2) as usize
            + (line * layout.head_dim) as usize
    }

    /// K (0) or V (1) of the first `visible` tokens of a sequence.
    fn rows(&self, seq: usize, visible: u32, head: u32, half: u32) -> Vec<&[bf16]> {
        let dim = self.layout.head_dim as usize;
        (0..visible)
            .map(|token| &self.values[self.row(seq, token, head, half)..][..dim])
            .collect()
    }

    fn kv(&self) -> KvPool {
        KvPool {
            layout: self.layout,
            view: self.pool.view(),
        }
    }

    /// The reference for one token's Q heads.
    fn attend(&self, q: &[bf16], seq: usize, visible: u32, q_heads: u32) -> Vec<f64> {
        let group = q_heads / self.layout.kv_heads;
        let dim = self.layout.head_dim as usize;
        let mut output = Vec::with_capacity(q.len());
        for head in 0..self.layout.kv_heads {
            let (keys, values) = (
                self.rows(seq, visible, head, 0),
                self.rows(seq, visible, head, 1),
            );
            for query in q
                .chunks(dim)
                .skip((head * group) as usize)
                .take(group as usize)
            {
                output.extend(reference(query, &keys, &values));
            }
        }
        output
    }
}

fn check_decode(
    suite: &mut Suite,
    kernel: &DecodeAttention,
    shape: &Shape,
    contexts: &[i32],
) -> Result<(), Error> {
    let paged = Paged::new(suite, shape, contexts)?;
    let row = (shape.q_heads * shape.head_dim) as usize;
    let token_stride = row + 2 * (shape.kv_heads * shape.head_dim) as usize;
    let q = random(11, contexts.len() * token_stride, 2.0);
    let (q_gpu, table_gpu, context_gpu) = (
        suite.upload(&q)?,
        suite.upload(&paged.table)?,
        suite.upload(contexts)?,
    );
    let output = suite.poisoned((2 * contexts.len() * row) as u64)?;
    let seq_count = contexts.len() as u32;
    let workspace = DecodeWorkspace::new(&suite.stream, &paged.layout, shape.q_heads)?;
    let strands = kernel.strands(
        [shape.q_heads, shape.kv_heads],
        contexts.iter().map(|&context| context as u32),
    );
    let choices = strands.cuts();
    let mut cuts = vec![Cut::Even(7), Cut::Even(u32::MAX), Cut::Parts(3)];
    cuts.extend(choices.first().into_iter().chain(choices.last()));
    let context_max = contexts.iter().max().map_or(1, |&longest| longest as u32);
    let appending = Appending::new(suite, &paged, shape, contexts, &q)?;
    let mut want = Vec::new();
    for (seq, &context) in contexts.iter().enumerate() {
        want.extend(paged.attend(
            &q[seq * token_stride..][..row],
            seq,
            context as u32,
            shape.q_heads,
        ));
    }
    let name = format!(
        "decode attention, {} and {} heads of {}, {} sequences up to {}",
        shape.q_heads, shape.kv_heads, shape.head_dim, seq_count, context_max
    );
    for cut in cuts {
        let plan = suite.upload(strands.cut(cut).words())?;
        let batch = DecodeBatch {
            q: q_gpu.view(),
            token_stride: token_stride as u32,
            pool: paged.kv(),
            layer: LAYER,
            table: table_gpu.view(),
            table_stride: paged.table_stride,
            context: context_gpu.view(),
            context_max,
            plan: plan.view(),
            output: output.view(),
            q_heads: shape.q_heads,
            seq_count,
            kv_settled: false,
        };
        let attended = || -> Result<Vec<bf16>, Error> {
            suite.stream.fill(output.view(), 0xff)?;
            kernel.launch(&suite.stream, &batch, &workspace)?;
            suite.stream.download(output.view())
        };
        let have = attended()?;
        // Again with the counters that the first launch left, and the same bits whatever CTA arrived last.
        let again = attended()?;
        suite.close(&format!("{name}, {cut:?}"), &doubles(&have), &want, BOUND);
        suite.equal(&format!("{name}, {cut:?}, again"), &again, &have);
        let appended = appending.attended(suite, kernel, &batch, &workspace)?;
        suite.equal(
            &format!("{name}, {cut:?}, behind the newest tokens"),
            &appended,
            &have,
        );
    }
    Ok(())
}

fn check_prefill(
    suite: &mut Suite,
    kernel: &PrefillAttention,
    shape: &Shape,
    chunks: &[(i32, i32)],
) -> Result<(), Error> {
    let contexts: Vec<i32> = chunks.iter().map(|&(_, context)| context).collect();
    let paged = Paged::new(suite, shape, &contexts)?;
    let row = (shape.q_heads * shape.head_dim) as usize;
    let token_stride = row + 2 * (shape.kv_heads * shape.head_dim) as usize;
    let mut starts = vec![0];
    for &(chunk, _) in chunks {
        starts.push(starts[starts.len() - 1] + chunk);
    }
    let token_count = starts[chunks.len()] as u32;
    let q = random(12, token_count as usize * token_stride, 2.0);
    let (q_gpu, table_gpu) = (suite.upload(&q)?, suite.upload(&paged.table)?);
    let workspace = PrefillWorkspace::new(&suite.gpu, shape.head_dim)?;
    let mut want = Vec::new();
    for (seq, &(chunk, context)) in chunks.iter().enumerate() {
        for i in 0..chunk {
            let token = (starts[seq] + i) as usize;
            let visible = (context - chunk + i + 1) as u32;
            want.extend(paged.attend(
                &q[token * token_stride..][..row],
                seq,
                visible,
                shape.q_heads,
            ));
        }
    }
    let work: Vec<PrefillChunk> = chunks
        .iter()
        .map(|&(tokens, context)| PrefillChunk {
            tokens: tokens as u32,
            context: context as u32,
        })
        .collect();
    let name = format!(
        "prefill attention, {} and {} heads of {}, {} chunks up to {}",
        shape.q_heads,
        shape.kv_heads,
        shape.head_dim,
        chunks.len(),
        work.iter().map(|chunk| chunk.tokens).max().unwrap_or(0)
    );
    let cut = |whole| {
        let part_tokens = 128;
        PrefillPlan::with_cut(PrefillCut { whole, part_tokens }, &work)
    };
    let plans = [
        ("", kernel.plan(shape.q_heads, &work)),
        (" in parts of 128", cut(0)),
        (", one tile whole, in parts of 128", cut(1)),
    ];
    for (how, plan) in plans {
        let plan_gpu = suite.upload(plan.words())?;
        let output = suite.poisoned(2 * u64::from(token_count) * row as u64)?;
        let call = PrefillChunks {
            q: q_gpu.view(),
            token_stride: token_stride as u32,
            pool: paged.kv(),
            layer: LAYER,
            table: table_gpu.view(),
            table_stride: paged.table_stride,
            plan: plan_gpu.view(),
            sizes: plan.sizes(),
            output: output.view(),
            q_heads: shape.q_heads,
            token_count,
        };
        kernel.launch(&suite.stream, &call, &workspace)?;
        let have: Vec<bf16> = suite.stream.download(output.view())?;
        suite.close(&format!("{name}{how}"), &doubles(&have), &want, BOUND);
    }
    Ok(())
}
