//! Decode attention that begins to read before Q and the newest tokens are there.
//!
//! The kernel before it turns Q and K by half a circle, and finds them with the other sign; the newest tokens of the pool are NaN until then.
//!
//! **Not seen:** kernels that happened not to overlap. On an H200 a kernel that reads Q before it waits fails 23 comparisons of 40, one that waits for nothing 36.

use std::f32::consts::PI;

use half::bf16;
use kernels::decode_attention::{DecodeAttention, DecodeBatch, DecodeWorkspace};
use kernels::gpu::{DeviceBuffer, Error};
use kernels::kv::KvPool;
use kernels::occupy::Occupy;
use kernels::rope::{Rope, RopeTokens};

use crate::attention::{Paged, Shape};
use crate::suite::Suite;

/// Newest tokens that are written right before attention reads them, by a kernel that it overlaps with.
pub struct Appending {
    kernel: Rope,
    busy: Occupy,
    /// KV in which the newest tokens are NaN.
    before: Vec<bf16>,
    pool: DeviceBuffer,
    /// Rows as they are before the turn: Q, and K and V of the newest tokens.
    before_turn: Vec<bf16>,
    rows: DeviceBuffer,
    positions: DeviceBuffer,
    slots: DeviceBuffer,
    frequency: DeviceBuffer,
}

impl Appending {
    pub fn new(
        suite: &Suite,
        paged: &Paged,
        shape: &Shape,
        contexts: &[i32],
        q: &[bf16],
    ) -> Result<Self, Error> {
        let (dim, kv_heads) = (shape.head_dim as usize, shape.kv_heads);
        let stride = q.len() / contexts.len();
        let (mut before, mut slots) = (paged.values.clone(), Vec::new());
        let mut rows: Vec<bf16> = q.iter().map(|&x| -x).collect();
        for (seq, &context) in contexts.iter().enumerate() {
            let Some(newest) = (context as u32).checked_sub(1) else {
                slots.push(-1);
                continue;
            };
            let block = paged.table
                [seq * paged.table_stride as usize + (newest / shape.block_tokens) as usize];
            slots.push(block * shape.block_tokens as i32 + (newest % shape.block_tokens) as i32);
            for head in 0..kv_heads {
                for half in 0..2 {
                    let at = paged.row(seq, newest, head, half);
                    let to = seq * stride + (shape.q_heads + half * kv_heads + head) as usize * dim;
                    let turned = half == 0;
                    for (row, &value) in rows[to..to + dim].iter_mut().zip(&paged.values[at..]) {
                        *row = if turned { -value } else { value };
                    }
                    before[at..at + dim].fill(bf16::from_bits(0xffff));
                }
            }
        }
        Ok(Self {
            kernel: Rope::load(&suite.gpu)?,
            busy: Occupy::load(&suite.gpu)?,
            before,
            pool: suite.poisoned(paged.layout.pool_bytes())?,
            rows: suite.poisoned(2 * rows.len() as u64)?,
            before_turn: rows,
            positions: suite.upload(&vec![1_i32; contexts.len()])?,
            slots: suite.upload(&slots)?,
            frequency: suite.upload(&vec![PI; dim / 2])?,
        })
    }

    /// The attention of `batch` over KV to which the newest tokens are appended meanwhile.
    pub fn attended(
        &self,
        suite: &Suite,
        kernel: &DecodeAttention,
        batch: &DecodeBatch,
        workspace: &DecodeWorkspace,
    ) -> Result<Vec<bf16>, Error> {
        let pool = KvPool {
            view: self.pool.view(),
            ..batch.pool
        };
        suite.stream.upload(pool.view, &self.before)?;
        suite.stream.upload(self.rows.view(), &self.before_turn)?;
        suite.stream.fill(batch.output, 0xff)?;
        // Both launches wait in the stream, so that attention is there when the other begins.
        self.busy.spin(&suite.stream, 50_000)?;
        self.kernel.launch(
            &suite.stream,
            &RopeTokens {
                qkv: self.rows.view(),
                bias: None,
                norm: None,
                epsilon: 0.0,
                positions: self.positions.view(),
                slots: self.slots.view(),
                frequency: self.frequency.view(),
                pool,
                layer: batch.layer,
                q_heads: batch.q_heads,
                token_count: batch.seq_count,
            },
        )?;
        let settled = DecodeBatch {
            q: self.rows.view(),
            pool,
            kv_settled: true,
            ..*batch
        };
        kernel.launch(&suite.stream, &settled, workspace)?;
        suite.stream.download(batch.output)
    }
}
