//! A profile's steps fitted again, without a GPU: to what its calibration timed, by the model of today.
//!
//! ```text
//!   FILE.steps.csv ─────────────────────────► step_fit ─┐
//!   FILE.bursts.csv, or ops.csv of recorded runs ─► throttle ─┴─► FILE with another table of steps, all else as it was
//! ```

use super::profile::{step_cost, step_errors};
use super::throttle::RanSteps;
use super::{StepPoint, cost};
use devices::predict::Busy;
use devices::{StepCost, StepTotals};
use lab::validate::totals;
use model::Time;
use results::folder::{FolderError, RunFolder, read_table};
use results::rows::OpRow;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What was fitted again.
#[derive(Clone, Debug, PartialEq)]
pub struct Refit {
    /// The profile's text.
    pub text: String,
    /// The steps that it rests on.
    pub points: Vec<StepPoint>,
    /// What they cost.
    pub cost: StepCost,
}

/// Why a profile could not be fitted again.
#[derive(Debug, thiserror::Error)]
pub enum RefitError {
    /// The profile cannot be read.
    #[error(transparent)]
    Profile(#[from] devices::ProfileError),
    /// A table or a run cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The profile is of another shape than `calibrate` writes.
    #[error("{}: {what}", path.display())]
    Shape {
        /// The profile.
        path: PathBuf,
        /// What is amiss.
        what: String,
    },
    /// The steps do not tell the constants.
    #[error("{}: {what}", path.display())]
    Fit {
        /// The steps.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
}

/// A row of `FILE.steps.csv`, as far as it is needed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct TimedRow {
    prefill_tokens: u32,
    prefill_kv_tokens: u64,
    prefill_pairs: u64,
    decode_seqs: u32,
    decode_kv_tokens: u64,
    nanos: u64,
    held_out: bool,
}

/// A row of `FILE.bursts.csv`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct BurstRow {
    start_ns: u64,
    end_ns: u64,
    prefill_tokens: u32,
    decode_seqs: u32,
    decode_kv_tokens: u64,
}

