//! All policies on several workloads at several loads, with what that takes: shards, loads found by search, tuned parameters.
//!
//! ```text
//!   config ─► deal shards ─► search loads (reference, training shards) ─► judge defaults (all policies, judged shards)
//!                                   └─► tune (training shards, one load) ─► judge what was chosen ─► runs.csv
//! ```
//!
//! Interrupted, it goes on where it was: rows that are there are not made again, if they were made from the same inputs. Shards are dealt anew each
//! time, which takes seconds: so they are what config and traces say now, and a row knows the shard that it was made from. Everything but the cost of
//! the runs follows from config and traces alone.
//!
//! **Common random numbers:** a shard fixes sessions, waits and (at a rate) arrivals, whatever the policy.

mod points;
mod search;
mod shards;
mod spec;
mod tune;

pub use shards::{Dealt, shard_file};
pub use spec::{Load, RankingSpec, Search, Split, Tune, Workload};

use crate::LabError;
use crate::inputs::InputCache;
use crate::kept::Renewed;
use crate::sweep::{SweepOptions, carry_out};
use points::{At, Points};
use results::ranking::{Label, LoadRow, ProbeRow, Setting, TrialRow};
use results::runs::RunRow;
use results::spec::SweepPoint;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;

/// The committed ranking of all policies.
pub const POLICIES: &str = include_str!("../../../../configs/experiments/policies.toml");

/// How a ranking is carried out.
#[derive(Clone, Debug, Default)]
pub struct RankingOptions {
    /// Folder of its results.
    pub out: PathBuf,
    /// Folder of the traces.
    pub traces: PathBuf,
    /// Threads; default: one per core.
    pub threads: Option<usize>,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Shards are dealt.
    Deal,
    /// Loads are found.
    Search,
    /// Policies run with their defaults.
    Judge,
    /// Parameters are tried.
    Tune,
    /// Policies run with what was chosen.
    JudgeTuned,
}

impl Stage {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deal => "dealing shards",
            Self::Search => "finding loads",
            Self::Judge => "running every policy",
            Self::Tune => "tuning on training shards",
            Self::JudgeTuned => "running tuned policies",
        }
    }
}

/// How far a batch of runs is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankingProgress {
    /// What it is for.
    pub stage: Stage,
    /// Runs finished, those that were there included.
    pub done: usize,
    /// Runs of the batch.
    pub total: usize,
}

/// What runs of one policy on one workload cost. Depends on the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Runs.
    pub runs: u64,
    /// CPU time of all \[s\].
    pub total_s: f64,
    /// CPU time of the slowest \[s\].
    pub max_s: f64,
}

/// What a ranking came to.
#[derive(Debug, Default)]
pub struct Ranked {
    /// What there was to deal from.
    pub dealt: Vec<Dealt>,
    /// Workloads whose traces are not there, with the file.
    pub missing: Vec<(String, PathBuf)>,
    /// The search.
    pub probes: Vec<ProbeRow>,
    /// What it found.
    pub loads: Vec<LoadRow>,
    /// Settings that were tried.
    pub trials: Vec<TrialRow>,
    /// Judged runs: by workload, load, setting, policy, shard.
    pub rows: Vec<RunRow>,
    /// Judged runs that failed: id and reason.
    pub failed: Vec<(String, String)>,
    /// Runs of all stages whose rows were there before.
    pub taken_up: usize,
    /// Runs of all stages that were carried out now although their rows were there.
    pub renewed: Renewed,
    /// Cost by workload and policy, all stages.
    pub costs: BTreeMap<(String, String), Cost>,
}

/// What all stages need.
pub(crate) struct Work<'a> {
    spec: &'a RankingSpec,
    points: Points,
    sweep: SweepOptions,
    inputs: InputCache,
    progress: &'a (dyn Fn(RankingProgress) + Sync),
    tally: Mutex<Tally>,
}

/// What came of the runs of all stages. A run of one stage may be that of another.
#[derive(Default)]
struct Tally {
    /// Ids of all whose rows are there.
    there: BTreeSet<String>,
    /// Ids of those carried out now.
    made: BTreeSet<String>,
    renewed: Renewed,
    /// CPU time of each run by its id, with workload and policy.
    costs: BTreeMap<String, (String, String, f64)>,
}

