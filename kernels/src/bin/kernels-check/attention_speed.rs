//! Attention at the shapes of Llama-2-7B (32 KV heads) and Llama-3.1-8B (8), and what the choice of CTAs costs.

use std::path::Path;

use kernels::decode_attention::{DecodeAttention, DecodeBatch, DecodePlan, DecodeWorkspace};
use kernels::gpu::{DeviceBuffer, Error};
use kernels::kv::{KvLayout, KvOrder, KvPool};
use kernels::prefill_attention::{
    PlanSizes, PrefillAttention, PrefillChunk, PrefillChunks, PrefillPlan, PrefillWorkspace,
    QUERY_TILE,
};

use crate::speed::{Bench, REPEATS};
use crate::suite::scrambled;
use crate::timing::{Table, gigabytes_per_second, median_nanos};

/// Cuts of a pass that are timed: so many that are estimated to be best, and so many of the others.
const BEST_CUTS: usize = 4;
const OTHER_CUTS: usize = 4;

/// Batches that decode: KV heads and contexts.
fn decode_batches() -> Vec<(u32, Vec<u32>)> {
    let equal = |kv_heads: u32, seqs: &[u32], contexts: &[u32], tokens: u32| {
        let mut batches = Vec::new();
        for &seqs in seqs {
            let contexts = contexts.iter().filter(|&&context| seqs * context < tokens);
            batches.extend(contexts.map(|&context| (kv_heads, vec![context; seqs as usize])));
        }
        batches
    };
    let seqs = [1, 2, 3, 4, 5, 6, 8, 9, 12, 20, 33, 128];
    let mut batches = equal(8, &seqs, &[1_024, 2_600, 20_300, 61_700], 520_000);
    batches.extend(equal(32, &seqs, &[500, 1_024, 2_600, 12_000], 135_000));
    let ragged: [&[u32]; 4] = [
        &[61_700, 1_024],
        &[30_000, 9_100, 20_300],
        &[3_900, 200, 1_300, 700, 2_600],
        &[40_000, 300, 300, 300, 300, 300, 300, 300],
    ];
    batches.extend(
        [8, 32]
            .iter()
            .flat_map(|&heads| ragged.map(|contexts| (heads, contexts.to_vec()))),
    );
    batches
}

/// Contexts in few words: `3 x 1024`, or each.
fn named(contexts: &[u32]) -> String {
    let alike = contexts.chunk_by(|a, b| a == b);
    let names = alike.map(|run| match run.len() {
        1 => run[0].to_string(),
        count => format!("{count} x {}", run[0]),
    });
    names.collect::<Vec<_>>().join(" ")
}

impl Bench {
    /// Decode by CTAs into `decode_shares.csv`.
    pub fn decode_attention(&self, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let mut shares = Table::new(
            &self.gpu,
            "decode_shares",
            "kv_heads,contexts,cut,chosen,nanos,gb_per_s",
        );
        for (kv_heads, contexts) in decode_batches() {
            self.decode(&mut shares, kv_heads, &contexts)?;
        }
        Ok(shares.save(folder)?)
    }

