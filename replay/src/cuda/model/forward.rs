//! The forward pass: what is submitted, in order.
//!
//! ```text
//!   embed ─► [ norm ─► qkv ─► rope, KV write ─► attention ─► output ─►(+) ─► norm ─► gate, up ─► silu ─► down ─►(+) ] per layer
//!         ─► last rows ─► norm ─► logits ─► argmax
//! ```
//!
//! Decode rows come first, then the rows of the chunks; products and element-wise kernels take all rows at once. All KV writes of a layer
//! precede its attention, because a prompt may attend to blocks that another one fills in the same pass. The residual stream is kept
//! in bf16; the output and down projections add to it in float and round once.

use super::inputs::Lists;
use super::products::{Products, Projection};
use super::step::{Pass, Plans, Prefill, Sizes};
use super::weights::{LayerWeights, Weights};
use super::workspace::Workspace;
use super::{Geometry, ModelError};
use kernels::argmax::{Argmax, ArgmaxRows};
use kernels::decode_attention::{DECODE_STEP, DecodeAttention, DecodeBatch, DecodePlan};
use kernels::gpu::{Gpu, Stream, View};
use kernels::kv::KvPool;
use kernels::prefill_attention::{PrefillAttention, PrefillChunk, PrefillChunks};
use kernels::rms_norm::{RmsNorm, RmsNormRows};
use kernels::rope::{Rope, RopeTokens};
use kernels::silu_mul::{SiluMul, SiluMulRows};
use kernels::take_rows::{RowsToTake, TakeRows};

/// Added to the mean of squares; models differ in it, the work does not.
pub const EPSILON: f32 = 1e-5;

pub(super) struct Forward {
    pub geometry: Geometry,
    pub pool: KvPool,
    pub weights: Weights,
    pub workspace: Workspace,
    pub products: Products,
    take_rows: TakeRows,
    rms_norm: RmsNorm,
    rope: Rope,
    decode: DecodeAttention,
    prefill: PrefillAttention,
    silu_mul: SiluMul,
    argmax: Argmax,
}

