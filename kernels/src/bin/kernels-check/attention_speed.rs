//! Attention at the shapes of Llama-2-7B (32 KV heads) and Llama-3.1-8B (8), and what splits of the context cost.

use std::path::Path;

use kernels::decode_attention::{DecodeAttention, DecodeBatch, DecodeWorkspace, Splits};
use kernels::gpu::{DeviceBuffer, Error};
use kernels::kv::{KvLayout, KvOrder, KvPool};
use kernels::prefill_attention::{PrefillAttention, PrefillChunks, PrefillWorkspace};

use crate::speed::{Bench, REPEATS};
use crate::suite::scrambled;
use crate::timing::{Table, gigabytes_per_second, median_nanos};

impl Bench {
    /// Decode and prefill into `attention.csv`, by split into `decode_splits.csv` and `prefill_splits.csv`.
    pub fn attention(&self, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let mut table = Table::new(
            &self.gpu,
            "attention",
            "kernel,q_heads,kv_heads,seqs,chunk,context,nanos,gb_per_s,tflop_per_s",
        );
        let mut splits = Table::new(
            &self.gpu,
            "decode_splits",
            "kv_heads,seqs,context,split_tokens,chosen,nanos,gb_per_s",
        );
        for (kv_heads, seqs, context) in [
            (32, 1, 1024),
            (32, 8, 1024),
            (32, 32, 1024),
            (32, 128, 1024),
            (32, 32, 4096),
            (32, 1, 16_384),
            (8, 1, 1024),
            (8, 32, 4096),
            (8, 1, 65_536),
        ] {
            self.decode(&mut table, &mut splits, kv_heads, seqs, context)?;
        }
        let mut prefill_splits = Table::new(
            &self.gpu,
            "prefill_splits",
            "kv_heads,seqs,chunk,context,split_count,chosen,nanos",
        );
        for (kv_heads, seqs, chunk, context) in [
            (32, 1, 512, 512),
            (32, 1, 2048, 2048),
            (32, 1, 8192, 8192),
            (32, 4, 2048, 2048),
            (32, 1, 512, 16_384),
            (8, 1, 2048, 2048),
            (8, 1, 2048, 32_768),
            (8, 1, 128, 32_768),
        ] {
            let work = self.prefill_work(kv_heads, seqs, chunk, context)?;
            work.time(self, &mut table)?;
        }
        for chunk in [40, 90, 128, 200, 256, 512, 1024] {
            for before in [0, 512, 1500, 2000, 4000, 16_384] {
                let work = self.prefill_work(32, 1, chunk, before + chunk)?;
                work.time_splits(self, &mut prefill_splits)?;
            }
        }
        for (kv_heads, seqs, chunk, before) in [
            (8, 1, 256, 16_384),
            (8, 1, 512, 65_536),
            (32, 2, 90, 2000),
            (32, 3, 200, 2000),
        ] {
            let work = self.prefill_work(kv_heads, seqs, chunk, before + chunk)?;
            work.time_splits(self, &mut prefill_splits)?;
        }
        table.save(folder)?;
        splits.save(folder)?;
        prefill_splits.save(folder)?;
        Ok(())
    }

    /// A pool for `seqs` sequences of `context` tokens and its scrambled block table.
    fn paged(
        &self,
        kv_heads: u32,
        seqs: u32,
        context: u32,
        layers: u32,
    ) -> Result<(KvPool, DeviceBuffer, DeviceBuffer), Error> {
        let block_count = seqs * context.div_ceil(16);
        let layout = KvLayout {
            order: KvOrder::LayerMajor,
            block_count,
            layers,
            kv_heads,
            block_tokens: 16,
            head_dim: 128,
        };
        let pool = self.filled(layout.pool_bytes())?;
        let table = DeviceBuffer::from_slice(&self.stream, &scrambled(1, block_count))?;
        Ok((
            KvPool {
                layout,
                view: pool.view(),
            },
            pool,
            table,
        ))
    }

