//! How wrong is the simulator? Runs of a GPU, and simulations of the very same specs.
//!
//! ```text
//!   open_loop    each recorded operation, as the cost model expects it
//!   judge        pairs of simulated and measured runs ──► the tables of a validation
//!   recordings   a list of recorded runs ──► simulated again, by the calibrations that it names ──► judge
//! ```

mod judge;
mod open_loop;
pub mod recordings;

pub use judge::{Judged, Matched};
pub use open_loop::open_loop;

use results::folder::RunFolder;
use results::spec::{Engine, Replay, RunSpec};

/// The spec of a run as far as simulation and measurement share it: two runs with equal keys are of one workload and policy.
///
/// The hardware is left out, for a measured run may name the profile that is being judged or another; and so is the draw of the jitter.
pub fn key(spec: &RunSpec) -> String {
    simulating(spec, "", 0).canonical_json()
}

/// Runs by [`key`], in the order of the first of each.
pub fn by_key(runs: Vec<RunFolder>) -> Vec<(String, Vec<RunFolder>)> {
    let mut groups: Vec<(String, Vec<RunFolder>)> = Vec::new();
    for run in runs {
        let own = key(&run.manifest().spec);
        match groups.iter_mut().find(|(key, _)| *key == own) {
            Some((_, group)) => group.push(run),
            None => groups.push((own, vec![run])),
        }
    }
    groups
}

/// What simulates `spec` on `hardware`, by a draw of its jitter.
fn simulating(spec: &RunSpec, hardware: &str, jitter: u32) -> RunSpec {
    RunSpec {
        replay: Replay::default(),
        hardware: hardware.to_owned(),
        engine: Engine {
            jitter,
            ..spec.engine.clone()
        },
        ..spec.clone()
    }
}