impl Forward {
    pub fn new(
        gpu: &Gpu,
        geometry: &Geometry,
        pool: KvPool,
        weights: Weights,
        workspace: Workspace,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            geometry: *geometry,
            pool,
            weights,
            workspace,
            products: Products::new(gpu, geometry)?,
            take_rows: TakeRows::load(gpu)?,
            rms_norm: RmsNorm::load(gpu)?,
            rope: Rope::load(gpu)?,
            decode: DecodeAttention::load(gpu)?,
            prefill: PrefillAttention::load(gpu)?,
            silu_mul: SiluMul::load(gpu)?,
            argmax: Argmax::load(gpu)?,
        })
    }

    /// Plans the attention of a pass with decode rows for `decode` sequences.
    pub fn plans(&self, pass: &Pass<'_>, decode: u32) -> Plans {
        let heads = [self.geometry.q_heads, self.geometry.kv_heads];
        let contexts = pass.decode.iter().map(|sequence| sequence.context);
        let chunks: Vec<PrefillChunk> = pass.prefill.iter().map(Prefill::attended).collect();
        Plans {
            decode: if decode == 0 {
                DecodePlan::default()
            } else {
                self.decode.strands(heads, contexts).plan()
            },
            prefill: self.prefill.plan(self.geometry.q_heads, &chunks),
        }
    }

    /// Submits a pass whose lists are on their way, and whose products are prepared.
    pub fn launch(&self, stream: &Stream, sizes: &Sizes, lists: &Lists) -> Result<(), ModelError> {
        let (rows, hidden) = (sizes.rows(), self.geometry.hidden);
        self.embed(stream, sizes, lists)?;
        for (index, layer) in self.weights.layers.iter().enumerate() {
            self.layer(stream, index as u32, layer, sizes, lists)?;
        }
        // Without chunks the rows that are sampled are all rows, in order.
        let (last, samples) = (self.workspace.last(), sizes.sequences());
        let input = if sizes.chunks == 0 {
            self.workspace.hidden()
        } else {
            self.take_rows.launch(
                stream,
                &RowsToTake {
                    table: slice_rows(self.workspace.hidden(), 0, rows, hidden)?,
                    ids: lists.samples,
                    output: last,
                    row_count: samples,
                    width: hidden,
                },
            )?;
            last
        };
        self.norm(stream, [input, last], self.weights.norm, samples)?;
        let logits = self.workspace.logits();
        self.products.launch(
            stream,
            Projection::Logits,
            self.weights.logits,
            samples,
            [last, logits],
        )?;
        let sampled = ArgmaxRows {
            logits,
            output: self.workspace.sampled(),
            row_count: samples,
            width: self.geometry.vocab,
        };
        Ok(self.argmax.launch(stream, &sampled)?)
    }

    fn embed(&self, stream: &Stream, sizes: &Sizes, lists: &Lists) -> Result<(), ModelError> {
        let (hidden, width) = (self.workspace.hidden(), self.geometry.hidden);
        let parts = [
            (self.workspace.sampled(), 0, sizes.decode),
            (lists.tokens, sizes.decode, sizes.prefill_tokens),
        ];
        for (ids, first, row_count) in parts {
            self.take_rows.launch(
                stream,
                &RowsToTake {
                    table: self.weights.embedding,
                    ids,
                    output: slice_rows(hidden, first, row_count, width)?,
                    row_count,
                    width,
                },
            )?;
        }
        Ok(())
    }

    fn layer(
        &self,
        stream: &Stream,
        index: u32,
        layer: &LayerWeights,
        sizes: &Sizes,
        lists: &Lists,
    ) -> Result<(), ModelError> {
        let (rows, at) = (sizes.rows(), &self.workspace);
        let (hidden, normed) = (at.hidden(), at.normed());
        let product = |projection, weight, operands| {
            self.products
                .launch(stream, projection, weight, rows, operands)
        };
        self.norm(stream, [hidden, normed], layer.attention_norm, rows)?;
        product(Projection::Qkv, layer.qkv, [normed, at.qkv()])?;
        self.rope.launch(
            stream,
            &RopeTokens {
                qkv: at.qkv(),
                bias: layer.bias,
                norm: layer.head_norm,
                epsilon: EPSILON,
                positions: lists.positions,
                slots: lists.slots,
                frequency: at.frequency(),
                pool: self.pool,
                layer: index,
                q_heads: self.geometry.q_heads,
                token_count: rows,
            },
        )?;
        self.attention(stream, index, sizes, lists)?;
        product(Projection::Output, layer.output, [at.attended(), hidden])?;
        self.norm(stream, [hidden, normed], layer.mlp_norm, rows)?;
        if self.products.gates_inside(rows) {
            product(Projection::GateUp, layer.gate_up, [normed, at.gated()])?;
        } else {
            product(Projection::GateUp, layer.gate_up, [normed, at.gate_up()])?;
            self.silu_mul.launch(
                stream,
                &SiluMulRows {
                    gate_up: at.gate_up(),
                    output: at.gated(),
                    row_count: rows,
                    width: self.geometry.intermediate,
                },
            )?;
        }
        product(Projection::Down, layer.down, [at.gated(), hidden])
    }

    fn attention(
        &self,
        stream: &Stream,
        layer: u32,
        sizes: &Sizes,
        lists: &Lists,
    ) -> Result<(), ModelError> {
        if sizes.decode > 0 {
            let batch = self.decode_batch(layer, sizes, lists);
            self.decode.launch(stream, &batch, &self.workspace.decode)?;
        }
        if sizes.chunks == 0 {
            return Ok(());
        }
        let (first, tokens) = (sizes.decode, sizes.prefill_tokens);
        let geometry = &self.geometry;
        let skipped = 4 * u64::from(lists.table_stride) * u64::from(first);
        let table = lists.table;
        let chunks = PrefillChunks {
            q: slice_rows(self.workspace.qkv(), first, tokens, geometry.qkv_width())?,
            token_stride: geometry.qkv_width(),
            pool: self.pool,
            layer,
            table: table.slice(skipped, table.bytes() - skipped)?,
            table_stride: lists.table_stride,
            plan: lists.prefill_plan,
            sizes: sizes.plan,
            output: slice_rows(self.workspace.attended(), first, tokens, geometry.q_width())?,
            q_heads: geometry.q_heads,
            token_count: tokens,
        };
        Ok(self
            .prefill
            .launch(stream, &chunks, &self.workspace.prefill)?)
    }

    fn decode_batch(&self, layer: u32, sizes: &Sizes, lists: &Lists) -> DecodeBatch {
        DecodeBatch {
            q: self.workspace.qkv(),
            token_stride: self.geometry.qkv_width(),
            pool: self.pool,
            layer,
            table: lists.table,
            table_stride: lists.table_stride,
            context: lists.contexts,
            context_max: lists.table_stride * self.pool.layout.block_tokens,
            plan: lists.decode_plan,
            output: self.workspace.attended(),
            q_heads: self.geometry.q_heads,
            seq_count: sizes.decode,
            // What other rows fill of the same pass no CTA must read early. No chunks are in a graph, and decode rows may share the blocks in which they
            // land (`Placement`), but read none of these early: the newest token's step is not.
            kv_settled: lists.in_place && self.pool.layout.block_tokens <= DECODE_STEP,
        }
    }

    fn norm(
        &self,
        stream: &Stream,
        [input, output]: [View; 2],
        weight: View,
        rows: u32,
    ) -> Result<(), ModelError> {
        let rows = RmsNormRows {
            input,
            weight,
            output,
            row_count: rows,
            hidden: self.geometry.hidden,
            epsilon: EPSILON,
            residual: None,
        };
        Ok(self.rms_norm.launch(stream, &rows)?)
    }
}

/// `count` rows of `width` bf16 elements, from row `first` on.
fn slice_rows(of: View, first: u32, count: u32, width: u32) -> Result<View, ModelError> {
    let row = 2 * u64::from(width);
    Ok(of.slice(row * u64::from(first), row * u64::from(count))?)
}
