//! One run, resolved.

use super::sections::{Engine, Faults, Hints, Measure, Memory, Replay, Workload};
use super::{Layers, SpecError, SweepSpec};
use crate::canonical;
use serde::{Deserialize, Serialize};

/// Everything that a run depends on, with all defaults filled in.
///
/// Serialises to TOML and JSON; reading either back gives the same spec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunSpec {
    /// Name of the model, a file of `configs/models`.
    pub model: String,
    /// Name of the hardware profile, a file of `configs/hardware`.
    pub hardware: String,
    /// The policy and its parameters, `name[key=value,...]`.
    pub policy: String,
    /// Seed of every random draw of the run.
    pub seed: u64,
    /// How turns become steps.
    pub engine: Engine,
    /// The pools and the link.
    pub memory: Memory,
    /// What the agents do.
    pub workload: Workload,
    /// What a policy hears of the waits.
    pub hints: Hints,
    /// What counts.
    pub measure: Measure,
    /// Defects to be injected.
    pub faults: Faults,
    /// What only a run on a GPU has.
    #[serde(skip_serializing_if = "Replay::is_default")]
    pub replay: Replay,
}

impl Default for RunSpec {
    /// What an empty file stands for.
    fn default() -> Self {
        Self {
            model: "llama-3.1-8b".to_owned(),
            hardware: "h200".to_owned(),
            policy: "djinn".to_owned(),
            seed: 1,
            engine: Engine::default(),
            memory: Memory {
                host_gib: Some(Memory::HOST_GIB),
                ..Memory::default()
            },
            workload: Workload {
                generator: Some("poisson-agents".to_owned()),
                ..Workload::default()
            },
            hints: Hints::default(),
            measure: Measure::default(),
            faults: Faults::default(),
            replay: Replay::default(),
        }
    }
}

impl RunSpec {
    /// Reads a spec that stands for one run.
    ///
    /// # Errors
    /// As [`SweepSpec::load`]; also if it stands for more than one.
    pub fn load(layers: &Layers) -> Result<Self, SpecError> {
        let sweep = SweepSpec::load(layers)?;
        let count = sweep.len();
        match sweep.into_points().next() {
            Some(point) if count == 1 => Ok(point.spec),
            _ => Err(SpecError::NotOneRun { count }),
        }
    }

    /// The spec as a TOML file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a spec is tables of plain values")
    }

    /// The spec as JSON with sorted keys: equal text for equal specs.
    pub fn canonical_json(&self) -> String {
        canonical::json(&serde_json::to_value(self).expect("a spec is tables of plain values"))
    }

    /// Names the run by its content: the first 12 hex digits of the SHA-256 of
    /// [`RunSpec::canonical_json`].
    pub fn run_id(&self) -> String {
        let mut id = canonical::sha256_hex(self.canonical_json().as_bytes());
        id.truncate(12);
        id
    }

    /// What the workload is, in one word: the file's stem or the generator's name.
    pub fn workload_name(&self) -> String {
        let Workload {
            trace, generator, ..
        } = &self.workload;
        let stem = |path: &String| {
            let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
            name.split('.').next().unwrap_or(name).to_owned()
        };
        trace
            .as_ref()
            .map(stem)
            .or_else(|| generator.clone())
            .unwrap_or_default()
    }

    /// Fills in the defaults that depend on what else is given.
    pub(super) fn fill_in(&mut self) {
        if self.memory.host_gib.is_none() && self.memory.host_blocks.is_none() {
            self.memory.host_gib = Some(Memory::HOST_GIB);
        }
        // One spelling of no disk, so that it is one run.
        if self.memory.disk_gib == Some(0.0) {
            self.memory.disk_gib = None;
        }
    }
}