    /// Prefill into `prefill.csv`, and by how it is cut into `prefill_parts.csv`.
    pub fn prefill_attention(&self, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let mut table = Table::new(
            &self.gpu,
            "prefill",
            "q_heads,kv_heads,chunks,tokens,context,nanos,tflop_per_s",
        );
        for (kv_heads, count, tokens, past) in [
            (32, 1, 512, 0),
            (32, 1, 2048, 0),
            (32, 1, 8192, 0),
            (32, 4, 2048, 0),
            (32, 1, 512, 15_872),
            (8, 1, 2048, 0),
            (8, 1, 2048, 30_720),
            (8, 1, 128, 32_640),
        ] {
            let work = self.prefill_work(kv_heads, &vec![(tokens, past); count])?;
            work.time(self, &mut table)?;
        }
        let mut parts = Table::new(
            &self.gpu,
            "prefill_parts",
            "kv_heads,chunks,cut,chosen,nanos",
        );
        for tokens in [40, 90, 128, 200, 256, 512, 1024] {
            for past in [0, 512, 1500, 2000, 4000, 16_384] {
                let work = self.prefill_work(32, &[(tokens, past)])?;
                work.time_cuts(self, &mut parts)?;
            }
        }
        let of_8: [&[_]; 2] = [&[(256, 16_384)], &[(512, 65_536)]];
        let of_32: [&[_]; 15] = [
            &[(90, 2000); 2],
            &[(200, 2000); 3],
            // What waking agents bring: different prompts behind different contexts.
            &[(156, 133), (17, 7), (13, 1270)],
            &[(90, 456), (89, 837), (202, 4)],
            &[(186, 0), (4, 1100)],
            &[(60, 300), (45, 2500)],
            &[(120, 900), (130, 60), (40, 1800), (75, 400)],
            &[(500, 0), (30, 3000)],
            &[(1024, 0), (64, 4000)],
            &[(2000, 0), (48, 8000)],
            &[(256, 256), (256, 1024), (256, 2048)],
            &[(30, 600), (30, 900), (30, 1200), (30, 1500), (30, 1800)],
            &[(100, 500); 8],
            &[
                (100, 100),
                (100, 500),
                (100, 900),
                (100, 1300),
                (100, 1700),
                (100, 2100),
            ],
            &[(16, 40_000), (300, 2000)],
        ];
        let works = of_8.map(|chunks| (8, chunks)).into_iter();
        for (kv_heads, chunks) in works.chain(of_32.map(|chunks| (32, chunks))) {
            let work = self.prefill_work(kv_heads, chunks)?;
            work.time_cuts(self, &mut parts)?;
        }
        // Every number of tiles of a pass.
        for tiles in 1..=64 {
            let work = self.prefill_work(8, &[(tiles * QUERY_TILE, 20_300)])?;
            work.time_cuts(self, &mut parts)?;
        }
        table.save(folder)?;
        parts.save(folder)?;
        Ok(())
    }

    /// A pool for `seqs` sequences of up to `context` tokens and its scrambled block table.
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
    fn decode(&self, table: &mut Table, kv_heads: u32, contexts: &[u32]) -> Result<(), Error> {
        let (seqs, longest) = (
            contexts.len() as u32,
            contexts.iter().copied().max().unwrap_or(0),
        );
        let total: u64 = contexts.iter().copied().map(u64::from).sum();
        let layer_bytes = 2 * 2 * 128 * u64::from(kv_heads) * total;
        let layers = ((1_u64 << 30).div_ceil(layer_bytes) as u32).clamp(2, 32);
        let (pool, _memory, block_table) = self.paged(kv_heads, seqs, longest, layers)?;
        let token_stride = (32 + 2 * kv_heads) * 128;
        let q = self.filled(2 * u64::from(seqs) * u64::from(token_stride))?;
        let output = DeviceBuffer::new(&self.gpu, 2 * u64::from(seqs) * 32 * 128)?;
        let context = DeviceBuffer::from_slice(&self.stream, contexts)?;
        let workspace = DecodeWorkspace::new(&self.stream, &pool.layout, 32)?;
        let kernel = DecodeAttention::load(&self.gpu)?;
        let time = |plan: &DecodePlan| -> Result<u64, Error> {
            let plan = DeviceBuffer::from_slice(&self.stream, plan.words())?;
            let batch = |layer| DecodeBatch {
                q: q.view(),
                token_stride,
                pool,
                layer,
                table: block_table.view(),
                table_stride: longest.div_ceil(16),
                context: context.view(),
                context_max: longest,
                plan: plan.view(),
                output: output.view(),
                q_heads: 32,
                seq_count: seqs,
                kv_settled: false,
            };
            let graph = self.stream.capture(|stream| {
                (0..layers).try_for_each(|layer| kernel.launch(stream, &batch(layer), &workspace))
            })?;
            let nanos = median_nanos(&self.gpu, &self.stream, REPEATS, || {
                graph.launch(&self.stream)
            })?;
            Ok(nanos / u64::from(layers))
        };
        let strands = kernel.strands([32, kv_heads], contexts.iter().copied());
        let chosen = strands.plan();
        for cut in strands.cuts() {
            let plan = strands.cut(cut);
            let nanos = time(&plan)?;
            let rate = gigabytes_per_second(layer_bytes, nanos);
            let mark = if plan == chosen { "yes" } else { "no" };
            let (name, cut) = (named(contexts), format!("{cut:?}").to_lowercase());
            table.row(&format!("{kv_heads},{name},{cut},{mark},{nanos},{rate:.0}"));
        }
        Ok(())
    }

