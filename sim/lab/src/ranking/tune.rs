//! Parameters, tried on training shards: one round of coordinate search for each policy.
//!
//! ```text
//!   defaults ─► each parameter alone at each value ─► the best value of each that helped, together ─► the best of all
//! ```
//!
//! Values are multiples of the declared default within the declared range, all words of a parameter that has words, or what the config lists.
//! What is chosen is judged on other shards; that it was better here is no result.

use super::points::At;
use super::spec::{Tune, shards};
use super::{Stage, Work};
use crate::LabError;
use policy::{Entry, Param};
use results::ranking::{Setting, TrialRow};
use results::runs::RunRow;
use results::spec::SweepPoint;

/// A gain smaller than this is none: the defaults stay.
const GAIN_MIN: f64 = 1e-3;

/// One setting that is tried.
#[derive(Clone, Debug, PartialEq)]
struct Trial {
    /// Changed parameters, as they are written; empty for the defaults.
    changes: Vec<(&'static str, String)>,
    /// The metric over that of the defaults.
    over_default: f64,
    saturated: u64,
}

impl Trial {
    fn of(changes: Vec<(&'static str, String)>) -> Self {
        Self {
            changes,
            over_default: f64::INFINITY,
            saturated: 0,
        }
    }

    fn spelled(&self, policy: &str) -> String {
        let changes: Vec<String> = self
            .changes
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        if changes.is_empty() {
            policy.to_owned()
        } else {
            format!("{policy}[{}]", changes.join(","))
        }
    }
}

/// Every trial of every policy on `at`; the chosen ones are marked.
pub(super) fn tune(work: &Work<'_>, tune: &Tune, at: &At<'_>) -> Result<Vec<TrialRow>, LabError> {
    let entries: Vec<&Entry> = work
        .spec
        .entries()
        .into_iter()
        .filter(|entry| !entry.params.is_empty())
        .collect();
    let mut trials: Vec<Vec<Trial>> = Vec::new();
    for entry in &entries {
        trials.push(singles(entry, tune)?);
    }
    measure(work, tune, at, &entries, &mut trials, |_| true)?;
    for trials in &mut trials {
        trials.extend(together(trials));
    }
    let fresh = |trial: &Trial| trial.changes.len() > 1;
    measure(work, tune, at, &entries, &mut trials, fresh)?;
    let rows = entries.iter().zip(&trials).flat_map(|(entry, trials)| {
        let chosen = chosen(trials);
        trials
            .iter()
            .enumerate()
            .map(move |(index, trial)| TrialRow {
                workload: at.workload.name.clone(),
                policy: entry.name.to_owned(),
                spelled: trial.spelled(entry.name),
                shards: shards(&tune.shards).len() as u64,
                saturated: trial.saturated,
                over_default: trial.over_default,
                chosen: index == chosen,
            })
    });
    Ok(rows.collect())
}

/// The defaults, then each parameter alone at each of its values.
fn singles(entry: &Entry, tune: &Tune) -> Result<Vec<Trial>, LabError> {
    let mut trials = vec![Trial::of(Vec::new())];
    for param in entry.params {
        for value in values(entry.name, param, tune)? {
            trials.push(Trial::of(vec![(param.key, value)]));
        }
    }
    Ok(trials)
}

/// The values that a parameter is tried at, its default left out.
fn values(policy: &str, param: &Param, tune: &Tune) -> Result<Vec<String>, LabError> {
    let listed = tune
        .values
        .get(&format!("{policy}.{}", param.key))
        .or_else(|| tune.values.get(param.key));
    let mut values: Vec<String> = if let Some(listed) = listed {
        let written = |value: &toml::Value| match value {
            toml::Value::String(word) => word.clone(),
            number => number.to_string(),
        };
        listed.iter().map(written).collect()
    } else if param.words().is_empty() {
        let at = |factor: &f64| {
            let value = (param.default * factor).clamp(param.min, param.max);
            param.spell(if is_whole(param) {
                value.round()
            } else {
                value
            })
        };
        tune.factors.iter().map(at).collect()
    } else {
        param.words().iter().map(|&word| word.to_owned()).collect()
    };
    let default = param.spell(param.default);
    values.retain(|value| *value != default);
    values.dedup();
    for value in &values {
        // A value from the config is refused here, before the hours of work.
        policy::find(&format!("{policy}[{}={value}]", param.key))?;
    }
    Ok(values)
}

/// Whether a parameter counts something: its default and the ends of its range are whole, and the range is no share.
fn is_whole(param: &Param) -> bool {
    let whole = |value: f64| value.fract() == 0.0;
    let unit = param.unit();
    let counts = ["-", "tokens", "blocks", "steps", "turns"].contains(&unit);
    counts && param.max > 100.0 && whole(param.default) && whole(param.min)
}

/// The best value of each parameter that helped, if there are several such parameters.
fn together(trials: &[Trial]) -> Option<Trial> {
    let mut best: Vec<&Trial> = Vec::new();
    for trial in trials
        .iter()
        .filter(|trial| trial.over_default < 1.0 - GAIN_MIN)
    {
        let [(key, _)] = &trial.changes[..] else {
            continue;
        };
        match best.iter_mut().find(|other| other.changes[0].0 == *key) {
            Some(other) if trial.over_default < other.over_default => *other = trial,
            Some(_) => {}
            None => best.push(trial),
        }
    }
    let changes = best
        .iter()
        .flat_map(|trial| trial.changes.clone())
        .collect();
    (best.len() > 1).then(|| Trial::of(changes))
}

/// Index of the setting with the least metric; the defaults unless another gains something.
fn chosen(trials: &[Trial]) -> usize {
    let mut chosen = 0;
    for (index, trial) in trials.iter().enumerate() {
        if trial.over_default < trials[chosen].over_default && trial.over_default < 1.0 - GAIN_MIN {
            chosen = index;
        }
    }
    chosen
}

/// Runs the trials that `wanted` picks, and notes what came of them.
fn measure(
    work: &Work<'_>,
    tune: &Tune,
    at: &At<'_>,
    entries: &[&Entry],
    trials: &mut [Vec<Trial>],
    wanted: impl Fn(&Trial) -> bool,
) -> Result<(), LabError> {
    let shards = shards(&tune.shards);
    let runs = |policy: &str| work.points.runs(at, &shards, policy, Setting::Tuned);
    let picked = |entry: &Entry, trials: &[Trial]| -> Vec<SweepPoint> {
        let picked = trials.iter().filter(|trial| wanted(trial));
        picked
            .flat_map(|trial| runs(&trial.spelled(entry.name)))
            .collect()
    };
    let all: Vec<SweepPoint> = entries
        .iter()
        .zip(trials.iter())
        .flat_map(|(entry, trials)| picked(entry, trials))
        .collect();
    // A setting with which a policy fails is no candidate; nothing else is lost.
    let rows = work.carry_out_some(Stage::Tune, &all)?;
    let defaults = |entry: &Entry| -> Vec<RunRow> {
        rows_of(&rows, entry.name).into_iter().cloned().collect()
    };
    for (entry, trials) in entries.iter().zip(trials) {
        let mut own = defaults(entry);
        if own.is_empty() {
            own = work.carry_out_some(Stage::Tune, &runs(entry.name))?;
        }
        for trial in trials.iter_mut().filter(|trial| wanted(trial)) {
            let spelled = trial.spelled(entry.name);
            let theirs = rows_of(&rows, &spelled);
            trial.saturated = theirs
                .iter()
                .filter(|row| row.metrics.stable == Some(false))
                .count() as u64;
            trial.over_default = over(tune, &theirs, &own);
        }
    }
    Ok(())
}

fn rows_of<'a>(rows: &'a [RunRow], spelled: &str) -> Vec<&'a RunRow> {
    rows.iter().filter(|row| row.id.policy == spelled).collect()
}