    /// Decode over as many layers as exceed the L2 cache, in one graph, so that each layer is read from HBM.
    fn decode(
        &self,
        table: &mut Table,
        splits: &mut Table,
        kv_heads: u32,
        seqs: u32,
        context: u32,
    ) -> Result<(), Error> {
        let layer_bytes = 2 * 2 * 128 * u64::from(kv_heads) * u64::from(seqs) * u64::from(context);
        let layers = ((1_u64 << 30).div_ceil(layer_bytes) as u32).clamp(2, 32);
        let (pool, _memory, block_table) = self.paged(kv_heads, seqs, context, layers)?;
        let token_stride = (32 + 2 * kv_heads) * 128;
        let q = self.filled(2 * u64::from(seqs) * u64::from(token_stride))?;
        let output = DeviceBuffer::new(&self.gpu, 2 * u64::from(seqs) * 32 * 128)?;
        let contexts =
            DeviceBuffer::from_slice(&self.stream, &vec![context as i32; seqs as usize])?;
        // Room for 64 splits a sequence, more than the launcher's own choice ever makes.
        let workspace = DecodeWorkspace::new(&self.stream, &pool.layout, 16 * seqs, 32)?;
        let kernel = DecodeAttention::load(&self.gpu)?;
        let batch = |layer| DecodeBatch {
            q: q.view(),
            token_stride,
            pool,
            layer,
            table: block_table.view(),
            table_stride: context.div_ceil(16),
            context: contexts.view(),
            context_max: context,
            context_total: u64::from(seqs) * u64::from(context),
            output: output.view(),
            q_heads: 32,
            seq_count: seqs,
        };
        let time = |split_tokens| -> Result<u64, Error> {
            let graph = self.stream.capture(|stream| {
                (0..layers).try_for_each(|layer| {
                    kernel.launch_split(stream, &batch(layer), &workspace, Splits::Of(split_tokens))
                })
            })?;
            let nanos = median_nanos(&self.gpu, &self.stream, REPEATS, || {
                graph.launch(&self.stream)
            })?;
            Ok(nanos / u64::from(layers))
        };
        let chosen = kernel.split_tokens(&batch(0));
        let nanos = time(chosen)?;
        let rate = gigabytes_per_second(layer_bytes, nanos);
        table.row(&format!(
            "decode,32,{kv_heads},{seqs},1,{context},{nanos},{rate:.0},"
        ));
        splits.row(&format!(
            "{kv_heads},{seqs},{context},{chosen},yes,{nanos},{rate:.0}"
        ));
        let worth_a_row = |split: &u32| *split <= context && context / *split <= 64;
        for split in [128, 256, 512, 1024, 2048, 4096, 8192]
            .into_iter()
            .filter(worth_a_row)
        {
            let nanos = time(split)?;
            let rate = gigabytes_per_second(layer_bytes, nanos);
            splits.row(&format!(
                "{kv_heads},{seqs},{context},{split},no,{nanos},{rate:.0}"
            ));
        }
        Ok(())
    }

    fn prefill_work(
        &self,
        kv_heads: u32,
        seqs: u32,
        chunk: u32,
        context: u32,
    ) -> Result<PrefillWork, Error> {
        let (pool, pool_memory, table) = self.paged(kv_heads, seqs, context, 1)?;
        let token_stride = (32 + 2 * kv_heads) * 128;
        let tokens = seqs * chunk;
        let q = self.filled(2 * u64::from(tokens) * u64::from(token_stride))?;
        let output = DeviceBuffer::new(&self.gpu, 2 * u64::from(tokens) * 32 * 128)?;
        let starts: Vec<i32> = (0..=seqs).map(|seq| (seq * chunk) as i32).collect();
        let starts = DeviceBuffer::from_slice(&self.stream, &starts)?;
        let contexts =
            DeviceBuffer::from_slice(&self.stream, &vec![context as i32; seqs as usize])?;
        Ok(PrefillWork {
            kernel: PrefillAttention::load(&self.gpu)?,
            chunks: PrefillChunks {
                q: q.view(),
                token_stride,
                pool,
                layer: 0,
                table: table.view(),
                table_stride: context.div_ceil(16),
                query_start: starts.view(),
                context: contexts.view(),
                output: output.view(),
                q_heads: 32,
                seq_count: seqs,
                token_count: tokens,
                chunk_max: chunk,
                context_max: context,
            },
            workspace: PrefillWorkspace::new(&self.gpu, 128)?,
            _memory: [pool_memory, table, q, output, starts, contexts],
        })
    }
}

/// One call on one layer's KV, and the memory it reads and writes.
struct PrefillWork {
    kernel: PrefillAttention,
    chunks: PrefillChunks,
    workspace: PrefillWorkspace,
    _memory: [DeviceBuffer; 6],
}

impl PrefillWork {
    fn nanos(&self, bench: &Bench, split_count: u32) -> Result<u64, Error> {
        median_nanos(&bench.gpu, &bench.stream, REPEATS, || {
            self.kernel
                .launch_split(&bench.stream, &self.chunks, &self.workspace, split_count)
        })
    }

    /// Its columns in every table: KV heads, sequences, chunk and context.
    fn columns(&self) -> String {
        let PrefillChunks {
            seq_count,
            chunk_max,
            context_max,
            ..
        } = self.chunks;
        let kv_heads = self.chunks.pool.layout.kv_heads;
        format!("{kv_heads},{seq_count},{chunk_max},{context_max}")
    }

    fn time(&self, bench: &Bench, table: &mut Table) -> Result<(), Error> {
        let nanos = self.nanos(bench, self.kernel.split_count(&self.chunks))?;
        // Visible pairs: the sum of context - chunk + 1 .. context; 4 * head_dim operations each per Q head.
        let seqs = u64::from(self.chunks.seq_count);
        let chunk = u64::from(self.chunks.chunk_max);
        let context = u64::from(self.chunks.context_max);
        let pairs = seqs * (chunk * (context - chunk) + chunk * (chunk + 1) / 2);
        let rate = (4 * 128 * 32 * pairs) as f64 / nanos as f64 / 1e3;
        let columns = self.columns();
        table.row(&format!("prefill,32,{columns},{nanos},,{rate:.0}"));
        Ok(())
    }

    /// Every split count up to 16 and the chosen one, as far as the workspace holds it.
    fn time_splits(&self, bench: &Bench, table: &mut Table) -> Result<(), Error> {
        let chosen = self.kernel.split_count(&self.chunks);
        let columns = self.columns();
        for split_count in 1..=chosen.max(16) {
            let nanos = match self.nanos(bench, split_count) {
                Err(Error::Argument(_)) => break,
                timed => timed?,
            };
            let mark = if split_count == chosen { "yes" } else { "no" };
            table.row(&format!("{columns},{split_count},{mark},{nanos}"));
        }
        Ok(())
    }
}
