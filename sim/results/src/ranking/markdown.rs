//! `ranking.md`: one table for each cell, for readers.

use super::differences::DifferenceRow;
use super::found::LoadRow;
use super::judged::{Measured, Setting, distinct};
use super::places::PlaceRow;
use std::fmt::Write as _;

/// The text; policies of a cell in the order of the metric that decides.
pub fn markdown(
    loads: &[LoadRow],
    differences: &[DifferenceRow],
    places: &[PlaceRow],
    reference: &str,
) -> String {
    let mut text = format!(
        "# Ranking\n\nEach number is a factor against `{reference}` on the same shards: geometric mean, and its 95 % interval. Below 1 is better. \
         `=` marks a place that is shared: those policies cannot be told apart from the first of them. Bold: the interval excludes 1.\n"
    );
    for load in loads {
        let here = |row: &&PlaceRow| {
            row.workload == load.workload
                && row.load == load.load
                && row.metric == Measured::ALL[0].name()
                && row.setting == Setting::Default.name()
        };
        let _ = write!(
            text,
            "\n## {}, {}\n\n{} sessions/s ({}); {} sessions a shard.{}\n\n\
             | place | policy | wake-up mean | P50 | P99 | session completion | tuned, wake-up mean | saturated |\n\
             |---|---|---|---|---|---|---|---|\n",
            load.workload,
            load.load,
            load.rate,
            load.rule,
            load.sessions,
            if load.surge {
                " More than the reference carries: numbers are those of this stretch of arrivals."
            } else {
                ""
            }
        );
        for row in places.iter().filter(here) {
            let found = |metric: Measured, setting: Setting| {
                differences.iter().find(|d| {
                    d.workload == row.workload
                        && d.load == row.load
                        && d.policy == row.policy
                        && d.metric == metric.name()
                        && d.setting == setting.name()
                })
            };
            let place = row.place.map_or_else(String::new, |place| {
                format!("{place}{}", if row.tied > 1 { "=" } else { "" })
            });
            let cells = Measured::ALL.map(|metric| factor(found(metric, Setting::Default)));
            let tuned = found(Measured::ALL[0], Setting::Tuned);
            let tuned = tuned.map_or_else(String::new, |row| {
                format!("{} `{}`", factor(Some(row)), row.spelled)
            });
            let saturated = match row.saturated {
                0 => String::new(),
                count => format!("{count} of {}", row.shards),
            };
            let _ = writeln!(
                text,
                "| {place} | {} | {} | {tuned} | {saturated} |",
                row.policy,
                cells.join(" | ")
            );
        }
    }
    text
}

/// Policies by name, each once, in the order of the table.
pub fn policies(differences: &[DifferenceRow]) -> Vec<String> {
    distinct(differences.iter().map(|row| row.policy.clone()))
}

/// `0.52 [0.49, 0.55]`, bold where 1 is excluded.
fn factor(row: Option<&DifferenceRow>) -> String {
    let parts = row.and_then(|row| {
        let ends = (row.ratio_low?, row.ratio_high?);
        Some((row.ratio?, ends, row.shown()))
    });
    let Some((ratio, (low, high), shown)) = parts else {
        return "-".to_owned();
    };
    let text = format!("{} [{}, {}]", short(ratio), short(low), short(high));
    if shown { format!("**{text}**") } else { text }
}

/// Three significant digits.
fn short(factor: f64) -> String {
    let decimals = (2 - factor.abs().log10().floor() as i32).clamp(0, 4) as usize;
    format!("{factor:.decimals$}")
}
