//! Decode attention over paged KV, split over the context. Shapes, grid and traffic: `decode_attention.cu`.

use crate::arguments::{GRID_YZ_MAX, holds, multiple, within};
use crate::gpu::{
    ArgumentError, DeviceBuffer, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image,
};
use crate::kv::{KvLayout, KvPool};

/// The shipped kernels.
pub const IMAGE: Image = image!("decode_attention");

const WARPS: u32 = 4;
const STAGES: u32 = 3;
const TILE: u32 = 16;
/// Fewest tokens worth a CTA of their own: two tiles for each of its warps.
const SPLIT_LEAST: u32 = 2 * WARPS * TILE;

/// Attends one query token per sequence.
pub struct DecodeAttention {
    of_64: Kernel,
    of_128: Kernel,
    multiprocessors: u32,
}

/// One call, for one layer: a decode batch.
#[derive(Debug, Clone, Copy)]
pub struct DecodeBatch {
    /// `[seq_count][token_stride]` bf16; a row begins with Q, `[q_heads][head_dim]`.
    pub q: View,
    /// Elements from one row of `q` to the next.
    pub token_stride: u32,
    /// The KV blocks.
    pub pool: KvPool,
    /// Layer to read.
    pub layer: u32,
    /// `[seq_count][table_stride]` int32: block ids in order.
    pub table: View,
    /// Entries of a sequence in `table`.
    pub table_stride: u32,
    /// `[seq_count]` int32: KV tokens of each sequence, the newest included; 0 gives zeros.
    pub context: View,
    /// Longest context that `context` may hold.
    pub context_max: u32,
    /// Sum of the contexts, or a bound on it: shapes the splits, not the result.
    pub context_total: u64,
    /// `[seq_count][q_heads][head_dim]` bf16.
    pub output: View,
    /// Heads of Q.
    pub q_heads: u32,
    /// Sequences; zero submits nothing.
    pub seq_count: u32,
}

/// How the contexts of a batch are cut up.
#[derive(Debug, Clone, Copy)]
pub enum Splits {
    /// Splits of so many tokens, a multiple of 64.
    Of(u32),
    /// Splits of as many tokens, a multiple of 64, as the uint32 at `at` says when the kernel runs; at most `most` of them in a context.
    At {
        /// Where the number is.
        at: View,
        /// Splits of the longest context.
        most: u32,
    },
}

/// Memory for the partial sums of the splits, for batches up to a size.
///
/// **Invariant:** the arrival counters are zero whenever no launch that uses it is in flight; two launches
/// that use one workspace must be on one stream.
pub struct DecodeWorkspace {
    partial: DeviceBuffer,
    arrived: DeviceBuffer,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Parameters {
    q: u64,
    k: u64,
    v: u64,
    table: u64,
    context: u64,
    output: u64,
    partial: u64,
    arrived: u64,
    split_at: u64,
    block_stride: u64,
    token_stride: u32,
    table_stride: u32,
    q_heads: u32,
    kv_heads: u32,
    block_shift: u32,
    split_tokens: u32,
    split_max: u32,
    scale_log2: f32,
}

impl DecodeWorkspace {
    /// Takes room for every batch of up to `seq_count` sequences of `q_heads` heads over such a pool.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or what the driver refuses.
    pub fn new(
        stream: &Stream,
        layout: &KvLayout,
        seq_count: u32,
        q_heads: u32,
    ) -> Result<Self, Error> {
        let rows = rows_most(
            seq_count,
            q_heads,
            layout.kv_heads,
            stream.gpu.info().multiprocessors,
        );
        let partial = DeviceBuffer::new(&stream.gpu, 4 * rows * u64::from(layout.head_dim + 2))?;
        let lanes = u64::from(seq_count) * u64::from(layout.kv_heads);
        let arrived = DeviceBuffer::new(&stream.gpu, 4 * lanes)?;
        stream.fill(arrived.view(), 0)?;
        stream.synchronize()?;
        Ok(Self { partial, arrived })
    }
}

/// Rows of partial sums that any batch of this size can have: a split is at least the whole batch over the
/// multiprocessors, so the longest sequence has at most `multiprocessors / kv_heads` of them and one more.
fn rows_most(seq_count: u32, q_heads: u32, kv_heads: u32, multiprocessors: u32) -> u64 {
    let splits = multiprocessors.div_ceil(kv_heads.max(1)) + 1;
    u64::from(seq_count) * u64::from(q_heads) * u64::from(splits)
}

impl DecodeAttention {
    /// Loads the kernels.
    ///
    /// # Errors
    /// [`Error::Module`] if the GPU takes neither of their forms.
    pub fn load(gpu: &Gpu) -> Result<Self, Error> {
        let module = Module::load(gpu, &IMAGE)?;
        let shared = |head_dim: u32| WARPS * STAGES * 2 * TILE * head_dim * 2;
        Ok(Self {
            of_64: module.kernel("decode_attention_64", shared(64))?,
            of_128: module.kernel("decode_attention_128", shared(128))?,
            multiprocessors: gpu.info().multiprocessors,
        })
    }

