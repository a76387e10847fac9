//! The flags of the reference harness.

use super::{OracleError, decimal};
use devices::{LaneCost, LinkCost};
use model::Nanos;
use serde::Serialize;
use std::num::NonZeroU64;
use std::path::PathBuf;

/// Exactly the flags of the reference harness (`oracle.py`), with its defaults.
#[derive(Clone, Debug, Serialize, clap::Args)]
pub struct OracleArgs {
    /// Trace: one session a line, `{"session_id", "arrival_s", "turns": [...]}`
    #[arg(long)]
    #[serde(skip)]
    pub trace: PathBuf,
    /// Output folder; files in it are replaced
    #[arg(long)]
    #[serde(skip)]
    pub out: PathBuf,
    /// Schedule a step while its predecessor runs (default of `vllm serve`)
    #[arg(long)]
    pub async_scheduling: bool,

    /// `num_gpu_blocks`; block 0 is the null block, so one less is usable
    #[arg(long, help_heading = "KV memory")]
    pub gpu_blocks: u32,
    /// Host blocks (0 = no offloading)
    #[arg(long, default_value_t = 0, help_heading = "KV memory")]
    pub cpu_blocks: u32,
    /// Tokens of a block
    #[arg(long, default_value_t = 16, help_heading = "KV memory")]
    pub block_size: u32,
    /// Finished blocks cannot be hit
    #[arg(long, help_heading = "KV memory")]
    pub no_prefix_caching: bool,
    /// Geometry: layers
    #[arg(long, default_value_t = 32, help_heading = "KV memory")]
    pub layers: u32,
    /// Geometry: KV heads
    #[arg(long, default_value_t = 32, help_heading = "KV memory")]
    pub kv_heads: u32,
    /// Geometry: head dimension
    #[arg(long, default_value_t = 128, help_heading = "KV memory")]
    pub head_dim: u32,

    /// Token budget of a step
    #[arg(long, default_value_t = 2048, help_heading = "Scheduler")]
    pub max_num_batched_tokens: u32,
    /// Sequences in the batch
    #[arg(long, default_value_t = 256, help_heading = "Scheduler")]
    pub max_num_seqs: u32,
    /// Longest context
    #[arg(long, default_value_t = 8192, help_heading = "Scheduler")]
    pub max_model_len: u32,
    /// Share of blocks that admissions leave free
    #[arg(long, default_value_t = 0.0, help_heading = "Scheduler")]
    pub watermark: f64,
    /// Longest prefill chunk while others are in the system; 0 is no limit
    #[arg(long, default_value_t = 0, help_heading = "Scheduler")]
    pub long_prefill_token_threshold: u32,
    /// Admit without room for the whole prompt
    #[arg(long, help_heading = "Scheduler")]
    pub no_reserve_full_isl: bool,
    /// Flag that vLLM's scheduler sees; both values give the same results for one GPU
    #[arg(long, default_value = "v1", value_parser = ["v1", "v2"], help_heading = "Scheduler")]
    pub model_runner: String,

    /// Step time a + b*prefill_tokens + c*decode_seqs + d*kv_tokens_read: a, in seconds
    #[arg(long, default_value = "0.008", help_heading = "Step time")]
    pub a: String,
    /// Seconds per prefill token
    #[arg(long, default_value = "0.00007", help_heading = "Step time")]
    pub b: String,
    /// Seconds per decoding sequence
    #[arg(long, default_value = "0.00002", help_heading = "Step time")]
    pub c: String,
    /// Seconds per KV token read
    #[arg(long, default_value = "0.0000003", help_heading = "Step time")]
    pub d: String,

    /// Eviction policy of the host tier (needs --cpu-blocks)
    #[arg(long, default_value = "lru", value_parser = ["lru", "arc"], help_heading = "Offloading")]
    pub offload_policy: String,
    /// Offload generated tokens too (needs --cpu-blocks)
    #[arg(long, help_heading = "Offloading")]
    pub offload_decode: bool,
    /// Blocks of an offloading chunk; only 1 is reproduced (needs --cpu-blocks)
    #[arg(long, default_value_t = 1, help_heading = "Offloading")]
    pub blocks_per_chunk: u32,
    /// 10^9 bytes/s from host to GPU (needs --cpu-blocks)
    #[arg(long, default_value_t = 20.0, help_heading = "Offloading")]
    pub h2d_gbps: f64,
    /// 10^9 bytes/s from GPU to host (needs --cpu-blocks)
    #[arg(long, default_value_t = 20.0, help_heading = "Offloading")]
    pub d2h_gbps: f64,
    /// Fixed cost of a transfer in seconds (needs --cpu-blocks)
    #[arg(long, default_value = "0.00001", help_heading = "Offloading")]
    pub dma_latency_s: String,
    /// When a step polls finished transfers (needs --cpu-blocks)
    #[arg(long, default_value = "launch", value_parser = ["launch", "end"], help_heading = "Offloading")]
    pub kv_poll: String,
    /// Pause of the engine core after a step that ran nothing, in seconds
    #[arg(long, default_value = "0.001", help_heading = "Offloading")]
    pub idle_poll_s: String,

