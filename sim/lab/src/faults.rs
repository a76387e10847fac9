//! What each of the seed's five defects does to the metrics, measured: the same runs with and without it.

use crate::run::measure;
use crate::{LabError, Setup};
use engine::Faults;
use rayon::prelude::*;
use results::metrics::RunMetrics;
use results::spec::SweepSpec;
use serde::{Deserialize, Serialize};

/// A row of `faults.csv`: medians over seeds of one policy's runs, with a fault or with none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FaultRow {
    /// Name of the fault; `none` for the sound system.
    pub fault: String,
    /// Runs.
    pub runs: u64,
    /// Median over runs of the P50 wake-up latency.
    pub wakeup_ns_p50: u64,
    /// Median over runs of the P99 wake-up latency.
    pub wakeup_ns_p99: u64,
    /// Swap-outs.
    pub swaps: u64,
    /// Swap-ins that the counters call complete.
    pub restores: u64,
    /// Tokens computed again.
    pub recomputed_tokens: u64,
    /// Bytes moved to the host.
    pub d2h_bytes: u64,
    /// Bytes brought back.
    pub h2d_bytes: u64,
    /// Share of runs in which any metric differs from the sound run of the same seed.
    pub changed: f64,
}

/// Runs every point of `sweep` without a fault and with each of them.
///
/// # Errors
/// If a run fails.
pub fn study(sweep: &SweepSpec) -> Result<Vec<FaultRow>, LabError> {
    let points = sweep.points();
    let names: Vec<&str> = std::iter::once("none").chain(Faults::NAMES).collect();
    let runs: Vec<Vec<RunMetrics>> = names
        .par_iter()
        .map(|name| {
            points
                .par_iter()
                .map(|point| {
                    let mut spec = point.spec.clone();
                    if *name != "none" {
                        spec.faults.inject = vec![(*name).to_owned()];
                    }
                    Ok(measure(&Setup::new(&spec)?)?.0)
                })
                .collect::<Result<_, LabError>>()
        })
        .collect::<Result<_, LabError>>()?;
    let sound = &runs[0];
    Ok(names
        .iter()
        .zip(&runs)
        .map(|(name, runs)| row(name, runs, sound))
        .collect())
}

fn row(name: &str, runs: &[RunMetrics], sound: &[RunMetrics]) -> FaultRow {
    let median = |of: fn(&RunMetrics) -> u64| {
        let mut values: Vec<u64> = runs.iter().map(of).collect();
        values.sort_unstable();
        results::stats::Quantile::P50
            .of_sorted(&values)
            .unwrap_or_default()
    };
    let changed = runs.iter().zip(sound).filter(|(a, b)| a != b).count();
    FaultRow {
        fault: name.to_owned(),
        runs: runs.len() as u64,
        wakeup_ns_p50: median(|m| m.wakeup_ns_p50.unwrap_or_default()),
        wakeup_ns_p99: median(|m| m.wakeup_ns_p99.unwrap_or_default()),
        swaps: median(|m| m.swaps),
        restores: median(|m| m.restores),
        recomputed_tokens: median(|m| m.recomputed_tokens),
        d2h_bytes: median(|m| m.d2h_bytes),
        h2d_bytes: median(|m| m.h2d_bytes),
        changed: changed as f64 / runs.len().max(1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_defect_of_the_seed_shows_in_its_metric() {
        let set = [
            "workload.sessions=100",
            "policy=\"djinn\"",
            "sweep.seed=\"1..2\"",
        ];
        let sweep = crate::seed::sweep("loaded.toml", crate::seed::LOADED, &set).expect("valid");
        let rows = study(&sweep).expect("the runs end");
        let of = |name: &str| rows.iter().find(|row| row.fault == name).expect("a row");
        let sound = of("none");
        assert!(sound.restores > 0 && sound.changed == 0.0);
        // Each by the quantity that it corrupts.
        assert!(of("restore-drops-copy").recomputed_tokens > 10 * sound.recomputed_tokens);
        assert!(of("evict-frees-nothing").wakeup_ns_p99 > sound.wakeup_ns_p99);
        assert!(of("prefetch-races-compute").h2d_bytes > sound.h2d_bytes);
        assert!(of("io-on-hot-path").wakeup_ns_p50 > sound.wakeup_ns_p50);
        assert!((of("signal-lost").changed - 1.0).abs() < f64::EPSILON);
    }
}
