//! `manifest.json`: what was asked, in full, with what, and how it went.
//!
//! Manifest, trace and decision log are enough to play a run back. Everything that differs from one
//! execution to the next is in [`Wall`], and digests leave it out.

use crate::inputs::Inputs;
use crate::spec::RunSpec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the run folder's layout. Raised when a column or a key changes its meaning.
pub const SCHEMA: u32 = 1;

/// The manifest of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Layout of the folder: [`SCHEMA`].
    pub schema: u32,
    /// [`RunSpec::run_id`] of `spec`.
    pub run_id: String,
    /// The run was cut short; its rows are those up to then.
    pub partial: bool,
    /// What was asked, with all defaults filled in.
    pub spec: RunSpec,
    /// What the sessions were.
    pub trace: TraceInfo,
    /// The policy, as it understood itself.
    pub policy: PolicyInfo,
    /// What executed the run.
    pub device: DeviceInfo,
    /// The hardware profile in force.
    pub hardware: HardwareInfo,
    /// The model's geometry.
    pub model: ModelInfo,
    /// Seed of the run, as in `spec`.
    pub seed: u64,
    /// Sessions, turns, blocks.
    pub counts: Counts,
    /// What a reader should know before using the numbers: of the importer, of the pressure check.
    pub warnings: Vec<String>,
    /// Version of this program.
    pub version: String,
    /// Commit that it was built from, if known; ends with `-dirty` if its sources differed from that.
    pub commit: Option<String>,
    /// What it was made from besides `spec`; not in manifests older than this. Digests leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Inputs>,
    /// The command that repeats the run.
    pub command: String,
    /// What differs from one execution to the next.
    pub wall: Wall,
}

/// Where the sessions came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceInfo {
    /// File or generator.
    pub source: String,
    /// SHA-256 of the session trace in its canonical text, 64 hex digits.
    pub sha256: String,
}

/// A policy's name and what it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyInfo {
    /// Name in the registry.
    pub name: String,
    /// Every parameter, defaults filled in, as printed.
    pub params: BTreeMap<String, String>,
    /// `release`, `paper`, or `reconstructed`: what its rules were taken from.
    pub provenance: String,
}

/// What executed a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceInfo {
    /// `sim`, `host`, or `cuda`.
    pub kind: String,
    /// Name of the GPU; empty for the others.
    pub name: String,
    /// Version of its driver; empty for the others.
    pub driver: String,
}

/// The hardware profile that costs were taken from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardwareInfo {
    /// Name of the profile.
    pub name: String,
    /// `measured`, `data sheet`, `paper`, ..., in the words of the profile.
    pub provenance: String,
    /// SHA-256 of the costs that follow from it for the run's model, 64 hex digits; [`Inputs`] has that of its text.
    pub sha256: String,
}

/// What a model costs in memory, and its shape.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelInfo {
    /// Name of the model.
    pub name: String,
    /// Transformer layers.
    pub layers: u32,
    /// Query heads.
    pub heads: u32,
    /// Key/value heads.
    pub kv_heads: u32,
    /// Width of a head.
    pub head_dim: u32,
    /// Bytes of one KV element.
    pub kv_element_bytes: u32,
    /// Bytes of KV per token, all layers.
    pub kv_token_bytes: u64,
    /// Bytes of the weights.
    pub weight_bytes: u64,
    /// Tensor parallelism: GPUs that share the model.
    pub tp: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// How much there was of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Sessions of the workload that were run.
    pub sessions: u64,
    /// Turns of those sessions.
    pub turns: u64,
    /// Sessions left out because they were too long.
    pub sessions_skipped: u64,
    /// Sessions that were cut because they were too long.
    pub sessions_cut: u64,
    /// Turns lost by that.
    pub turns_cut: u64,
    /// Usable blocks of HBM.
    pub hbm_blocks: u64,
    /// Usable blocks of the host pool.
    pub host_blocks: u64,
    /// Blocks of the disk; left out where there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub disk_blocks: u64,
    /// Blocks written to it; left out if there are none, as those read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub disk_written_blocks: u64,
    /// Blocks read from it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub disk_read_blocks: u64,
    /// KV blocks of sessions that are live at once, at the peak, if each were served alone and at once; 0 in manifests older than this.
    #[serde(default)]
    pub demand_blocks: u64,
}

/// What differs from one execution to the next: ignored by digests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wall {
    /// When it was started, RFC 3339.
    pub started: String,
    /// How long it took \[s\].
    pub seconds: f64,
    /// Events handled per second of it.
    pub events_per_s: f64,
    /// Largest resident set \[bytes\].
    pub rss_peak_bytes: u64,
}