    /// Add a CRC32 of the free queue to every step
    #[arg(long, help_heading = "Output")]
    pub freeq_crc: bool,
    /// Write steps.csv.gz
    #[arg(long, help_heading = "Output")]
    #[serde(skip)]
    pub gzip_steps: bool,
    /// Write only the first N steps (the summary hashes all of them)
    #[arg(long, default_value_t = 0, help_heading = "Output")]
    #[serde(skip)]
    pub steps_head: usize,
}

impl OracleArgs {
    pub(super) fn check(&self) -> Result<(), OracleError> {
        let bad = |flag, what: &str| {
            Err(OracleError::Argument {
                flag,
                what: what.to_owned(),
            })
        };
        if self.cpu_blocks > 0 {
            if self.blocks_per_chunk != 1 {
                return bad(
                    "blocks-per-chunk",
                    "only 1 is reproduced: there is no reference of more; use the reference harness",
                );
            }
            if self.idle_poll()? == Nanos::ZERO {
                return bad(
                    "idle-poll-s",
                    "must not be 0 with --cpu-blocks: the engine core would poll for a copy forever at one instant",
                );
            }
            for (flag, rate) in [("h2d-gbps", self.h2d_gbps), ("d2h-gbps", self.d2h_gbps)] {
                if lane_rate(rate).is_none() {
                    return bad(flag, "a positive rate in 10^9 bytes/s, such as 20");
                }
            }
        }
        if self.gpu_blocks < 2 {
            return bad("gpu-blocks", "at least 2: block 0 is the null block");
        }
        if self.block_size == 0 {
            return bad("block-size", "at least 1 token");
        }
        if self.max_num_batched_tokens == 0 || self.max_num_seqs == 0 {
            return bad(
                "max-num-seqs",
                "a step needs room for a sequence and a token",
            );
        }
        if !(0.0..1.0).contains(&self.watermark) {
            return bad("watermark", "a share from 0 to below 1");
        }
        Ok(())
    }

    /// a, b, c, d in integer picoseconds.
    pub(super) fn coefficients(&self) -> Result<[u64; 4], OracleError> {
        Ok([
            decimal::parse(&self.a, "a", 12)?,
            decimal::parse(&self.b, "b", 12)?,
            decimal::parse(&self.c, "c", 12)?,
            decimal::parse(&self.d, "d", 12)?,
        ])
    }

    /// Pause of the engine core after a step that ran nothing.
    pub(super) fn idle_poll(&self) -> Result<Nanos, OracleError> {
        let nanos = decimal::parse(&self.idle_poll_s, "idle-poll-s", 9)?;
        Ok(Nanos(nanos))
    }

    /// The copy engine: one first in, first out channel per direction, of constant rate.
    pub(super) fn link(&self) -> Result<LinkCost, OracleError> {
        let copy_ns = decimal::parse(&self.dma_latency_s, "dma-latency-s", 9)?;
        let lane = |rate| {
            // Without a host tier nothing is copied, and any rate does.
            let rate = lane_rate(rate).unwrap_or(NonZeroU64::MIN);
            LaneCost {
                copy_ns,
                block_ns: 0,
                bytes_per_s: rate,
                bytes_per_s_shared: rate,
                slowdown_ppm: 0,
                beside_steps_ppm: 0,
            }
        };
        Ok(LinkCost::new(lane(self.d2h_gbps), lane(self.h2d_gbps)))
    }

    /// The policy that the flags mean.
    pub(super) fn policy(&self) -> String {
        if self.cpu_blocks == 0 {
            return "vllm-recompute".to_owned();
        }
        let prompt_only = if self.offload_decode { "no" } else { "yes" };
        let (eviction, poll) = (&self.offload_policy, &self.kv_poll);
        format!("vllm-offload[eviction={eviction},prompt_only={prompt_only},poll={poll}]")
    }

    /// Bytes of a block: keys and values of all layers, two bytes a value.
    pub(super) fn block_bytes(&self) -> u64 {
        [
            2,
            self.layers,
            self.kv_heads,
            self.head_dim,
            2,
            self.block_size,
        ]
        .map(u64::from)
        .iter()
        .product()
    }
}

/// Bytes per second, truncated as the harness does; `None` where nothing would ever arrive.
fn lane_rate(gbps: f64) -> Option<NonZeroU64> {
    NonZeroU64::new((gbps * 1e9) as u64)
}
