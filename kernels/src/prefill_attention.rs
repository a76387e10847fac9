//! Chunked prefill attention over paged KV, on tensor cores. Shapes, grid and traffic: `prefill_attention.cu`.

use crate::arguments::{GRID_X_MAX, GRID_YZ_MAX, holds, multiple, within};
use crate::decode_attention::{check_heads, scale_log2};
use crate::gpu::{
    ArgumentError, DeviceBuffer, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image,
};
use crate::kv::KvPool;
use crate::prefill_cut::partial_rows_most;
pub use crate::prefill_cut::{Cut, SPLIT_FROM};
pub use crate::prefill_plan::{PlanSizes, PrefillChunk, PrefillPlan};

/// The shipped kernels.
pub const IMAGE: Image = image!("prefill_attention");

/// Query tokens of a tile, which a CTA computes for one head: fewer take as long.
pub const QUERY_TILE: u32 = 128;
/// Tokens of a tile of keys.
pub(crate) const KEYS: u32 = 64;

/// Attends chunks of query tokens.
pub struct PrefillAttention {
    of_64: [Kernel; 2],
    of_128: [Kernel; 2],
    multiprocessors: u32,
}

/// Memory for the partial sums of contexts in parts: enough for every plan of [`PrefillAttention::plan`] on this GPU, 34 MiB on an H200.
///
/// Two launches that use one workspace must be on one stream.
pub struct PrefillWorkspace {
    partial: DeviceBuffer,
}

/// One call, for one layer: the chunks that a [`PrefillPlan`] is of.
#[derive(Debug, Clone, Copy)]
pub struct PrefillChunks {
    /// `[token_count][token_stride]` bf16; a row begins with Q, `[q_heads][head_dim]`.
    pub q: View,
    /// Elements from one row of `q` to the next.
    pub token_stride: u32,
    /// The KV blocks; they already hold K and V of the chunks.
    pub pool: KvPool,
    /// Layer to read.
    pub layer: u32,
    /// `[sequences][table_stride]` int32: block ids in order.
    pub table: View,
    /// Entries of a sequence in `table`.
    pub table_stride: u32,
    /// The [words](PrefillPlan::words) of the plan, made for as many heads; its sequences are the rows of `table`.
    pub plan: View,
    /// Its sizes; without parts nothing is submitted.
    pub sizes: PlanSizes,
    /// `[token_count][q_heads][head_dim]` bf16.
    pub output: View,
    /// Heads of Q.
    pub q_heads: u32,
    /// Query tokens of all chunks.
    pub token_count: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Parameters {
    q: u64,
    k: u64,
    v: u64,
    table: u64,
    parts: u64,
    merges: u64,
    output: u64,
    sums: u64,
    marks: u64,
    block_stride: u64,
    token_stride: u32,
    table_stride: u32,
    q_heads: u32,
    kv_heads: u32,
    block_shift: u32,
    scale_log2: f32,
}

impl PrefillAttention {
    /// Loads the kernels.
    ///
    /// # Errors
    /// [`Error::Module`] if the GPU takes neither of their forms.
    pub fn load(gpu: &Gpu) -> Result<Self, Error> {
        let module = Module::load(gpu, &IMAGE)?;
        let shared = |head_dim: u32| (QUERY_TILE + 2 * KEYS) * head_dim * 2;
        let pair = |head_dim: u32| -> Result<[Kernel; 2], Error> {
            let attention =
                module.kernel(&format!("prefill_attention_{head_dim}"), shared(head_dim))?;
            Ok([
                attention,
                module.kernel(&format!("prefill_combine_{head_dim}"), 0)?,
            ])
        };
        Ok(Self {
            of_64: pair(64)?,
            of_128: pair(128)?,
            multiprocessors: gpu.info().multiprocessors,
        })
    }

    /// Plans the attention of `chunks`, for every layer of a pass.
    #[must_use]
    pub fn plan(&self, q_heads: u32, chunks: &[PrefillChunk]) -> PrefillPlan {
        PrefillPlan::new(q_heads, self.multiprocessors, chunks)
    }