    /// Chunks of query tokens, each behind the KV tokens that come before it.
    fn prefill_work(&self, kv_heads: u32, chunks: &[(u32, u32)]) -> Result<PrefillWork, Error> {
        let chunks: Vec<PrefillChunk> = chunks
            .iter()
            .map(|&(tokens, past)| PrefillChunk {
                tokens,
                context: past + tokens,
            })
            .collect();
        let context = chunks.iter().map(|chunk| chunk.context).max().unwrap_or(0);
        let (pool, pool_memory, table) = self.paged(kv_heads, chunks.len() as u32, context, 1)?;
        let token_stride = (32 + 2 * kv_heads) * 128;
        let token_count = chunks.iter().map(|chunk| chunk.tokens).sum();
        let q = self.filled(2 * u64::from(token_count) * u64::from(token_stride))?;
        let output = DeviceBuffer::new(&self.gpu, 2 * u64::from(token_count) * 32 * 128)?;
        let call = PrefillChunks {
            q: q.view(),
            token_stride,
            pool,
            layer: 0,
            table: table.view(),
            table_stride: context.div_ceil(16),
            plan: q.view(),
            sizes: PlanSizes::default(),
            output: output.view(),
            q_heads: 32,
            token_count,
        };
        Ok(PrefillWork {
            kernel: PrefillAttention::load(&self.gpu)?,
            chunks,
            call,
            workspace: PrefillWorkspace::new(&self.gpu, 128)?,
            _memory: [pool_memory, table, q, output],
        })
    }
}

/// One call on one layer's KV without its plan, and the memory it reads and writes.
struct PrefillWork {
    kernel: PrefillAttention,
    chunks: Vec<PrefillChunk>,
    call: PrefillChunks,
    workspace: PrefillWorkspace,
    _memory: [DeviceBuffer; 4],
}

impl PrefillWork {
    fn nanos(&self, bench: &Bench, plan: &PrefillPlan) -> Result<u64, Error> {
        let list = DeviceBuffer::from_slice(&bench.stream, plan.words())?;
        let call = PrefillChunks {
            plan: list.view(),
            sizes: plan.sizes(),
            ..self.call
        };
        median_nanos(&bench.gpu, &bench.stream, REPEATS, || {
            self.kernel.launch(&bench.stream, &call, &self.workspace)
        })
    }

    /// The chosen plan, of chunks that are alike.
    fn time(&self, bench: &Bench, table: &mut Table) -> Result<(), Error> {
        let plan = self.kernel.plan(self.call.q_heads, &self.chunks);
        let nanos = self.nanos(bench, &plan)?;
        // Visible pairs: the sum of context - tokens + 1 .. context; 4 * head_dim operations each per Q head.
        let pairs = |chunk: &PrefillChunk| {
            let (tokens, context) = (u64::from(chunk.tokens), u64::from(chunk.context));
            tokens * (context - tokens) + tokens * (tokens + 1) / 2
        };
        let pairs: u64 = self.chunks.iter().map(pairs).sum();
        let rate = (4 * 128 * 32 * pairs) as f64 / nanos as f64 / 1e3;
        let PrefillChunk { tokens, context } = self.chunks[0];
        let (kv_heads, count) = (self.call.pool.layout.kv_heads, self.chunks.len());
        table.row(&format!(
            "32,{kv_heads},{count},{tokens},{context},{nanos},{rate:.0}"
        ));
        Ok(())
    }

    /// Cuts that the planner chooses from: those estimated to be best, and some of the others.
    fn time_cuts(&self, bench: &Bench, table: &mut Table) -> Result<(), Error> {
        let (q_heads, chunks) = (self.call.q_heads, &self.chunks);
        let chosen = self.kernel.plan(q_heads, chunks);
        let names: Vec<String> = chunks
            .iter()
            .map(|chunk| format!("{}+{}", chunk.context - chunk.tokens, chunk.tokens))
            .collect();
        let of = format!("{},{}", self.call.pool.layout.kv_heads, names.join(" "));
        let mut cuts = PrefillPlan::cuts(q_heads, bench.gpu.info().multiprocessors, chunks);
        cuts.sort_by_key(|cut| cut.1);
        let (best, others) = cuts.split_at(BEST_CUTS.min(cuts.len()));
        let others = others
            .iter()
            .step_by(others.len().div_ceil(OTHER_CUTS).max(1));
        for (cut, _) in best.iter().chain(others) {
            let plan = PrefillPlan::with_cut(*cut, chunks);
            let nanos = self.nanos(bench, &plan)?;
            let mark = if plan == chosen { "yes" } else { "no" };
            table.row(&format!("{of},{cut},{mark},{nanos}"));
        }
        Ok(())
    }
}
