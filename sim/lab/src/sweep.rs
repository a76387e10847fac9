//! Many runs: every point of a sweep, in parallel, each written at once or not at all.
//!
//! ```text
//!   out/rows/<run id>.csv   one row a run, as soon as it is finished, and what it was made from
//!   out/runs/<run id>/      the run folder, if details are kept
//!   out/runs.csv            all rows in the order of the sweep
//! ```
//!
//! An interrupted sweep goes on where it was: a run whose row is there is not repeated, if program, hardware profile, model and trace are still those
//! that it was made from. Runs share nothing, so the bytes of `runs.csv` do not depend on the number of threads.

use crate::inputs::InputCache;
use crate::kept::{self, Kept, Renewed};
use crate::run::{self, Ran, RunOptions};
use crate::{LabError, Setup, Wants};
use rayon::prelude::*;
use results::inputs::Inputs;
use results::runs::{RunIdentity, RunRow, write_kept, write_runs};
use results::spec::{SweepPoint, SweepSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How a sweep is carried out.
#[derive(Clone, Debug, Default)]
pub struct SweepOptions {
    /// Folder of its results.
    pub out: PathBuf,
    /// Threads; default: one per core.
    pub threads: Option<usize>,
    /// Keep the folder of every run, with these optional files.
    pub keep: Option<Wants>,
    /// The command that repeats the sweep.
    pub command: String,
    /// Commit of the program, if known.
    pub commit: Option<String>,
}

/// How far a sweep is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepProgress {
    /// Runs finished, those that were there included.
    pub done: usize,
    /// Runs that were there.
    pub skipped: usize,
    /// Runs in all.
    pub total: usize,
}

/// What a sweep came to.
#[derive(Debug)]
pub struct SweepReport {
    /// Runs carried out now.
    pub ran: usize,
    /// Runs that were there.
    pub skipped: usize,
    /// Those of the runs carried out now whose rows were there.
    pub renewed: Renewed,
    /// Runs that failed: id and reason. Their rows are missing.
    pub failed: Vec<(String, String)>,
    /// The table of all runs.
    pub runs_csv: PathBuf,
}

/// Carries out what is missing of `sweep`, and writes `runs.csv`. `progress` is called from the threads that run.
///
/// # Errors
/// If results cannot be written. A run that fails does not end the sweep; it is reported.
pub fn run(
    sweep: &SweepSpec,
    options: &SweepOptions,
    progress: &(dyn Fn(SweepProgress) + Sync),
) -> Result<SweepReport, LabError> {
    let carried = carry_out(sweep.points(), options, &InputCache::default(), progress)?;
    let runs_csv = options.out.join("runs.csv");
    write_runs(&runs_csv, &carried.rows)?;
    Ok(SweepReport {
        ran: carried.made.len(),
        skipped: carried.skipped,
        renewed: carried.renewed,
        failed: carried.failed,
        runs_csv,
    })
}

/// Runs that were carried out.
#[derive(Debug, Default)]
pub struct CarriedOut {
    /// Rows of the runs that are there, in the order of their points.
    pub rows: Vec<RunRow>,
    /// Runs that were there before.
    pub skipped: usize,
    /// Ids of those carried out now.
    pub made: Vec<String>,
    /// Those of them whose rows were there.
    pub renewed: Renewed,
    /// Runs that failed: id and reason. Their rows are missing.
    pub failed: Vec<(String, String)>,
    /// CPU time of each run whose row is there, now or before \[s\], where the system tells.
    pub cpu_s: Vec<(SweepPoint, f64)>,
}

/// Carries out those of `points` whose rows are not in `options.out` yet, or are of other inputs than `inputs` says.
///
/// # Errors
/// As [`run()`].
pub fn carry_out(
    points: &[SweepPoint],
    options: &SweepOptions,
    inputs: &InputCache,
    progress: &(dyn Fn(SweepProgress) + Sync),
) -> Result<CarriedOut, LabError> {
    let folder = options.out.join("rows");
    std::fs::create_dir_all(&folder).map_err(|error| LabError::File {
        path: folder.clone(),
        error,
    })?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads.unwrap_or(0))
        .build()
        .map_err(|error| LabError::Value {
            key: "threads",
            what: error.to_string(),
        })?;
    let ids: Vec<String> = points.iter().map(|point| point.spec.run_id()).collect();
    // Two points may stand for one run.
    let mut named = BTreeSet::new();
    let first = ids.iter().zip(points).filter(|(id, _)| named.insert(*id));
    let runs: Vec<Run<'_>> = first
        .map(|(id, point)| Run {
            id,
            point,
            row: folder.join(format!("{id}.csv")),
        })
        .collect();
    let find = |run: &Run<'_>| run.find(options, inputs);
    let found = pool.install(|| runs.par_iter().map(find).collect::<Result<Vec<_>, _>>())?;

    let mut rows = BTreeMap::new();
    let mut renewed = Renewed::default();
    let mut failed = Vec::new();
    let mut missing = Vec::new();
    for (run, found) in runs.iter().zip(found) {
        match found {
            Found::Row(row) => {
                rows.insert(run.id, *row);
            }
            Found::Missing(inputs, why) => {
                if !why.is_empty() {
                    renewed.add(why);
                }
                missing.push((run, inputs));
            }
            Found::Failed(why) => failed.push((run.point.index, run.id.to_owned(), why)),
        }
    }
    let skipped = points.len() - missing.len() - failed.len();
    let done = AtomicUsize::new(points.len() - missing.len());
    let tell = |done| {
        progress(SweepProgress {
            done,
            skipped,
            total: points.len(),
        });
    };
    tell(done.load(Ordering::Relaxed));
    let make = |(run, inputs): &(&Run<'_>, Inputs)| {
        let outcome = run.make(options, inputs);
        tell(done.fetch_add(1, Ordering::Relaxed) + 1);
        outcome
    };
    let outcomes = pool.install(|| {
        let all = missing.par_iter().with_max_len(1).map(make);
        all.collect::<Result<Vec<_>, _>>()
    })?;
    let mut made = Vec::new();
    for ((run, _), outcome) in missing.iter().zip(outcomes) {
        match outcome {
            Ok(row) => {
                made.push(run.id.to_owned());
                rows.insert(run.id, row);
            }
            Err(why) => failed.push((run.point.index, run.id.to_owned(), why)),
        }
    }
    failed.sort();
    let mut carried = CarriedOut {
        skipped,
        made,
        renewed,
        failed: failed.into_iter().map(|(_, id, why)| (id, why)).collect(),
        ..CarriedOut::default()
    };
    for (id, point) in ids.iter().zip(points) {
        let Some(row) = rows.get(id.as_str()) else {
            continue;
        };
        let mut row = row.clone();
        // What varies is this sweep's to say, not that of the one which kept the row.
        row.id.params.clone_from(&point.params);
        carried.rows.push(row);
        let cost = cost_file(&folder.join(format!("{id}.csv")));
        carried
            .cpu_s
            .extend(cost_in(&cost).map(|cpu_s| (point.clone(), cpu_s)));
    }
    Ok(carried)
}

