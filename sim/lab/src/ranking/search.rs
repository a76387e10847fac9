//! Loads, found by their effect on the reference policy.
//!
//! A rate *passes* for a load if every training shard is stable, and the mean wake-up (mean over shards) is at most so many times that of the unloaded
//! probe. The highest rate that passes is found by halving, on a logarithmic scale, the distance between the highest known to pass and
//! the lowest known to fail. Probes of one load serve the next.
//!
//! **Invariant:** equal shards give equal loads; every probe is recorded.
//! **Absent on purpose:** a proof that the curve is monotone. Near the knee it is noisy; what is found is *a* rate that passes beside one that fails.

use super::points::{At, Points, rounded};
use super::spec::{Load, RankingSpec, Workload, shards};
use super::{Stage, Work};
use crate::{LabError, Setup};
use results::ranking::{LoadRow, ProbeRow, Setting};

/// Doublings of the rate at which the tokens alone need all of the GPU, before a load is taken to have no end.
const DOUBLINGS_MAX: u32 = 6;

/// The loads of `workload`, and the probes that found them.
pub(super) fn search(
    work: &Work<'_>,
    workload: &Workload,
) -> Result<(Vec<LoadRow>, Vec<ProbeRow>), LabError> {
    let full = full_rate(work.spec, &work.points, workload)?;
    let mut search = Search {
        work,
        workload,
        probes: Vec::new(),
    };
    search.probe("", rounded(full * work.spec.search.unloaded))?;
    let mut loads: Vec<LoadRow> = Vec::new();
    for load in &work.spec.loads {
        let (rate, rule) = match (load.wakeup_times, &load.of, load.times) {
            (Some(times), ..) => search.highest(load, times, full)?,
            (None, Some(of), Some(times)) => {
                let found = loads.iter().find(|row| row.load == *of);
                let of_rate = found.expect("loads before it are there").rate;
                (rounded(of_rate * times), format!("{times} x {of}"))
            }
            _ => unreachable!("checked when the config was read"),
        };
        let at = search.at(load, rate);
        loads.push(LoadRow {
            workload: workload.name.clone(),
            load: load.name.clone(),
            rate,
            rule,
            surge: load.surge,
            sessions: u64::from(workload.sessions),
            arrivals_s: at.arrivals_s(),
            warmup_s: at.warmup_s(),
        });
    }
    Ok((loads, search.probes))
}

/// Rate at which the tokens alone need all of the GPU's time, from the first training shard.
fn full_rate(spec: &RankingSpec, points: &Points, workload: &Workload) -> Result<f64, LabError> {
    let at = At {
        workload,
        load: "",
        surge: false,
        rate: 1.0,
    };
    let shard = shards(&spec.search.shards)[0];
    let forecast = Setup::new(&points.spec(&at, shard, &spec.reference))?.forecast();
    if forecast.load <= 0.0 {
        return Err(LabError::Value {
            key: "workloads",
            what: format!("`{}` has too few sessions to tell its load", workload.name),
        });
    }
    Ok(1.0 / forecast.load)
}

struct Search<'a> {
    work: &'a Work<'a>,
    workload: &'a Workload,
    probes: Vec<ProbeRow>,
}

impl<'a> Search<'a> {
    fn at(&self, load: &'a Load, rate: f64) -> At<'a> {
        At {
            workload: self.workload,
            load: &load.name,
            surge: load.surge,
            rate,
        }
    }

    /// The highest rate at which wake-ups take at most `times` as long as unloaded, and the rule in words.
    fn highest(&mut self, load: &Load, times: f64, full: f64) -> Result<(f64, String), LabError> {
        let passes =
            |probe: &ProbeRow| probe.stable == probe.shards && probe.times_unloaded <= times;
        let unloaded = self.probes[0].rate;
        let mut top = rounded(full);
        loop {
            let failing = self.probes.iter().filter(|probe| !passes(probe));
            let high = failing.map(|probe| probe.rate).min_by(f64::total_cmp);
            let Some(high) = high else {
                if top > full * f64::from(1 << DOUBLINGS_MAX) {
                    return Err(LabError::Value {
                        key: "loads",
                        what: format!(
                            "workload `{}` never reaches load `{}`: at {top} sessions/s `{}` still wakes up within {times} times the unloaded \
                             latency; more sessions per shard let queues build up",
                            self.workload.name, load.name, self.work.spec.reference
                        ),
                    });
                }
                self.probe(&load.name, top)?;
                top = rounded(2.0 * top);
                continue;
            };
            let below = self
                .probes
                .iter()
                .map(|probe| probe.rate)
                .filter(|&rate| rate < high);
            let low = below.max_by(f64::total_cmp).unwrap_or(unloaded);
            let middle = rounded((low * high).sqrt());
            if high / low <= 1.0 + self.work.spec.search.precision
                || middle <= low
                || middle >= high
            {
                for probe in &mut self.probes {
                    if probe.load == load.name {
                        probe.passed = passes(probe);
                    }
                }
                let rule = format!("stable, mean wake-up at most {times} x unloaded");
                return Ok((low, rule));
            }
            self.probe(&load.name, middle)?;
        }
    }

    /// The reference at `rate` on all training shards.
    fn probe(&mut self, load: &str, rate: f64) -> Result<(), LabError> {
        let at = At {
            workload: self.workload,
            load,
            surge: false,
            rate,
        };
        let work = self.work;
        let shards = shards(&work.spec.search.shards);
        let runs = work
            .points
            .runs(&at, &shards, &work.spec.reference, Setting::Default);
        let rows = work.carry_out(Stage::Search, &runs)?;
        let stable = rows.iter().filter(|row| row.metrics.stable == Some(true));
        let wakeups = rows.iter().filter_map(|row| row.metrics.wakeup_ns_mean);
        let wakeup_ns = wakeups.map(|ns| ns as f64).sum::<f64>() / rows.len() as f64;
        let unloaded = self
            .probes
            .first()
            .map_or(wakeup_ns, |probe| probe.wakeup_ns);
        self.probes.push(ProbeRow {
            workload: self.workload.name.clone(),
            probe: self.probes.len() as u64,
            load: load.to_owned(),
            rate,
            shards: rows.len() as u64,
            stable: stable.count() as u64,
            wakeup_ns,
            times_unloaded: wakeup_ns / unloaded,
            passed: self.probes.is_empty(),
        });
        Ok(())
    }
}
