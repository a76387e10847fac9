//! Decode attention that begins to read before the newest tokens are there.
//!
//! **Not seen:** Q read too early, for it is the same before it is rotated (`model-check logits` sees that), and kernels that happened not to overlap. A
//! kernel that waits for nothing fails 36 comparisons of 40 on an H200.

use half::bf16;
use kernels::decode_attention::{DecodeAttention, DecodeBatch, DecodeWorkspace};
use kernels::gpu::{DeviceBuffer, Error};
use kernels::kv::KvPool;
use kernels::occupy::Occupy;
use kernels::rope::{Rope, RopeTokens, frequencies};

use crate::attention::{Paged, Shape};
use crate::suite::Suite;

/// Newest tokens that are written right before attention reads them, by a kernel that it overlaps with.
pub struct Appending {
    kernel: Rope,
    busy: Occupy,
    /// KV in which the newest tokens are NaN.
    before: Vec<bf16>,
    pool: DeviceBuffer,
    /// Rows of Q, and of K and V of the newest tokens.
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
        let (mut before, mut rows, mut slots) = (paged.values.clone(), q.to_vec(), Vec::new());
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
                    rows[to..to + dim].copy_from_slice(&paged.values[at..at + dim]);
                    before[at..at + dim].fill(bf16::from_bits(0xffff));
                }
            }
        }
        Ok(Self {
            kernel: Rope::load(&suite.gpu)?,
            busy: Occupy::load(&suite.gpu)?,
            before,
            pool: suite.poisoned(paged.layout.pool_bytes())?,
            rows: suite.upload(&rows)?,
            // At the first position nothing is rotated.
            positions: suite.upload(&vec![0_i32; contexts.len()])?,
            slots: suite.upload(&slots)?,
            frequency: suite.upload(&frequencies(shape.head_dim, 10_000.0))?,
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