impl RankingSpec {
    /// Shards of the training part: of the search and of tuning.
    pub fn training_shards(&self) -> Vec<u64> {
        let mut all = spec::shards(&self.search.shards);
        all.extend(self.tune.iter().flat_map(|tune| spec::shards(&tune.shards)));
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Carries out what is missing of a ranking.
///
/// # Errors
/// If a trace cannot be read, results cannot be written, or a run of the search fails. A judged run that fails is reported.
pub fn run(
    spec: &RankingSpec,
    options: &RankingOptions,
    progress: &(dyn Fn(RankingProgress) + Sync),
) -> Result<Ranked, LabError> {
    let work = Work {
        spec,
        points: Points::new(spec, &options.out)?,
        sweep: SweepOptions {
            out: options.out.clone(),
            threads: options.threads,
            ..SweepOptions::default()
        },
        inputs: InputCache::default(),
        progress,
        tally: Mutex::default(),
    };
    let mut ranked = Ranked::default();
    let total = spec.workloads.len();
    for (done, workload) in spec.workloads.iter().enumerate() {
        let stage = Stage::Deal;
        progress(RankingProgress { stage, done, total });
        match workload.file(&options.traces) {
            Some(file) if !file.is_file() => ranked.missing.push((workload.name.clone(), file)),
            _ => ranked
                .dealt
                .extend(shards::deal(spec, workload, &options.traces, &options.out)?),
        }
    }
    let there = |workload: &&Workload| {
        !ranked
            .missing
            .iter()
            .any(|(name, _)| *name == workload.name)
    };
    let workloads: Vec<&Workload> = spec.workloads.iter().filter(there).collect();
    for workload in &workloads {
        let (loads, probes) = search::search(&work, workload)?;
        ranked.loads.extend(loads);
        ranked.probes.extend(probes);
    }
    let at: Vec<At<'_>> = ranked.loads.iter().map(|load| at(spec, load)).collect();
    let judged = spec.judged_shards();
    let defaults = at.iter().flat_map(|at| {
        let runs =
            |entry: &policy::Entry| work.points.runs(at, &judged, entry.name, Setting::Default);
        spec.entries().into_iter().flat_map(runs)
    });
    let defaults: Vec<SweepPoint> = defaults.collect();
    let (mut rows, mut failed) = work.carry_out_all(Stage::Judge, &defaults)?;
    if let Some(tune) = &spec.tune {
        let tuned_at = at.iter().filter(|at| at.load == tune.load);
        for at in tuned_at {
            ranked.trials.extend(tune::tune(&work, tune, at)?);
        }
        let mut tuned: Vec<SweepPoint> = Vec::new();
        for at in &at {
            let here = |trial: &&TrialRow| {
                trial.chosen && trial.workload == at.workload.name && trial.spelled != trial.policy
            };
            for trial in ranked.trials.iter().filter(here) {
                tuned.extend(
                    work.points
                        .runs(at, &judged, &trial.spelled, Setting::Tuned),
                );
            }
        }
        let (more, failures) = work.carry_out_all(Stage::JudgeTuned, &tuned)?;
        rows.extend(more);
        failed.extend(failures);
    }
    ranked.rows = rows;
    ranked.failed = failed;
    let tally = work.tally.into_inner().expect("no holder panics");
    ranked.taken_up = tally.there.difference(&tally.made).count();
    ranked.renewed = tally.renewed;
    for (workload, policy, seconds) in tally.costs.into_values() {
        let cost = ranked.costs.entry((workload, policy)).or_default();
        cost.runs += 1;
        cost.total_s += seconds;
        cost.max_s = cost.max_s.max(seconds);
    }
    Ok(ranked)
}

/// Where the runs of a load take place.
fn at<'a>(spec: &'a RankingSpec, load: &'a LoadRow) -> At<'a> {
    let workload = spec.workloads.iter().find(|w| w.name == load.workload);
    At {
        workload: workload.expect("a load of one of the workloads"),
        load: &load.load,
        surge: load.surge,
        rate: load.rate,
    }
}

/// Rows, and the runs that failed with their reasons.
type SomeRows = (Vec<RunRow>, Vec<(String, String)>);

impl Work<'_> {
    /// Rows of runs none of which may fail.
    fn carry_out(&self, stage: Stage, runs: &[SweepPoint]) -> Result<Vec<RunRow>, LabError> {
        let (rows, failed) = self.carry_out_all(stage, runs)?;
        match failed.into_iter().next() {
            None => Ok(rows),
            Some((run, why)) => Err(LabError::Ranking {
                name: format!("run {run}, {}", stage.name()),
                what: why,
            }),
        }
    }

    /// Rows of those runs that do not fail.
    fn carry_out_some(&self, stage: Stage, runs: &[SweepPoint]) -> Result<Vec<RunRow>, LabError> {
        self.carry_out_all(stage, runs).map(|(rows, _)| rows)
    }

    fn carry_out_all(&self, stage: Stage, runs: &[SweepPoint]) -> Result<SomeRows, LabError> {
        let carried = carry_out(runs, &self.sweep, &self.inputs, &|progress| {
            (self.progress)(RankingProgress {
                stage,
                done: progress.done,
                total: progress.total,
            });
        })?;
        let mut tally = self.tally.lock().expect("no holder panics");
        let there = carried.rows.iter().map(|row| row.id.run.clone());
        tally.there.extend(there);
        tally.made.extend(carried.made);
        tally.renewed.merge(&carried.renewed);
        for (run, seconds) in &carried.cpu_s {
            let name = run.spec.policy.split('[').next().unwrap_or_default();
            let label: Label = serde_json::from_str(&run.params).expect("made by `Points`");
            let cost = (label.workload, name.to_owned(), *seconds);
            tally.costs.insert(run.spec.run_id(), cost);
        }
        drop(tally);
        Ok((carried.rows, carried.failed))
    }
}
