//! Reads `runs.csv` of a sweep: each run as a point over the number that was varied.
//!
//! The x axis is the number of agents if a sweep varied it, else their arrival rate, else the first
//! varied number by name. What else was varied besides policy, seed and draw of the jitter separates figures.

use crate::FigureError;
use crate::runs::{self, Setting};
use results::runs::{RunIdentity, read_runs};
use results::spec::DRAW;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The table of a sweep.
const RUNS: &str = "runs.csv";

/// Key that stands for the number of agents, whichever key of the sweep set it.
const AGENTS: &str = "agents";

/// What a figure over load needs of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunPoint {
    /// Policy of the run.
    pub policy: String,
    /// Number of agents, or load.
    pub load: f64,
    /// Median wake-up latency \[ns\]; absent if there was no wake-up.
    pub p50_ns: Option<u64>,
    /// 99 % quantile \[ns\].
    pub p99_ns: Option<u64>,
    /// It rests on fewer than 1,000 wake-ups.
    pub p99_marked: bool,
    /// The backlog grew until the end.
    pub saturated: bool,
}

/// The runs of a sweep.
pub(crate) struct Sweep {
    /// What the x axis shows, with its unit.
    pub load_title: String,
    /// Points by setting, with what tells the setting from the others.
    pub groups: Vec<(String, Vec<RunPoint>)>,
}

/// Reads `runs.csv` in `folder` for `figure`, which needs `needs`.
///
/// # Errors
/// If there is no such file, it cannot be read, or it varies no number.
pub(crate) fn read(
    figure: &'static str,
    needs: &'static str,
    folder: &Path,
) -> Result<Sweep, FigureError> {
    let path = folder.join(RUNS);
    if !path.is_file() {
        let (folder, remedy) = (folder.to_owned(), "`djinn sweep` writes it");
        return Err(FigureError::Missing {
            figure,
            needs,
            folder,
            remedy,
        });
    }
    let runs = read_runs(&path)?;
    let mut settings = Vec::new();
    for (row, run) in runs.iter().enumerate() {
        settings.push(setting(&path, row + 1, &run.id)?);
    }
    let key = load_key(&settings).or_else(|| {
        // Nothing that a sweep varied: perhaps runs of different size, put together by hand.
        for (setting, run) in settings.iter_mut().zip(&runs) {
            setting.insert(AGENTS.to_owned(), run.id.agents.to_string());
        }
        load_key(&settings)
    });
    let Some(key) = key else {
        let why = "no number was varied besides policy, seed and draw of the jitter";
        return Err(FigureError::Empty { figure, why, path });
    };
    let short = runs::shorten(runs.iter().map(|run| run.id.policy.as_str()));
    let mut points = Vec::new();
    for (index, (run, mut setting)) in runs.iter().zip(settings).enumerate() {
        let load = setting.remove(&key).and_then(|value| value.parse().ok());
        let load = load.ok_or_else(|| {
            let expected = "an object with the number that other rows vary";
            bad_params(&path, index + 1, &run.id, expected)
        })?;
        let point = RunPoint {
            policy: short[&run.id.policy].clone(),
            load,
            p50_ns: run.metrics.wakeup_ns_p50,
            p99_ns: run.metrics.wakeup_ns_p99,
            p99_marked: run.metrics.wakeup_p99_marked,
            saturated: run.metrics.stable == Some(false),
        };
        points.push((setting, point));
    }
    Ok(Sweep {
        load_title: load_title(&key),
        groups: runs::group(points),
    })
}

fn bad_params(path: &Path, row: usize, id: &RunIdentity, expected: &'static str) -> FigureError {
    let (path, value) = (path.to_owned(), id.params.clone());
    FigureError::Value {
        path,
        row,
        column: "params",
        value,
        expected,
    }
}

/// What one run was given besides policy, and seed and draw, which repeat it.
fn setting(path: &Path, row: usize, id: &RunIdentity) -> Result<Setting, FigureError> {
    let mut setting = Setting::new();
    if !id.params.is_empty() {
        let value = serde_json::from_str(&id.params)
            .map_err(|_| bad_params(path, row, id, "a JSON object of the varied keys"))?;
        runs::flatten("", &value, &mut setting);
        setting.remove(DRAW);
    }
    let varied = setting.len();
    setting.retain(|key, _| !matches!(last_part(key), "agents" | "sessions"));
    if setting.len() < varied {
        setting.insert(AGENTS.to_owned(), id.agents.to_string());
    }
    let named = [
        ("workload", &id.workload),
        ("model", &id.model),
        ("hardware", &id.hardware),
    ];
    setting.extend(named.map(|(key, value)| (key.to_owned(), value.clone())));
    Ok(setting)
}