    /// Submits the attention of `chunks` to `stream`.
    ///
    /// # Errors
    /// A typed argument error for shapes or buffers that the kernel cannot take, or what the driver refuses.
    pub fn launch(
        &self,
        stream: &Stream,
        chunks: &PrefillChunks,
        workspace: &PrefillWorkspace,
    ) -> Result<(), Error> {
        let parameters = chunks.check(workspace.partial.view())?;
        let (sizes, q_heads) = (chunks.sizes, chunks.q_heads);
        if sizes.parts == 0 {
            return Ok(());
        }
        let [attention, combine] = if chunks.pool.layout.head_dim == 64 {
            &self.of_64
        } else {
            &self.of_128
        };
        let launch = |grid| Launch { grid, threads: 128 };
        let grid = [q_heads, sizes.parts, 1];
        // SAFETY: 1. the struct mirrors `PrefillArgs`. 2. `check` covers all but the lists, which the caller owns. 3. both wait first.
        unsafe { attention.launch_overlapping(stream, launch(grid), &parameters)? };
        if sizes.merges == 0 {
            return Ok(());
        }
        let grid = [(sizes.merge_rows * q_heads).div_ceil(4), sizes.merges, 1];
        // SAFETY: as above.
        unsafe { combine.launch_overlapping(stream, launch(grid), &parameters) }
    }
}

impl PrefillWorkspace {
    /// Takes the memory.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or what the driver refuses.
    pub fn new(gpu: &Gpu, head_dim: u32) -> Result<Self, Error> {
        let bytes = 4 * partial_rows_most(gpu.info().multiprocessors) * u64::from(head_dim + 2);
        Ok(Self {
            partial: DeviceBuffer::new(gpu, bytes)?,
        })
    }
}

impl PrefillChunks {
    fn check(&self, partial: View) -> Result<Parameters, ArgumentError> {
        let operation = "prefill_attention";
        let layout = &self.pool.layout;
        let block_shift = self.pool.check_layer(operation, self.layer)?;
        check_heads(operation, self.q_heads, layout.kv_heads, layout.head_dim)?;
        within(operation, "q_heads", self.q_heads.into(), 1, GRID_X_MAX)?;
        for (name, count) in [("parts", self.sizes.parts), ("merges", self.sizes.merges)] {
            within(operation, name, count.into(), 0, GRID_YZ_MAX)?;
        }
        let row = u64::from(self.q_heads) * u64::from(layout.head_dim);
        within(
            operation,
            "token_stride",
            self.token_stride.into(),
            row,
            u64::from(u32::MAX),
        )?;
        multiple(operation, "token_stride", self.token_stride.into(), 8)?;
        let tokens = u64::from(self.token_count);
        let q_bytes = if tokens == 0 {
            0
        } else {
            2 * ((tokens - 1) * u64::from(self.token_stride) + row)
        };
        holds(operation, "q", self.q, q_bytes, 16)?;
        let [sequences, stride] = [self.sizes.sequences, self.table_stride].map(u64::from);
        within(
            operation,
            "rows of the plan",
            self.sizes.rows.into(),
            0,
            tokens,
        )?;
        within(
            operation,
            "context",
            self.sizes.context.into(),
            0,
            stride * u64::from(layout.block_tokens),
        )?;
        holds(operation, "table", self.table, 4 * sequences * stride, 4)?;
        let list = 4 * u64::from(self.sizes.words());
        holds(operation, "plan", self.plan, list, 16)?;
        holds(operation, "output", self.output, 2 * tokens * row, 16)?;
        let lines = u64::from(self.sizes.partial_rows) * u64::from(self.q_heads);
        if lines > 0 {
            let bytes = 4 * lines * u64::from(layout.head_dim + 2);
            holds(operation, "workspace", partial, bytes, 16)?;
        }
        let (k, v) = self.pool.layer_addresses(self.layer);
        Ok(Parameters {
            q: self.q.address(),
            k,
            v,
            table: self.table.address(),
            parts: self.plan.address(),
            merges: self.plan.address() + 4 * u64::from(self.sizes.merges_at()),
            output: self.output.address(),
            sums: partial.address(),
            marks: partial.address() + 4 * lines * u64::from(layout.head_dim),
            block_stride: layout.block_stride() / 2,
            token_stride: self.token_stride,
            table_stride: self.table_stride,
            q_heads: self.q_heads,
            kv_heads: layout.kv_heads,
            block_shift,
            scale_log2: scale_log2(layout.head_dim),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{KvLayout, KvOrder};

    fn chunks() -> PrefillChunks {
        let layout = KvLayout {
            order: KvOrder::BlockMajor,
            block_count: 8,
            layers: 2,
            kv_heads: 2,
            block_tokens: 16,
            head_dim: 64,
        };
        let wide = View::new(0, 1 << 30);
        PrefillChunks {
            q: wide,
            token_stride: (4 + 4) * 64,
            pool: KvPool { layout, view: wide },
            layer: 0,
            table: wide,
            table_stride: 8,
            plan: View::new(0, 4 * (3 * 8 + 4)),
            sizes: PlanSizes {
                parts: 3,
                merges: 1,
                merge_rows: 60,
                partial_rows: 120,
                rows: 100,
                sequences: 3,
                context: 128,
            },
            output: wide,
            q_heads: 4,
            token_count: 100,
        }
    }

    /// 120 rows of partial sums * 4 heads * (64 + 2) floats.
    fn partial() -> View {
        View::new(0, 120 * 4 * 66 * 4)
    }

    #[test]
    fn short_lists_outputs_and_workspaces_are_refused() {
        let good = chunks();
        assert!(good.check(partial()).is_ok());
        let error = |bad: PrefillChunks, partial| {
            let refused = bad.check(partial).err().expect("refused");
            refused.to_string()
        };
        let plan = View::new(0, 111);
        assert!(error(PrefillChunks { plan, ..good }, partial()).contains("`plan` has 111"));
        assert!(error(PrefillChunks { q_heads: 5, ..good }, partial()).contains("multiple of 2"));
        let output = View::new(0, 51_199);
        assert!(error(PrefillChunks { output, ..good }, partial()).contains("needs 51200"));
        assert!(error(good, View::new(0, 126_719)).contains("needs 126720"));
        let table = View::new(0, 4 * 3 * 8 - 1);
        assert!(error(PrefillChunks { table, ..good }, partial()).contains("`table` has 95"));
        let planned = |sizes| error(PrefillChunks { sizes, ..good }, partial());
        let sizes = good.sizes;
        let parts = 1 << 16;
        assert!(planned(PlanSizes { parts, ..sizes }).contains("`parts` is 65536"));
        // Eight blocks of 16 tokens are a row of the table.
        let context = 129;
        assert!(planned(PlanSizes { context, ..sizes }).contains("`context` is 129"));
        let rows = 101;
        assert!(planned(PlanSizes { rows, ..sizes }).contains("`rows of the plan` is 101"));
    }

    #[test]
    fn contexts_that_are_read_whole_need_no_workspace() {
        let whole = PrefillChunks {
            sizes: PlanSizes {
                parts: 3,
                ..PlanSizes::default()
            },
            ..chunks()
        };
        assert!(whole.check(View::new(0, 0)).is_ok());
    }
}
