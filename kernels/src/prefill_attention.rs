//! Chunked prefill attention over paged KV, on tensor cores. Shapes, grid and traffic: `prefill_attention.cu`.

use crate::arguments::{GRID_X_MAX, GRID_YZ_MAX, holds, multiple, within};
use crate::decode_attention::{check_heads, scale_log2};
use crate::gpu::{
    ArgumentError, DeviceBuffer, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image,
};
use crate::kv::KvPool;
pub use crate::prefill_splits::SPLIT_FROM;
use crate::prefill_splits::{Shape, rows_most};

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

/// Memory for the partial sums of split contexts: enough for every call on this GPU, 34 MiB on an H200.
///
/// Two launches that use one workspace must be on one stream.
pub struct PrefillWorkspace {
    partial: DeviceBuffer,
}

/// One call, for one layer: a chunk of each of `seq_count` sequences.
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
    /// `[seq_count][table_stride]` int32: block ids in order.
    pub table: View,
    /// Entries of a sequence in `table`.
    pub table_stride: u32,
    /// `[seq_count + 1]` int32: first row in `q` of each sequence's chunk, then `token_count`.
    pub query_start: View,
    /// `[seq_count]` int32: KV tokens of each sequence, its chunk included.
    pub context: View,
    /// `[token_count][q_heads][head_dim]` bf16.
    pub output: View,
    /// Heads of Q.
    pub q_heads: u32,
    /// Sequences; zero submits nothing.
    pub seq_count: u32,
    /// Query tokens of all chunks.
    pub token_count: u32,
    /// Query tokens of the longest chunk.
    pub chunk_max: u32,
    /// Longest context.
    pub context_max: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Parameters {
    q: u64,
    k: u64,
    v: u64,
    table: u64,
    query_start: u64,
    context: u64,
    output: u64,
    sums: u64,
    marks: u64,
    block_stride: u64,
    token_stride: u32,
    table_stride: u32,
    q_heads: u32,
    kv_heads: u32,
    block_shift: u32,
    split_count: u32,
    token_count: u32,
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
        self.launch_split(stream, chunks, workspace, self.split_count(chunks))
    }

    /// Parts into which [`launch`](Self::launch) splits the context.
    #[must_use]
    pub fn split_count(&self, chunks: &PrefillChunks) -> u32 {
        let shape = Shape {
            q_heads: chunks.q_heads,
            seq_count: chunks.seq_count,
            chunk: chunks.chunk_max,
            context: chunks.context_max,
        };
        shape.splits(self.multiprocessors)
    }

    /// Submits the attention of `chunks` with the context in `split_count` parts: for measuring.
    ///
    /// # Errors
    /// As [`launch`](Self::launch); also if the workspace is too small for so many parts.
    pub fn launch_split(
        &self,
        stream: &Stream,
        chunks: &PrefillChunks,
        workspace: &PrefillWorkspace,
        split_count: u32,
    ) -> Result<(), Error> {
        within(
            "prefill_attention",
            "split_count",
            split_count.into(),
            1,
            GRID_YZ_MAX,
        )?;
        let parameters = chunks.check(split_count, workspace.partial.view())?;
        if chunks.seq_count == 0 || chunks.token_count == 0 {
            return Ok(());
        }
        let grid = [
            chunks.q_heads,
            chunks.chunk_max.div_ceil(QUERY_TILE),
            chunks.seq_count * split_count,
        ];
        let [attention, combine] = if chunks.pool.layout.head_dim == 64 {
            &self.of_64
        } else {
            &self.of_128
        };
        // SAFETY: 1. the struct mirrors `PrefillArgs`. 2. `check` covers all but the lists, which the caller owns. 3. both wait first.
        unsafe {
            attention.launch_overlapping(stream, Launch { grid, threads: 128 }, &parameters)?;
        };
        if split_count == 1 {
            return Ok(());
        }
        let grid = [(chunks.token_count * chunks.q_heads).div_ceil(4), 1, 1];
        // SAFETY: as above.
        unsafe { combine.launch_overlapping(stream, Launch { grid, threads: 128 }, &parameters) }
    }
}

impl PrefillWorkspace {
    /// Takes the memory.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or what the driver refuses.
    pub fn new(gpu: &Gpu, head_dim: u32) -> Result<Self, Error> {
        let bytes = 4 * rows_most(gpu.info().multiprocessors) * u64::from(head_dim + 2);
        Ok(Self {
            partial: DeviceBuffer::new(gpu, bytes)?,
        })
    }
}

