//! Decode attention over paged KV, shared out over the CTAs. Shapes, grid and traffic: `decode_attention.cu`.

use crate::arguments::{holds, multiple, within};
use crate::decode_plan::shares_most;
pub use crate::decode_plan::{Cut, DecodePlan, STEP as DECODE_STEP, Strands};
use crate::gpu::{
    ArgumentError, DeviceBuffer, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image,
};
use crate::kv::{KvLayout, KvPool};

/// The shipped kernels.
pub const IMAGE: Image = image!("decode_attention");

pub(crate) const WARPS: u32 = 4;
const STAGES: u32 = 3;
pub(crate) const TILE: u32 = 16;
/// Q heads of a KV head: the rows of one tile.
const GROUP_MAX: u32 = 16;

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
    /// The [words](DecodePlan::words) of a plan for exactly these contexts, made for this GPU and as many KV heads.
    pub plan: View,
    /// `[seq_count][q_heads][head_dim]` bf16.
    pub output: View,
    /// Heads of Q.
    pub q_heads: u32,
    /// Sequences; zero submits nothing.
    pub seq_count: u32,
    /// Whether lists, and all KV but the newest token of each sequence, are in place before any kernel begins that this one may overlap with, directly
    /// or through others: behind a kernel launched without overlap, or at the start of the graph, at the latest. Reading begins earlier then.
    pub kv_settled: bool,
}

/// Memory for the partial sums of strands that several CTAs share: enough for every plan on this GPU, 0.3 to 4 MiB on an H200.
///
/// **Invariant:** the arrival counters are zero whenever no launch that uses it is in flight; two launches
/// that use one workspace must be on one stream. A launch whose plan is not of its contexts may leave counters behind, and is the last that
/// a workspace serves.
pub struct DecodeWorkspace {
    sums: DeviceBuffer,
    scales: DeviceBuffer,
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
    shares: u64,
    sums: u64,
    scales: u64,
    arrived: u64,
    block_stride: u64,
    token_stride: u32,
    table_stride: u32,
    seq_count: u32,
    q_heads: u32,
    kv_heads: u32,
    block_shift: u32,
    scale_log2: f32,
    kv_settled: u32,
}

impl DecodeWorkspace {
    /// Takes room for every batch of `q_heads` heads over such a pool.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or what the driver refuses.
    pub fn new(stream: &Stream, layout: &KvLayout, q_heads: u32) -> Result<Self, Error> {
        let shares = shares_most(stream.gpu.info().multiprocessors, layout.kv_heads);
        let rows = partial_rows(shares, q_heads);
        let counters = u64::from(shares) * u64::from(layout.kv_heads);
        let arrived = DeviceBuffer::new(&stream.gpu, 4 * counters)?;
        stream.fill(arrived.view(), 0)?;
        stream.synchronize()?;
        Ok(Self {
            sums: DeviceBuffer::new(&stream.gpu, 4 * rows * u64::from(layout.head_dim))?,
            scales: DeviceBuffer::new(&stream.gpu, 8 * rows)?,
            arrived,
        })
    }

    fn views(&self) -> [View; 3] {
        [self.sums.view(), self.scales.view(), self.arrived.view()]
    }
}

/// Rows of partial sums: two a share, for each Q head.
fn partial_rows(shares: u32, q_heads: u32) -> u64 {
    2 * u64::from(shares) * u64::from(q_heads)
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

    /// A batch of sequences with `contexts` KV tokens and so many heads of Q and of KV, to be planned.
    pub fn strands(&self, heads: [u32; 2], contexts: impl IntoIterator<Item = u32>) -> Strands {
        Strands::new(self.multiprocessors, heads, contexts)
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
        let kv_heads = batch.pool.layout.kv_heads;
        let shares = shares_most(self.multiprocessors, kv_heads);
        let parameters = batch.check(shares, workspace.views())?;
        if batch.seq_count == 0 {
            return Ok(());
        }
        let launch = Launch {
            grid: [kv_heads, shares, 1],
            threads: 32 * WARPS,
        };
        let kernel = if batch.pool.layout.head_dim == 64 {
            &self.of_64
        } else {
            &self.of_128
        };
        // SAFETY: 1. the struct mirrors `DecodeArgs`. 2. `check` covers all but tables, contexts and plan, which the caller owns. 3. it waits first but for
        // what is settled by the caller's word.
        unsafe { kernel.launch_overlapping(stream, launch, &parameters) }
    }
}

impl DecodeBatch {
    fn check(
        &self,
        shares: u32,
        [sums, scales, arrived]: [View; 3],
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
            u64::from(GROUP_MAX) * u64::from(layout.kv_heads),
        )?;
        within(operation, "seq_count", self.seq_count.into(), 0, 1 << 30)?;
        let tokens_in_table = u64::from(self.table_stride) * u64::from(layout.block_tokens);
        within(
            operation,
            "context_max",
            self.context_max.into(),
            1,
            tokens_in_table.min(1 << 30),
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
        let words = u64::from(DecodePlan::words_of(shares));
        holds(operation, "plan", self.plan, 4 * words, 16)?;
        let rows = partial_rows(shares, self.q_heads);
        let bytes = 4 * rows * u64::from(layout.head_dim);
        holds(operation, "workspace", sums, bytes, 16)?;
        holds(operation, "workspace", scales, 8 * rows, 8)?;
        let counters = u64::from(shares) * u64::from(layout.kv_heads);
        holds(operation, "workspace", arrived, 4 * counters, 4)?;
        let (k, v) = self.pool.layer_addresses(self.layer);
        Ok(Parameters {
            q: self.q.address(),
            k,
            v,
            table: self.table.address(),
            context: self.context.address(),
            output: self.output.address(),
            shares: self.plan.address(),
            sums: sums.address(),
            scales: scales.address(),
            arrived: arrived.address(),
            block_stride: layout.block_stride() / 2,
            token_stride: self.token_stride,
            table_stride: self.table_stride,
            seq_count: self.seq_count,
            q_heads: self.q_heads,
            kv_heads: layout.kv_heads,
            block_shift,
            scale_log2: scale_log2(layout.head_dim),
            kv_settled: self.kv_settled.into(),
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
            plan: wide,
            output: wide,
            q_heads: 32,
            seq_count,
            kv_settled: false,
        }
    }

    #[test]
    fn shapes_that_the_kernel_was_not_built_for_are_refused() {
        let wide = View::new(0, 1 << 40);
        let good = batch(3, 100);
        assert!(good.check(33, [wide; 3]).is_ok());
        let error = |bad: DecodeBatch| bad.check(33, [wide; 3]).expect_err("refused").to_string();
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
        let plan = View::new(0, 4 * 8 * 33 - 1);
        assert!(error(DecodeBatch { plan, ..good }).contains("`plan` has 1055"));
    }

    #[test]
    fn a_workspace_holds_two_rows_of_sums_for_every_share() {
        let wide = View::new(0, 1 << 40);
        // 33 shares of 32 heads: 2,112 rows of 128 floats, as many pairs, and a counter for each KV head.
        let enough = [2_112 * 512, 2_112 * 8, 264 * 4].map(|bytes| View::new(0, bytes));
        assert!(batch(3, 100).check(33, enough).is_ok());
        for short in 0..3 {
            let mut views = [wide; 3];
            views[short] = View::new(0, enough[short].bytes() - 1);
            assert!(batch(3, 100).check(33, views).is_err());
        }
    }
}
