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

use results::spec::{Replay, RunSpec};

/// The spec of a run as far as simulation and measurement share it: two runs with equal keys are of one workload and policy.
///
/// The hardware is left out, for a measured run may name the profile that is being judged or another.
pub fn key(spec: &RunSpec) -> String {
    with_hardware(spec, "").canonical_json()
}

/// What simulates `spec` on `hardware`.
fn with_hardware(spec: &RunSpec, hardware: &str) -> RunSpec {
    RunSpec {
        replay: Replay::default(),
        hardware: hardware.to_owned(),
        ..spec.clone()
    }
}
