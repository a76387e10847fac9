//! Reads the runs below a folder, and sorts them into what may be shown in one figure.
//!
//! Runs may share a figure if they differ in nothing but policy, seed and draw of the jitter. Where a folder holds runs that
//! differ in more (agents, memory), each such *setting* gets a figure of its own, named after what differs.

use crate::FigureError;
use crate::theme::{base_policy, sort_policies};
use results::folder::{MANIFEST, RunFolder, TURNS, find_stored};
use results::metrics::Measure;
use results::rows::TurnRow;
use results::spec::{DRAW, RunSpec};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The wake-ups of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunTurns {
    /// Name of the run's folder, for messages.
    pub name: String,
    /// Its policy: the bare name, or with parameters where the figure shows several variants of it.
    pub policy: String,
    /// Its seed, and its draw of the jitter.
    pub repeat: (u64, u32),
    /// Its turns that followed a wait and were ready after the warm-up.
    pub wakeups: Vec<TurnRow>,
}

/// What a run was given besides policy, seed and draw: dotted keys and values.
pub(crate) type Setting = BTreeMap<String, String>;

/// The folders of runs at or below `folder`, by name.
///
/// # Errors
/// If a folder cannot be listed.
pub(crate) fn find(folder: &Path) -> Result<Vec<PathBuf>, FigureError> {
    if folder.join(MANIFEST).is_file() && find_stored(folder, TURNS).is_some() {
        return Ok(vec![folder.to_owned()]);
    }
    let failed = |source| FigureError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut below = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let unfinished = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().contains(".tmp-"));
        if path.is_dir() && !unfinished {
            below.push(path);
        }
    }
    below.sort();
    let found = below
        .iter()
        .map(|path| find(path))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// The wake-ups of every run below `folder`, one group per setting, with what tells it from the others.
///
/// # Errors
/// If a run cannot be read.
pub(crate) fn read(folder: &Path) -> Result<Vec<(String, Vec<RunTurns>)>, FigureError> {
    let mut runs = Vec::new();
    for path in find(folder)? {
        let run = RunFolder::open(&path)?;
        let spec = &run.manifest().spec;
        let measure = Measure::of(spec);
        let mut wakeups = Vec::new();
        for turn in run.turns()? {
            let turn = turn?;
            if turn.wait_ns.is_some() && measure.counts(turn.ready_ns) {
                wakeups.push(turn);
            }
        }
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let turns = RunTurns {
            name,
            policy: spec.policy.clone(),
            repeat: (spec.seed, spec.engine.jitter),
            wakeups,
        };
        runs.push((setting(spec), turns));
    }
    let mut groups = group(runs);
    for (_, runs) in &mut groups {
        let short = shorten(runs.iter().map(|run| run.policy.as_str()));
        for run in runs {
            run.policy.clone_from(&short[&run.policy]);
        }
    }
    Ok(groups)
}

/// [`read`], refusing a folder without runs or without a single wake-up.
///
/// # Errors
/// As [`read`]; [`FigureError::Missing`] and [`FigureError::Empty`].
pub(crate) fn read_for(
    figure: &'static str,
    needs: &'static str,
    folder: &Path,
) -> Result<Vec<(String, Vec<RunTurns>)>, FigureError> {
    let groups = read(folder)?;
    if groups.is_empty() {
        let remedy = "`djinn run`, or `djinn sweep` told to keep its runs, writes one";
        return Err(FigureError::Missing {
            figure,
            needs,
            folder: folder.to_owned(),
            remedy,
        });
    }
    if groups
        .iter()
        .flat_map(|(_, runs)| runs)
        .all(|run| run.wakeups.is_empty())
    {
        let why = "no turn follows a wait";
        return Err(FigureError::Empty {
            figure,
            why,
            path: folder.to_owned(),
        });
    }
    Ok(groups)
}

/// Every key of a spec but policy, and seed and draw, which repeat a run.
fn setting(spec: &RunSpec) -> Setting {
    let mut all = Setting::new();
    flatten(
        "",
        &serde_json::to_value(spec).expect("a spec is plain data"),
        &mut all,
    );
    all.remove("policy");
    all.remove("seed");
    all.remove(DRAW);
    all
}

/// The leaves of `value` by dotted key.
pub(crate) fn flatten(key: &str, value: &Value, into: &mut Setting) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let below = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                flatten(&below, value, into);
            }
        }
        Value::String(text) => drop(into.insert(key.to_owned(), text.clone())),
        other => drop(into.insert(key.to_owned(), other.to_string())),
    }
}