impl PrefillChunks {
    fn check(&self, split_count: u32, partial: View) -> Result<Parameters, ArgumentError> {
        let operation = "prefill_attention";
        let layout = &self.pool.layout;
        let block_shift = self.pool.check_layer(operation, self.layer)?;
        check_heads(operation, self.q_heads, layout.kv_heads, layout.head_dim)?;
        within(operation, "q_heads", self.q_heads.into(), 1, GRID_X_MAX)?;
        within(
            operation,
            "seq_count",
            self.seq_count.into(),
            0,
            GRID_YZ_MAX,
        )?;
        let tokens_in_table = u64::from(self.table_stride) * u64::from(layout.block_tokens);
        within(
            operation,
            "context_max",
            self.context_max.into(),
            self.chunk_max.into(),
            tokens_in_table,
        )?;
        within(
            operation,
            "chunk_max",
            self.chunk_max.into(),
            0,
            self.token_count.into(),
        )?;
        within(
            operation,
            "chunk_max",
            self.chunk_max.into(),
            0,
            GRID_YZ_MAX * u64::from(QUERY_TILE),
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
        let (seqs, tokens) = (u64::from(self.seq_count), u64::from(self.token_count));
        let q_bytes = if tokens == 0 {
            0
        } else {
            2 * ((tokens - 1) * u64::from(self.token_stride) + row)
        };
        holds(operation, "q", self.q, q_bytes, 16)?;
        holds(
            operation,
            "table",
            self.table,
            4 * seqs * u64::from(self.table_stride),
            4,
        )?;
        holds(
            operation,
            "query_start",
            self.query_start,
            4 * (seqs + 1),
            4,
        )?;
        holds(operation, "context", self.context, 4 * seqs, 4)?;
        holds(operation, "output", self.output, 2 * tokens * row, 16)?;
        let lines = tokens * u64::from(self.q_heads) * u64::from(split_count);
        if split_count > 1 {
            holds(
                operation,
                "workspace",
                partial,
                4 * lines * u64::from(layout.head_dim + 2),
                16,
            )?;
        }
        let (k, v) = self.pool.layer_addresses(self.layer);
        Ok(Parameters {
            q: self.q.address(),
            k,
            v,
            table: self.table.address(),
            query_start: self.query_start.address(),
            context: self.context.address(),
            output: self.output.address(),
            sums: partial.address(),
            marks: partial.address() + 4 * lines * u64::from(layout.head_dim),
            block_stride: layout.block_stride() / 2,
            token_stride: self.token_stride,
            table_stride: self.table_stride,
            q_heads: self.q_heads,
            kv_heads: layout.kv_heads,
            block_shift,
            split_count,
            token_count: self.token_count,
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
            query_start: View::new(0, 16),
            context: View::new(0, 12),
            output: wide,
            q_heads: 4,
            seq_count: 3,
            token_count: 100,
            chunk_max: 60,
            context_max: 128,
        }
    }

    #[test]
    fn chunks_longer_than_the_query_and_short_lists_are_refused() {
        let (good, none) = (chunks(), View::new(0, 0));
        assert!(good.check(1, none).is_ok());
        let error = |bad: PrefillChunks| bad.check(1, none).err().expect("refused").to_string();
        assert!(
            error(PrefillChunks {
                chunk_max: 101,
                ..good
            })
            .contains("`chunk_max` is 101")
        );
        assert!(
            error(PrefillChunks {
                query_start: View::new(0, 12),
                ..good
            })
            .contains("`query_start` has 12")
        );
        assert!(error(PrefillChunks { q_heads: 5, ..good }).contains("multiple of 2"));
        assert!(
            error(PrefillChunks {
                output: View::new(0, 51_199),
                ..good
            })
            .contains("needs 51200")
        );
        assert!(
            error(PrefillChunks {
                context_max: 129,
                ..good
            })
            .contains("`context_max` is 129")
        );
    }

    #[test]
    fn partial_sums_need_a_workspace_only_when_the_context_is_split() {
        assert!(chunks().check(1, View::new(0, 0)).is_ok());
        assert!(chunks().check(2, View::new(0, 0)).is_err());
        // 100 tokens * 4 heads * 2 splits * (64 + 2) floats.
        assert!(
            chunks()
                .check(2, View::new(0, 100 * 4 * 2 * 66 * 4))
                .is_ok()
        );
    }
}