/// Fits the steps of the profile at `path` again. The throttle is fitted to the recorded runs, or, if there are none, to the bursts that the
/// calibration timed. `command` is kept as the origin.
///
/// # Errors
/// If a file is missing or damaged, or its steps do not suffice.
pub fn refit(path: &Path, runs: &[RunFolder], command: &str) -> Result<Refit, RefitError> {
    let profile = devices::hardware(&path.to_string_lossy())?;
    let shape = |what: &str| RefitError::Shape {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let mut measured = profile.compute.measured.iter();
    let (Some((model, before)), None) = (measured.next(), measured.next()) else {
        return Err(shape("it has not the steps of one measured model"));
    };
    if let Some(other) = runs.iter().find(|run| run.manifest().spec.model != *model) {
        let (run, theirs) = (other.path().display(), &other.manifest().spec.model);
        return Err(shape(&format!(
            "its steps are of {model}, but {run} ran {theirs}"
        )));
    }
    let steps = path.with_extension("steps.csv");
    let mut points: Vec<StepPoint> = read_table(&steps)?.iter().map(TimedRow::point).collect();
    let bursts_path = path.with_extension("bursts.csv");
    let histories = if runs.is_empty() {
        if !bursts_path.exists() {
            let bursts = bursts_path.display();
            return Err(shape(&format!(
                "its calibration timed no bursts, for {bursts} is not there; name recorded runs with --runs"
            )));
        }
        vec![bursts(&bursts_path)?]
    } else {
        runs.iter().map(recorded).collect::<Result<_, _>>()?
    };
    let fitted = cost(&mut points, &histories);
    let cost = StepCost {
        idle: before.idle,
        ..fitted.map_err(|what| RefitError::Fit { path: steps, what })?
    };
    let text = std::fs::read_to_string(path).map_err(|cause| FolderError::Io {
        doing: "read",
        path: path.to_owned(),
        cause,
    })?;
    let text = with_steps(&text, model, &cost, &points, command).ok_or_else(|| {
        shape("it has no table [compute.measured.MODEL] as `calibrate` writes it")
    })?;
    Ok(Refit { text, points, cost })
}

impl TimedRow {
    fn point(&self) -> StepPoint {
        StepPoint {
            totals: StepTotals {
                prefill_tokens: self.prefill_tokens,
                prefill_kv_tokens: self.prefill_kv_tokens,
                prefill_pairs: self.prefill_pairs,
                decode_seqs: self.decode_seqs,
                decode_kv_tokens: self.decode_kv_tokens,
            },
            nanos: self.nanos,
            held_out: self.held_out,
            load_ppm: 0,
        }
    }
}

fn bursts(path: &Path) -> Result<Vec<RanSteps>, FolderError> {
    let ran = |row: BurstRow| {
        let own = u64::from(row.prefill_tokens);
        RanSteps {
            totals: StepTotals {
                prefill_tokens: row.prefill_tokens,
                prefill_kv_tokens: own,
                prefill_pairs: own * (own + 1) / 2,
                decode_seqs: row.decode_seqs,
                decode_kv_tokens: row.decode_kv_tokens,
            },
            count: 1,
            start: Time(row.start_ns),
            end: Time(row.end_ns),
            alone: true,
        }
    };
    Ok(read_table(path)?.into_iter().map(ran).collect())
}

fn recorded(run: &RunFolder) -> Result<Vec<RanSteps>, FolderError> {
    let ops = run.ops()?.collect::<Result<Vec<OpRow>, _>>()?;
    let (steps, copies): (Vec<_>, Vec<_>) = ops.iter().partition(|op| op.kind == "steps");
    let copies = copies.iter().map(|op| (Time(op.start_ns), Time(op.end_ns)));
    let copies = Busy::new(copies.collect());
    let ran = |op: &&OpRow| {
        let (start, end) = (Time(op.start_ns), Time(op.end_ns));
        RanSteps {
            totals: totals(op),
            count: op.steps.max(1),
            start,
            end,
            alone: !copies.meets(start, end),
        }
    };
    let mut steps: Vec<_> = steps.iter().map(ran).collect();
    steps.sort_unstable_by_key(|ran| ran.start);
    Ok(steps)
}

/// The profile's text with other steps; its comments on them as well. `None` if it has no table of them.
fn with_steps(
    text: &str,
    model: &str,
    cost: &StepCost,
    points: &[StepPoint],
    command: &str,
) -> Option<String> {
    let is_header = |line: &str| line.starts_with('[');
    let header = [
        format!("[compute.measured.{model}]"),
        format!("[compute.measured.\"{model}\"]"),
    ];
    let errors = step_errors(points, cost, model);
    let mut lines = text.lines().peekable();
    let mut out = String::with_capacity(text.len());
    let mut found = false;
    while let Some(line) = lines.next() {
        let about = |error: &&String| {
            let kind = error.split_once(':').map_or("", |(kind, _)| kind);
            line.strip_prefix("# ")
                .is_some_and(|own| own.starts_with(kind))
        };
        match errors.iter().find(about) {
            Some(error) => {
                out.push_str("# ");
                out.push_str(error);
            }
            None => out.push_str(line),
        }
        out.push('\n');
        if header.iter().any(|header| header == line) {
            found = true;
            out.push_str("# Fitted again, by: ");
            out.push_str(command);
            out.push('\n');
            step_cost(cost, &mut out);
            while lines.next_if(|line| !is_header(line)).is_some() {}
            out.push('\n');
        }
    }
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::profile::steps_csv;

    const MEASURED: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/measurements/validation/card-1.toml"
    );

    fn runs() -> Vec<RunFolder> {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/measurements/validation/registry-2/gpu"
        );
        RunFolder::open_all(Path::new(folder)).unwrap()
    }

    #[test]
    fn the_profile_of_the_h200_is_what_its_steps_and_runs_give() {
        let refit = refit(Path::new(MEASURED), &runs(), "djinn-replay refit").unwrap();
        let h200 = devices::hardware("h200").unwrap();
        assert_eq!(h200.compute.measured["llama-2-7b"], refit.cost);
    }

    #[test]
    fn all_but_the_steps_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("card.toml");
        std::fs::copy(MEASURED, &path).unwrap();
        let steps = Path::new(MEASURED).with_extension("steps.csv");
        std::fs::copy(steps, path.with_extension("steps.csv")).unwrap();
        // Without bursts and runs nothing tells the throttle.
        let missing = refit(&path, &[], "x").unwrap_err().to_string();
        assert!(
            missing.contains("card.bursts.csv is not there; name recorded runs with --runs"),
            "{missing}"
        );

        let before = devices::hardware(MEASURED).unwrap();
        let again = refit(&path, &runs(), "djinn-replay refit card.toml").unwrap();
        std::fs::write(&path, &again.text).unwrap();
        let after = devices::hardware(path.to_str().unwrap()).unwrap();
        assert_eq!(after.link, before.link);
        assert_eq!(after.compute.formula, before.compute.formula);
        assert_eq!(after.compute.measured["llama-2-7b"], again.cost);
        assert!(
            again
                .text
                .contains("# Fitted again, by: djinn-replay refit card.toml\n")
        );
        // What it has written is fitted again to the same.
        let csv = steps_csv(&again.points, &again.cost);
        std::fs::write(path.with_extension("steps.csv"), csv).unwrap();
        let twice = refit(&path, &runs(), "djinn-replay refit card.toml").unwrap();
        assert_eq!(twice.cost, again.cost);
    }

    #[test]
    fn runs_of_another_model_are_refused() {
        let long = Path::new(MEASURED).with_file_name("long");
        let error = refit(&long.join("card-1-long.toml"), &runs(), "x").unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("its steps are of llama-3.1-8b, but ")
                && error.ends_with(" ran llama-2-7b"),
            "{error}"
        );
    }

    #[test]
    fn a_profile_without_timed_steps_is_refused() {
        let text = "name = \"x\"\n[compute]\n";
        let cost = StepCost::default();
        assert_eq!(with_steps(text, "llama-2-7b", &cost, &[], "x"), None);
    }
}