fn last_part(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// The varied number that makes the x axis: agents if they were varied, else their rate, else the first by name.
fn load_key(settings: &[Setting]) -> Option<String> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (key, value) in settings.iter().flatten() {
        values.entry(key).or_default().insert(value);
    }
    let numeric =
        |seen: &BTreeSet<&str>| seen.len() > 1 && seen.iter().all(|v| v.parse::<f64>().is_ok());
    let rank = |key: &str| match last_part(key) {
        AGENTS => 0,
        "rate" => 1,
        _ => 2,
    };
    let varied = values
        .into_iter()
        .filter(|(_, seen)| numeric(seen))
        .map(|(key, _)| key);
    varied
        .min_by_key(|key| (rank(key), *key))
        .map(str::to_owned)
}

/// Title of the x axis with its unit.
fn load_title(key: &str) -> String {
    match last_part(key) {
        AGENTS => "number of agents".to_owned(),
        "rate" => "arrival rate [agents/s]".to_owned(),
        "hbm_gib" => "HBM [GiB]".to_owned(),
        "host_gib" => "host memory [GiB]".to_owned(),
        other => other.replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use results::metrics::RunMetrics;
    use results::runs::{RunRow, write_runs};

    fn sweep(rows: &[(&str, u64)]) -> Result<Sweep, FigureError> {
        let folder = tempfile::tempdir().unwrap();
        let row = |&(params, agents): &(&str, u64)| RunRow {
            id: RunIdentity {
                policy: "djinn".into(),
                params: params.into(),
                agents,
                ..RunIdentity::default()
            },
            metrics: RunMetrics {
                stable: Some(false),
                ..RunMetrics::default()
            },
        };
        let rows: Vec<RunRow> = rows.iter().map(row).collect();
        write_runs(&folder.path().join(RUNS), &rows).unwrap();
        read("figure", "a sweep", folder.path())
    }

    fn loads(group: &(String, Vec<RunPoint>)) -> Vec<f64> {
        group.1.iter().map(|point| point.load).collect()
    }

    #[test]
    fn agents_are_those_that_were_run_whichever_key_set_them() {
        let read = sweep(&[
            (r#"{"workload.sessions":20}"#, 19),
            (r#"{"workload.sessions":80}"#, 80),
        ]);
        let read = read.unwrap();
        assert_eq!(read.load_title, "number of agents");
        assert_eq!(loads(&read.groups[0]), [19.0, 80.0]);
        assert!(read.groups[0].1[0].saturated);
    }

    #[test]
    fn draws_of_the_jitter_repeat_a_run_and_are_no_axis() {
        let of = |agents: u64, draw| {
            format!(r#"{{"engine.jitter":{draw},"workload.sessions":{agents}}}"#)
        };
        let rows = [of(20, 0), of(20, 1), of(80, 0), of(80, 1)];
        let rows = [0, 1, 2, 3].map(|row| (rows[row].as_str(), [20, 80][row / 2]));
        let read = sweep(&rows).unwrap();
        assert_eq!(read.load_title, "number of agents");
        assert_eq!(read.groups.len(), 1);
        assert_eq!(loads(&read.groups[0]), [20.0, 20.0, 80.0, 80.0]);
        let draws_alone = [
            (r#"{"engine.jitter":0}"#, 20),
            (r#"{"engine.jitter":1}"#, 20),
        ];
        assert!(matches!(
            sweep(&draws_alone),
            Err(FigureError::Empty { .. })
        ));
    }

    #[test]
    fn a_rate_is_the_axis_where_agents_were_not_varied_and_the_rest_separates_figures() {
        let rows = [
            (r#"{"workload.rate":0.1,"memory.host_gib":0}"#, 7),
            (r#"{"workload.rate":0.2,"memory.host_gib":0}"#, 9),
            (r#"{"workload.rate":0.1,"memory.host_gib":100}"#, 7),
        ];
        let read = sweep(&rows).unwrap();
        assert_eq!(read.load_title, "arrival rate [agents/s]");
        assert_eq!(read.groups.len(), 2);
        assert_eq!(
            (read.groups[0].0.as_str(), loads(&read.groups[0])),
            ("host_gib-0", vec![0.1, 0.2])
        );
    }

    #[test]
    fn runs_of_different_size_need_no_params() {
        let read = sweep(&[("", 10), ("", 20)]).unwrap();
        assert_eq!(loads(&read.groups[0]), [10.0, 20.0]);
    }

    #[test]
    fn a_sweep_of_nothing_and_params_that_are_no_object_are_refused() {
        let error = sweep(&[("{}", 10), ("{}", 10)]).err().unwrap().to_string();
        assert!(error.contains("no number was varied"), "{error}");
        let error = sweep(&[("{", 10)]).err().unwrap().to_string();
        assert!(
            error.contains("row 1") && error.contains("`params` holds `{`"),
            "{error}"
        );
        let error = sweep(&[(r#"{"a":1}"#, 1), (r#"{"a":2}"#, 1), ("", 1)])
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("row 3"), "{error}");
    }
}