    /// Tokens of a split for a batch.
    pub fn split_tokens(&self, batch: &DecodeBatch) -> u32 {
        split_tokens(batch, self.multiprocessors)
    }

    /// Submits the attention of `batch` to `stream`.
    ///
    /// # Errors
    /// A typed argument error for shapes or buffers that the kernel cannot take, or what the driver refuses.
    pub fn launch(
        &self,
        stream: &Stream,
        batch: &DecodeBatch,
        workspace: &DecodeWorkspace,
    ) -> Result<(), Error> {
        let splits = Splits::Of(self.split_tokens(batch));
        self.launch_split(stream, batch, workspace, splits)
    }

    /// The same with chosen splits: to measure what the choice costs, or in a graph that outlives it.
    ///
    /// # Errors
    /// As [`DecodeAttention::launch`]; short splits may need a workspace for more sequences.
    pub fn launch_split(
        &self,
        stream: &Stream,
        batch: &DecodeBatch,
        workspace: &DecodeWorkspace,
        splits: Splits,
    ) -> Result<(), Error> {
        let parameters = batch.check(splits, workspace.partial.view(), workspace.arrived.view())?;
        if batch.seq_count == 0 {
            return Ok(());
        }
        let launch = Launch {
            grid: [parameters.kv_heads, parameters.split_max, batch.seq_count],
            threads: 32 * WARPS,
        };
        let kernel = if batch.pool.layout.head_dim == 64 {
            &self.of_64
        } else {
            &self.of_128
        };
        // SAFETY: 1. the struct mirrors `DecodeArgs`. 2. `check` covers all but tables and contexts, which the caller owns. 3. it waits first.
        unsafe { kernel.launch_overlapping(stream, launch, &parameters) }
    }
}

/// The batch shared out evenly, one CTA per multiprocessor: long splits repay their start and their merge,
/// and one CTA in flight per multiprocessor comes near the bandwidth of HBM.
///
/// Chosen on one sweep of splits of 128 to 4,096 tokens on an H200, and confirmed on another, which is
/// `measurements/decode_splits.csv`: at each of its shapes the choice is the fastest or within 3 %.
fn split_tokens(batch: &DecodeBatch, multiprocessors: u32) -> u32 {
    let rows = batch.context_total * u64::from(batch.pool.layout.kv_heads);
    let share = rows
        .div_ceil(u64::from(multiprocessors.max(1)))
        .min(u64::from(batch.context_max));
    (share as u32)
        .max(SPLIT_LEAST)
        .next_multiple_of(WARPS * TILE)
}

impl DecodeBatch {
    fn check(
        &self,
        splits: Splits,
        partial: View,
        arrived: View,
    ) -> Result<Parameters, ArgumentError> {
        let operation = "decode_attention";
        let layout = &self.pool.layout;
        let block_shift = self.pool.check_layer(operation, self.layer)?;
        check_heads(operation, self.q_heads, layout.kv_heads, layout.head_dim)?;
        within(
            operation,
            "q_heads",
            self.q_heads.into(),
            1,
            16 * u64::from(layout.kv_heads),
        )?;
        within(
            operation,
            "seq_count",
            self.seq_count.into(),
            0,
            GRID_YZ_MAX,
        )?;
        within(
            operation,
            "context_max",
            self.context_max.into(),
            1,
            1 << 30,
        )?;
        let contexts = u64::from(self.seq_count) * u64::from(self.context_max);
        within(operation, "context_total", self.context_total, 0, contexts)?;
        let tokens_in_table = u64::from(self.table_stride) * u64::from(layout.block_tokens);
        within(
            operation,
            "context_max",
            self.context_max.into(),
            1,
            tokens_in_table,
        )?;
        let row = u64::from(self.q_heads) * u64::from(layout.head_dim);
        within(
            operation,
            "token_stride",
            self.token_stride.into(),
            row,
            u64::from(u32::MAX),
        )?;
        multiple(operation, "token_stride", self.token_stride.into(), 8)?;
        let seqs = u64::from(self.seq_count);
        let q_bytes = if seqs == 0 {
            0
        } else {
            2 * ((seqs - 1) * u64::from(self.token_stride) + row)
        };
        holds(operation, "q", self.q, q_bytes, 16)?;
        holds(
            operation,
            "table",
            self.table,
            4 * seqs * u64::from(self.table_stride),
            4,
        )?;
        holds(operation, "context", self.context, 4 * seqs, 4)?;
        holds(operation, "output", self.output, 2 * seqs * row, 16)?;
        let (split_tokens, split_at, split_max) = match splits {
            Splits::Of(tokens) => {
                within(operation, "split_tokens", tokens.into(), 64, 1 << 30)?;
                multiple(operation, "split_tokens", tokens.into(), 64)?;
                (tokens, 0, self.context_max.div_ceil(tokens))
            }
            Splits::At { at, most } => {
                holds(operation, "split_at", at, 4, 4)?;
                (0, at.address(), most)
            }
        };
        within(operation, "splits", split_max.into(), 1, GRID_YZ_MAX)?;
        if split_max > 1 {
            let rows = seqs * u64::from(self.q_heads) * u64::from(split_max);
            holds(
                operation,
                "workspace",
                partial,
                4 * rows * u64::from(layout.head_dim + 2),
                4,
            )?;
            holds(
                operation,
                "workspace",
                arrived,
                4 * seqs * u64::from(layout.kv_heads),
                4,
            )?;
        }
        let (k, v) = self.pool.layer_addresses(self.layer);
        Ok(Parameters {
            q: self.q.address(),
            k,
            v,
            table: self.table.address(),
            context: self.context.address(),
            output: self.output.address(),
            partial: partial.address(),
            arrived: arrived.address(),
            split_at,
            block_stride: layout.block_stride() / 2,
            token_stride: self.token_stride,
            table_stride: self.table_stride,
            q_heads: self.q_heads,
            kv_heads: layout.kv_heads,
            block_shift,
            split_tokens,
            split_max,
            scale_log2: scale_log2(layout.head_dim),
        })
    }
}

/// `log2(e) / sqrt(head_dim)`: the softmax runs on powers of two.
pub(crate) fn scale_log2(head_dim: u32) -> f32 {
    (std::f64::consts::LOG2_E / f64::from(head_dim).sqrt()) as f32
}

/// What both attention kernels need of the heads.
pub(crate) fn check_heads(
    operation: &'static str,
    q_heads: u32,
    kv_heads: u32,
    head_dim: u32,
) -> Result<(), ArgumentError> {
    if ![64, 128].contains(&head_dim) {
        let value = head_dim.into();
        return Err(ArgumentError::Unsupported {
            operation,
            name: "head_dim",
            value,
            known: "64 and 128",
        });
    }
    within(
        operation,
        "kv_heads",
        kv_heads.into(),
        1,
        u64::from(u32::MAX),
    )?;
    multiple(operation, "q_heads", q_heads.into(), kv_heads.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::KvOrder;

    fn batch(seq_count: u32, context_max: u32) -> DecodeBatch {
        let layout = KvLayout {
            order: KvOrder::LayerMajor,
            block_count: 8,
            layers: 2,
            kv_heads: 8,
            block_tokens: 16,
            head_dim: 128,
        };
        let wide = View::new(0, 1 << 40);
        DecodeBatch {
            q: wide,
            token_stride: (32 + 16) * 128,
            pool: KvPool { layout, view: wide },
            layer: 1,
            table: wide,
            table_stride: context_max.div_ceil(16),
            context: wide,
            context_max,
            context_total: u64::from(seq_count) * u64::from(context_max),
            output: wide,
            q_heads: 32,
            seq_count,
        }
    }

    #[test]
    fn a_split_is_the_batch_over_the_multiprocessors() {
        // 65,536 tokens * 8 KV heads / 132 = 3,971.9, rounded up to a multiple of 64.
        assert_eq!(split_tokens(&batch(1, 65_536), 132), 4032);
        // 32 * 4,096 * 8 / 132 = 7,944: more than a context, so no split.
        assert_eq!(split_tokens(&batch(32, 4096), 132), 4096);
        // 1,000 * 8 / 132 = 61, but no split is shorter than two tiles for each warp.
        assert_eq!(split_tokens(&batch(1, 1000), 132), 128);
        // One of 32 sequences is long: (32,768 + 31 * 1,024) * 8 / 132 = 3,910 splits it and no other.
        let ragged = DecodeBatch {
            context_total: 32_768 + 31 * 1024,
            ..batch(32, 32_768)
        };
        assert_eq!(split_tokens(&ragged, 132), 3968);
    }

    #[test]
    fn the_workspace_holds_every_batch_up_to_its_size() {
        for seq_count in [1, 2, 7, 33, 64, 65, 256] {
            for context_max in [1, 129, 1024, 5000, 131_072] {
                // From one long sequence among empty ones to a batch of equals.
                for context_total in [
                    u64::from(context_max),
                    u64::from(context_max) * u64::from(seq_count),
                ] {
                    let batch = DecodeBatch {
                        context_total,
                        ..batch(seq_count, context_max)
                    };
                    let splits = context_max.div_ceil(split_tokens(&batch, 132));
                    let rows = u64::from(seq_count) * 32 * u64::from(splits);
                    assert!(
                        rows <= rows_most(seq_count, 32, 8, 132),
                        "{seq_count} sequences of {context_max}"
                    );
                }
            }
        }
    }

    #[test]
    fn shapes_that_the_kernel_was_not_built_for_are_refused() {
        let wide = View::new(0, 1 << 40);
        let good = batch(3, 100);
        assert!(good.check(Splits::Of(128), wide, wide).is_ok());
        let error = |bad: DecodeBatch| {
            bad.check(Splits::Of(128), wide, wide)
                .expect_err("refused")
                .to_string()
        };
        let mut odd = good;
        odd.pool.layout.head_dim = 96;
        assert!(error(odd).contains("64 and 128"));
        assert!(
            error(DecodeBatch {
                q_heads: 36,
                ..good
            })
            .contains("multiple of 8")
        );
        assert!(
            error(DecodeBatch {
                q_heads: 136,
                token_stride: 1 << 20,
                ..good
            })
            .contains("`q_heads` is 136")
        );
        assert!(
            error(DecodeBatch {
                table_stride: 6,
                ..good
            })
            .contains("`context_max` is 100, but must be 1 to 96")
        );
        assert!(
            error(DecodeBatch {
                token_stride: 4088,
                ..good
            })
            .contains("`token_stride`")
        );
        assert!(error(DecodeBatch { layer: 2, ..good }).contains("`layer` is 2"));
    }

    #[test]
    fn a_workspace_matters_only_when_there_is_more_than_one_split() {
        let (wide, none) = (View::new(0, 1 << 40), View::new(0, 0));
        assert!(batch(3, 128).check(Splits::Of(128), none, none).is_ok());
        assert!(batch(3, 129).check(Splits::Of(128), none, wide).is_err());
    }

    #[test]
    fn splits_known_only_on_the_gpu_need_room_for_as_many_as_are_allowed() {
        let (wide, at) = (View::new(0, 1 << 40), View::new(0, 4));
        // 3 sequences, 32 heads, 2 splits, 128 + 2 floats.
        let room = View::new(0, 3 * 32 * 2 * 130 * 4);
        let check = |at, most| batch(3, 100).check(Splits::At { at, most }, room, wide);
        assert!(check(at, 2).is_ok());
        assert!(check(at, 3).is_err());
        assert!(check(View::new(0, 3), 2).is_err(), "too short for a number");
    }
}