/// Sorts items by setting. The label of a group names the keys in which groups differ; it is empty if
/// there is one group.
pub(crate) fn group<T>(items: Vec<(Setting, T)>) -> Vec<(String, Vec<T>)> {
    let mut groups: BTreeMap<Setting, Vec<T>> = BTreeMap::new();
    for (setting, item) in items {
        groups.entry(setting).or_default().push(item);
    }
    let keys: BTreeSet<String> = groups.keys().flat_map(|s| s.keys().cloned()).collect();
    let differs = |key: &String| {
        let mut values = groups.keys().map(|s| s.get(key));
        let first = values.next().flatten();
        values.any(|value| value != first)
    };
    let varied: Vec<String> = keys.into_iter().filter(differs).collect();
    let label = |setting: &Setting| {
        let one = |key: &String| {
            let last = key.rsplit('.').next().unwrap_or(key);
            format!(
                "{last}-{}",
                setting.get(key).map_or("default", String::as_str)
            )
        };
        varied.iter().map(one).collect::<Vec<_>>().join("_")
    };
    groups
        .into_iter()
        .map(|(setting, items)| (label(&setting), items))
        .collect()
}

/// File stem of a figure of one group: `name`, and the group's label in characters that suit a file.
pub(crate) fn stem(name: &str, label: &str) -> String {
    if label.is_empty() {
        return name.to_owned();
    }
    let suits = |c: char| {
        if c.is_ascii_alphanumeric() || ".-_=".contains(c) {
            c
        } else {
            '-'
        }
    };
    format!("{name}_{}", label.chars().map(suits).collect::<String>())
}

/// For each policy as written the shortest name that still tells it from the others.
pub(crate) fn shorten<'a>(policies: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    let all: BTreeSet<&str> = policies.collect();
    let variants = |name: &str| {
        all.iter()
            .filter(|p| base_policy(p) == base_policy(name))
            .count()
    };
    let short = |name: &str| {
        if variants(name) > 1 {
            name
        } else {
            base_policy(name)
        }
        .to_owned()
    };
    all.iter()
        .map(|name| ((*name).to_owned(), short(name)))
        .collect()
}

/// The policies of some runs, each once, in the order in which figures list them.
pub(crate) fn policies_of(runs: &[RunTurns]) -> Vec<String> {
    let mut policies: Vec<String> = runs.iter().map(|run| run.policy.clone()).collect();
    sort_policies(&mut policies);
    policies.dedup();
    policies
}

#[cfg(test)]
pub(crate) mod testing {
    //! Runs made by hand.

    use super::RunTurns;
    use results::rows::TurnRow;

    /// A turn that took `latency_ns` to wake up, half of it queueing, the rest prefill.
    pub(crate) fn turn(session: u32, turn: u32, latency_ns: u64) -> TurnRow {
        let ready_ns = 1_000 + u64::from(session) * 7;
        TurnRow {
            session,
            turn,
            wait_ns: Some(500),
            ready_ns,
            signal_ns: ready_ns,
            scheduled_ns: ready_ns + latency_ns / 2,
            first_token_ns: ready_ns + latency_ns,
            end_ns: ready_ns + latency_ns + 10,
            wake_queue_ns: latency_ns / 2,
            wake_prefill_ns: latency_ns - latency_ns / 2,
            ..TurnRow::default()
        }
    }

    /// A run with wake-ups of these latencies \[ns\].
    pub(crate) fn run(policy: &str, seed: u64, latencies: &[u64]) -> RunTurns {
        let wakeups = latencies
            .iter()
            .enumerate()
            .map(|(i, &ns)| turn(i as u32, 1, ns))
            .collect();
        RunTurns {
            name: format!("{policy}-{seed}"),
            policy: policy.to_owned(),
            repeat: (seed, 0),
            wakeups,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting_of(pairs: &[(&str, &str)]) -> Setting {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn groups_are_named_after_what_differs_between_them() {
        let few = setting_of(&[("workload.sessions", "20"), ("model", "m")]);
        let many = setting_of(&[("workload.sessions", "80"), ("model", "m")]);
        let groups = group(vec![(many, 1), (few.clone(), 2), (few, 3)]);
        assert_eq!(
            groups,
            [
                ("sessions-20".to_owned(), vec![2, 3]),
                ("sessions-80".to_owned(), vec![1])
            ]
        );
    }

    #[test]
    fn one_group_needs_no_name() {
        let groups = group(vec![(setting_of(&[("model", "m")]), 1)]);
        assert_eq!(groups, [(String::new(), vec![1])]);
        assert_eq!(stem("wakeup_cdf", ""), "wakeup_cdf");
        assert_eq!(stem("wakeup_cdf", "trace-a/b c"), "wakeup_cdf_trace-a-b-c");
    }

    #[test]
    fn a_key_that_one_setting_lacks_differs() {
        let groups = group(vec![
            (setting_of(&[("rate", "1")]), 1),
            (setting_of(&[]), 2),
        ]);
        assert_eq!(groups[0].0, "rate-default");
    }

    #[test]
    fn parameters_are_shown_only_where_they_tell_variants_apart() {
        let short = shorten(["djinn[a=1]", "djinn[a=2]", "keep-always[b=1]"].into_iter());
        assert_eq!(short["djinn[a=1]"], "djinn[a=1]");
        assert_eq!(short["keep-always[b=1]"], "keep-always");
    }

    #[test]
    fn a_default_spec_has_a_setting_without_policy_and_seed() {
        let setting = setting(&RunSpec::default());
        assert!(setting.contains_key("memory.block_tokens"));
        assert!(!setting.contains_key("policy") && !setting.contains_key("seed"));
    }
}
