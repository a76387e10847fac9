//! `djinn sweep`: all runs that a config stands for.

use crate::config::{ConfigArgs, sweep};
use crate::error::CliError;
use crate::format::{plural, span_or_dash};
use crate::table::Table;
use crate::{command, interrupt, out, progress};
use lab::Wants;
use lab::sweep::{SweepOptions, run as run_sweep};
use results::folder::left_behind;
use results::runs::{RunRow, read_runs};
use results::spec::DRAW;
use results::stats::Quantile;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Simulate every run of a sweep and write runs.csv
///
/// The `[sweep]` table of the config lists the values of each key that varies; there is a run for every combination.
/// An interrupted sweep goes on where it stopped when the same command is given again. Runs that are there are taken up if they were made by this
/// program from the same hardware profile, model and trace; the others are made anew, and it is told how many and why.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Policies, separated by commas
    #[arg(long)]
    policy: Option<String>,
    /// Folder of the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Runs at a time [default: one per core]; the results do not depend on it
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Keep the folder of every run in OUT/runs, for compare and figures
    #[arg(long)]
    keep: bool,
}

const EXAMPLES: &str = "\
Examples:
  djinn sweep --policy vllm-recompute,djinn --set 'sweep.seed=\"1..20\"' --keep --out results/first
  djinn compare results/first/runs          each policy against the first, over all seeds
  djinn sweep my.toml --set 'sweep.engine.jitter=\"1..25\"' --keep --out results/courses     one spec, 25 courses of it
  djinn sweep my.toml --threads 2 --out results/rates";

pub fn run(args: &Args) -> Result<(), CliError> {
    let sweep = sweep(&args.config.layers(args.policy.as_deref())?)?;
    let options = SweepOptions {
        out: args.out.clone(),
        threads: args.threads.map(NonZeroUsize::get),
        keep: args.keep.then(Wants::default),
        command: command::given(),
        commit: command::commit(),
    };
    interrupt::say_what_is_kept();
    // A table that cannot be read has nothing to lose.
    let before = read_runs(&args.out.join("runs.csv")).unwrap_or_default();
    let bar = progress::bar(sweep.len() as u64, "runs");
    let report = run_sweep(&sweep, &options, &|progress| {
        bar.set_position(progress.done as u64);
    });
    bar.finish_and_clear();
    let report = report?;
    let rows = read_runs(&report.runs_csv)?;
    out::stdout(&table(&rows))?;
    let now: BTreeSet<&str> = rows.iter().map(|row| row.id.run.as_str()).collect();
    let gone = before
        .iter()
        .filter(|row| !now.contains(row.id.run.as_str()))
        .count();
    if gone > 0 {
        out::warn(&format!(
            "the table of {} had {} of another sweep, which are no longer in it; another --out keeps both",
            args.out.display(),
            plural(gone as u64, "row")
        ));
    }
    out::note(&format!(
        "\n{} now, {} already there; table in {}",
        plural(report.ran as u64, "run"),
        report.skipped,
        report.runs_csv.display()
    ));
    out::renewed(&report.renewed);
    out::note(&format!("repeat or continue it with: {}", options.command));
    if let Some(left) = left_behind(&args.out) {
        out::note(&left);
    }
    for (run, why) in &report.failed {
        out::warn(&format!("run {run} failed: {why}"));
    }
    if report.failed.is_empty() {
        Ok(())
    } else {
        let failed = plural(report.failed.len() as u64, "run");
        Err(CliError::failed(format!(
            "{failed} of {} failed; their rows are missing",
            sweep.len()
        )))
    }
}

/// One line for each setting: the range over its seeds and draws of the jitter.
fn table(rows: &[RunRow]) -> String {
    let heading = [
        "policy",
        "setting",
        "runs",
        "wake-up p50",
        "from",
        "to",
        "wake-up p99",
        "from",
        "to",
        "",
    ];
    let mut table = Table::new(&heading).left(2).words_last();
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let own = setting(first);
        let same = |row: &&RunRow| row.id.policy == first.id.policy && setting(row) == own;
        let count = rest.iter().take_while(same).count();
        let (group, others) = rest.split_at(count);
        rest = others;
        let mut cells = vec![first.id.policy.clone(), own, count.to_string()];
        cells.extend(range(group, |row| row.metrics.wakeup_ns_p50));
        cells.extend(range(group, |row| row.metrics.wakeup_ns_p99));
        let unstable = group
            .iter()
            .filter(|row| row.metrics.stable == Some(false))
            .count();
        let growing = format!("backlog grew in {unstable}");
        cells.push(if unstable > 0 { growing } else { String::new() });
        table.row(cells);
    }
    format!(
        "over the seeds and draws of each setting: median, smallest and largest\n\n{}",
        table.render()
    )
}

/// What a run's setting is beside its policy, without what repeats it.
fn setting(row: &RunRow) -> String {
    let params = row.id.params.trim_matches(['{', '}']).replace('"', "");
    let mut varied: Vec<&str> = params.split(',').collect();
    let draw = format!("{DRAW}:");
    varied.retain(|param| !param.starts_with(&draw));
    varied.join(",")
}

/// Median (the nearest rank), smallest and largest over runs.
fn range(group: &[RunRow], of: impl Fn(&RunRow) -> Option<u64>) -> [String; 3] {
    let mut values: Vec<u64> = group.iter().filter_map(of).collect();
    values.sort_unstable();
    let median = Quantile::P50.of_sorted(&values);
    [median, values.first().copied(), values.last().copied()].map(span_or_dash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_and_draws_of_one_setting_share_a_line() {
        let row = |policy: &str, params: &str, seed, p50| {
            let mut row = RunRow::default();
            (row.id.policy, row.id.params, row.id.seed) = (policy.into(), params.into(), seed);
            row.metrics.wakeup_ns_p50 = Some(p50);
            row
        };
        let of =
            |rate: &str, draw: u32| format!(r#"{{"workload.rate":{rate},"engine.jitter":{draw}}}"#);
        let mut rows = Vec::new();
        for rate in ["0.1", "0.2"] {
            for (draw, seed) in [(0, 1), (0, 2), (1, 1), (1, 2)] {
                let p50 = 1_000_000 * (u64::from(draw) * 2 + seed);
                rows.push(row("djinn", &of(rate, draw), seed, p50));
            }
        }
        rows.push(row("ski", "{}", 1, 7_000_000));
        let text = table(&rows);
        // Of 1, 2, 3 and 4 ms: the lower of the middle two, the least, the most.
        let lines: Vec<&str> = text.lines().skip(3).collect();
        let numbers = "4 2.00 ms 1.00 ms 4.00 ms - - -";
        for (line, own) in lines.iter().zip([
            format!("djinn workload.rate:0.1 {numbers}"),
            format!("djinn workload.rate:0.2 {numbers}"),
            "ski 1 7.00 ms 7.00 ms 7.00 ms - - -".to_owned(),
        ]) {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words.join(" "), own, "{text}");
        }
        assert!(lines.len() >= 3);
    }
}