/// Geometric mean over shards of one metric over that of the defaults; infinite where a run is missing.
fn over(tune: &Tune, theirs: &[&RunRow], own: &[RunRow]) -> f64 {
    let value = |row: &RunRow| tune.metric.of(&row.metrics).filter(|&ns| ns > 0);
    let mut sum = 0.0;
    for default in own {
        let same = theirs.iter().find(|row| row.id.seed == default.id.seed);
        let Some((a, b)) = same.and_then(|row| value(row)).zip(value(default)) else {
            return f64::INFINITY;
        };
        sum += (a as f64 / b as f64).ln();
    }
    if own.is_empty() {
        return f64::INFINITY;
    }
    (sum / own.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(changes: &[(&'static str, &str)], over_default: f64) -> Trial {
        let changes = changes.iter().map(|(k, v)| (*k, (*v).to_owned()));
        Trial {
            over_default,
            ..Trial::of(changes.collect())
        }
    }

    #[test]
    fn the_best_values_that_helped_are_tried_together() {
        let trials = [
            trial(&[], 1.0),
            trial(&[("a", "1")], 0.9),
            trial(&[("a", "4")], 0.8),
            trial(&[("b", "1")], 1.2),
            trial(&[("c", "9")], 0.95),
        ];
        let both = together(&trials).unwrap();
        assert_eq!(both.spelled("p"), "p[a=4,c=9]");
        assert_eq!(together(&trials[..4]), None, "one alone needs no company");
    }

    #[test]
    fn the_defaults_stay_unless_something_is_gained() {
        let mut trials = vec![
            trial(&[], 1.0),
            trial(&[("a", "1")], 0.9999),
            trial(&[("a", "4")], f64::INFINITY),
        ];
        assert_eq!(chosen(&trials), 0);
        trials.push(trial(&[("b", "4")], 0.7));
        assert_eq!(chosen(&trials), 3);
    }

    #[test]
    fn every_policy_of_the_registry_has_valid_values_for_its_parameters() {
        let tune = Tune {
            shards: "1..1".to_owned(),
            load: "knee".to_owned(),
            metric: results::ranking::Measured::WakeupMean,
            factors: vec![0.25, 4.0],
            values: [("lifo_queued".to_owned(), Vec::new())].into(),
        };
        for entry in policy::REGISTRY {
            let trials = singles(entry, &tune).expect(entry.name);
            assert!(trials[0].changes.is_empty());
            for trial in &trials[1..] {
                let (key, value) = &trial.changes[0];
                let param = entry.params.iter().find(|param| param.key == *key).unwrap();
                assert_ne!(*value, param.spell(param.default), "{}", entry.name);
                assert_ne!(*key, "lifo_queued", "the config says to leave it alone");
            }
        }
    }
}