/// A run of a sweep, and where its row is kept.
struct Run<'a> {
    id: &'a str,
    point: &'a SweepPoint,
    row: PathBuf,
}

/// What there is of a run.
enum Found {
    /// Its row.
    Row(Box<RunRow>),
    /// Nothing, or what is not to be taken up for some reasons; and what the run is to be made from.
    Missing(Inputs, Vec<String>),
    /// What it would be made from is not there.
    Failed(String),
}

impl Run<'_> {
    fn find(&self, options: &SweepOptions, inputs: &InputCache) -> Result<Found, LabError> {
        let inputs = match inputs.of(&self.point.spec) {
            Ok(inputs) => inputs,
            Err(error) => return Ok(Found::Failed(error.to_string())),
        };
        Ok(
            match kept::look(&self.row, self.id, &self.point.spec, &inputs)? {
                Kept::Other(why) => Found::Missing(inputs, why),
                Kept::Row(row)
                    if options.keep.is_none()
                        || kept::is_kept_in(&self.folder(options), self.id, &inputs) =>
                {
                    Found::Row(row)
                }
                Kept::Row(_) | Kept::Nothing => Found::Missing(inputs, Vec::new()),
            },
        )
    }

    fn folder(&self, options: &SweepOptions) -> PathBuf {
        options.out.join("runs").join(self.id)
    }

    /// Its row, or why there is none.
    ///
    /// # Errors
    /// If results cannot be written.
    fn make(
        &self,
        options: &SweepOptions,
        inputs: &Inputs,
    ) -> Result<Result<RunRow, String>, LabError> {
        let before = thread_cpu_ns();
        match self.carry_out(options, inputs) {
            Ok(row) => {
                let cost = thread_cpu_ns()
                    .zip(before)
                    .map(|(after, before)| after - before);
                // Only told, and different each time: no part of the row, and no loss where it cannot be written.
                let _ = cost.map(|ns| std::fs::write(cost_file(&self.row), ns.to_string()));
                write_kept(&self.row, &row, inputs)?;
                Ok(Ok(row))
            }
            Err(error @ (LabError::Folder(_) | LabError::File { .. })) => Err(error),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    fn carry_out(&self, options: &SweepOptions, inputs: &Inputs) -> Result<RunRow, LabError> {
        let spec = &self.point.spec;
        let setup = Setup::new(spec)?;
        let changes = setup.inputs.changes(inputs, spec);
        if !changes.is_empty() {
            let what = changes.join(", ");
            return Err(LabError::Changed { what });
        }
        let folder = self.folder(options);
        // A folder that was kept once stays that of its row.
        let keep = options
            .keep
            .or_else(|| folder.is_dir().then(Wants::default));
        let Some(wants) = keep else {
            let (metrics, _) = run::measure(&setup)?;
            let id = RunIdentity {
                run: self.id.to_owned(),
                policy: spec.policy.clone(),
                workload: spec.workload_name(),
                model: setup.model.name.clone(),
                hardware: setup.hardware.name.clone(),
                device: "sim".to_owned(),
                seed: spec.seed,
                agents: setup.counts.sessions,
                hbm_blocks: setup.counts.hbm_blocks,
                host_blocks: setup.counts.host_blocks,
                demand_blocks: setup.counts.demand_blocks,
                params: self.point.params.clone(),
            };
            return Ok(RunRow { id, metrics });
        };
        let run_options = RunOptions {
            wants,
            command: options.command.clone(),
            commit: options.commit.clone(),
            replace: true,
            ..RunOptions::default()
        };
        let folder = match run::simulate(&setup, &folder, &run_options, |_| ())? {
            Ran::Now(finished) => finished.folder,
            Ran::Before(folder) => folder,
        };
        Ok(RunRow::of(&folder, &self.point.params)?)
    }
}

/// Where the cost of a run stands, beside its row.
fn cost_file(row: &Path) -> PathBuf {
    row.with_extension("cpu_ns")
}

/// What is in it \[s\].
fn cost_in(file: &Path) -> Option<f64> {
    let ns: f64 = std::fs::read_to_string(file).ok()?.parse().ok()?;
    Some(ns / 1e9)
}

/// CPU time that this thread has used \[ns\], where the system tells.
fn thread_cpu_ns() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split_whitespace().next()?.parse().ok()
}
