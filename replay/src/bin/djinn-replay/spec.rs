//! From a config and options to what is replayed.

use crate::{Failure, Kind};
use results::spec::{DRAW, Layers, RunSpec, split_policies};
use std::path::PathBuf;

/// A config, and what of it is set on the command line.
#[derive(clap::Args)]
pub struct SpecArgs {
    /// Config in TOML, as for `djinn run`; none: all defaults
    #[arg(value_name = "CONFIG")]
    file: Option<PathBuf>,
    /// Set a key of the config, `memory.host_gib=16`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// What steps do: read weights and KV, or pass modelled time; as `--set replay.compute=KIND` [default: touch]
    #[arg(long, value_enum)]
    compute: Option<Kind>,
    /// HBM in all, to emulate a smaller card: as `--set memory.hbm_gib=N`
    #[arg(long, value_name = "GIB")]
    hbm_gib: Option<f64>,
    /// Pinned host memory: as `--set memory.host_gib=N`
    #[arg(long, value_name = "GIB")]
    host_gib: Option<f64>,
    /// Neither stamp nor verify blocks, as for a comparison with simulations: as `--set replay.integrity=false`
    #[arg(long)]
    no_integrity: bool,
}

impl SpecArgs {
    /// The config under what is set, with these policies.
    pub fn layers(&self, policies: Option<&str>) -> Result<Layers, Failure> {
        let mut layers = match &self.file {
            None => Layers::of_text("defaults", ""),
            Some(file) => {
                Layers::of_file(file).map_err(|error| Failure::Failed(error.to_string()))?
            }
        };
        layers.set.clone_from(&self.set);
        layers
            .set
            .extend(self.hbm_gib.map(|gib| format!("memory.hbm_gib={gib:?}")));
        layers
            .set
            .extend(self.host_gib.map(|gib| format!("memory.host_gib={gib:?}")));
        if self.no_integrity {
            layers.set.push("replay.integrity=false".to_owned());
        }
        layers.policies = policies.map(split_policies).unwrap_or_default();
        Ok(layers)
    }

    /// The spec with what steps do written down, so that the run is named after it.
    ///
    /// # Errors
    /// If only a simulation can be so.
    pub fn complete(&self, mut spec: RunSpec) -> Result<RunSpec, Failure> {
        if spec.engine.jitter > 0 {
            return Err(Failure::Failed(format!(
                "{DRAW} is for simulations: a GPU has its own; leave it 0 (`--set {DRAW}=0`), and repeat a run by `sweep --repeats`"
            )));
        }
        let given = self.compute.map(Kind::into);
        spec.replay.compute = given
            .or(spec.replay.compute)
            .or(Some(Kind::default().into()));
        Ok(spec)
    }
}
