//! The simulator against GPUs in the paper: from the committed tables of recorded runs, which `djinn revalidate` makes and `.ci/run` checks.

use crate::error::CliError;
use figures::{FigureError, Numbers, validation_policies};
use lab::validate::recordings::{LIST, Recordings};
use results::folder::{read_table, write_table};
use results::stats::Quantile;
use results::validation::{
    CLOSED_LOOP, ClosedLoopRow, OPERATIONS, OperationsRow, POLICY_ROWS, PolicyRow, Quantity,
    RANKING, RankRow,
};
use std::path::{Path, PathBuf};

/// The committed recordings, in a checkout.
const FOLDER: &str = "replay/measurements/validation";

/// The tables of one recording.
#[derive(Default)]
struct Recorded {
    name: String,
    load: String,
    operations: Vec<OperationsRow>,
    closed: Vec<ClosedLoopRow>,
    ranked: Vec<RankRow>,
}

/// The tables of all recordings.
pub(super) struct Record {
    /// Of the kernels as they are.
    latest: Vec<Recorded>,
    earlier: Vec<Recorded>,
}

impl Record {
    /// The committed record; none outside of a checkout.
    pub(super) fn read() -> Result<Option<Self>, CliError> {
        let folder = Path::new(FOLDER);
        if !folder.join(LIST).is_file() {
            return Ok(None);
        }
        let recordings = Recordings::read(folder)?;
        let tables = |recording| -> Result<Recorded, CliError> {
            let own = recordings.folder_of(recording);
            Ok(Recorded {
                name: recording.name.clone(),
                load: recording.load.clone(),
                operations: read_table(&own.join(OPERATIONS))?,
                closed: read_table(&own.join(CLOSED_LOOP))?,
                ranked: read_table(&own.join(RANKING))?,
            })
        };
        let all = recordings.all.iter().map(tables);
        let mut latest: Vec<Recorded> = all.collect::<Result<_, _>>()?;
        let earlier = latest.split_off(recordings.latest().count());
        Ok(Some(Self { latest, earlier }))
    }

    /// Puts the policies of the latest recordings into `folder`, and draws them into `target`.
    pub(super) fn draw(&self, folder: &Path, target: &Path) -> Result<Vec<PathBuf>, CliError> {
        std::fs::create_dir_all(folder)
            .map_err(|cause| CliError::file("create", folder, &cause))?;
        let rows = self.latest.iter().flat_map(|recorded| {
            let row = |row| PolicyRow::of(&recorded.load, &recorded.name, row);
            recorded.closed.iter().map(row)
        });
        write_table(&folder.join(POLICY_ROWS), rows)?;
        Ok(validation_policies::make(folder, target)?)
    }

    /// Its numbers: of the latest recordings, and `..All..` of all.
    pub(super) fn numbers(&self, numbers: &mut Numbers) -> Result<(), FigureError> {
        let mids: Vec<&ClosedLoopRow> = self.latest(Quantity::WakeupP50).collect();
        let earlier = self.earlier.iter();
        let earlier = earlier.flat_map(|recorded| of(recorded, Quantity::WakeupP50));
        let runs = mids.iter().map(|row| row.repeats).sum::<u64>();
        numbers.count("gpuRuns", runs)?;
        let all = runs + earlier.map(|row| row.repeats).sum::<u64>();
        numbers.count("gpuAllRuns", all)?;
        numbers.count("gpuRecordings", self.latest.len() as u64)?;
        self.operations(numbers)?;
        let quantities = [(Quantity::JctMean, "Jct"), (Quantity::WakeupP50, "Mid")];
        for (quantity, name) in quantities {
            for (repeated, which) in [(true, "Repeated"), (false, "Single")] {
                let rows = self.latest(quantity);
                let own: Vec<_> = rows.filter(|row| (row.repeats > 1) == repeated).collect();
                let met = own.iter().filter(|row| row.met()).count();
                numbers.count(&format!("gpu{name}{which}Met"), met as u64)?;
                numbers.count(&format!("gpu{name}{which}"), own.len() as u64)?;
            }
        }
        let mut errors: Vec<f64> = mids
            .iter()
            .filter_map(|row| Some(row.error?.abs()))
            .collect();
        errors.sort_by(f64::total_cmp);
        let median = Quantile::P50.of_sorted(&errors).unwrap_or_default();
        numbers.fixed("gpuMidError", median * 100.0, 1)?;
        let draws = mids.iter().map(|row| row.draws).max();
        numbers.count("gpuDraws", draws.unwrap_or_default())?;
        let among = mids.iter().filter(|row| row.among_draws() == Some(true));
        numbers.count("gpuAmong", among.count() as u64)?;
        numbers.count("gpuPairs", mids.len() as u64)?;
        self.rankings(numbers)
    }

    /// The largest of the recordings' errors, of each kind of operations and of all.
    fn operations(&self, numbers: &mut Numbers) -> Result<(), FigureError> {
        let mut all = 0.0_f64;
        let names = ["Decode", "Mixed", "Prefill", "Out", "Back"];
        for (kind, name) in OperationsRow::KINDS.iter().zip(names) {
            let rows = self.latest.iter().flat_map(|one| &one.operations);
            let own = rows.filter(|row| row.kind == *kind);
            let largest = own.map(|row| row.p50).fold(0.0, f64::max);
            numbers.fixed(&format!("gpuError{name}"), largest * 100.0, 1)?;
            all = all.max(largest);
        }
        numbers.fixed("gpuErrorMost", all * 100.0, 1)
    }

    /// Comparisons of two policies by one quantity.
    fn rankings(&self, numbers: &mut Numbers) -> Result<(), FigureError> {
        let ranked = || self.latest.iter().flat_map(|one| &one.ranked);
        let sum = |of: fn(&RankRow) -> u64| ranked().map(of).sum();
        numbers.count("gpuSeparated", sum(|row| row.separated))?;
        numbers.count("gpuSwapped", sum(|row| row.swapped_pairs().count() as u64))?;
        numbers.count("gpuDecided", sum(|row| row.decided))?;
        numbers.count("gpuContradicted", sum(|row| row.contradicted))
    }

    fn latest(&self, quantity: Quantity) -> impl Iterator<Item = &ClosedLoopRow> {
        let all = self.latest.iter();
        all.flat_map(move |recorded| of(recorded, quantity))
    }
}

/// The rows of a quantity.
fn of(recorded: &Recorded, quantity: Quantity) -> impl Iterator<Item = &ClosedLoopRow> {
    let rows = recorded.closed.iter();
    rows.filter(move |row| row.quantity == quantity.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(quantity: Quantity, repeats: u64, error: f64, verdict: &str) -> ClosedLoopRow {
        ClosedLoopRow {
            quantity: quantity.name().to_owned(),
            repeats,
            draws: 25,
            measured: 100.0,
            drawn_min: Some(95.0),
            drawn_max: Some(100.0 * (1.0 + error)),
            error: Some(error),
            verdict: verdict.to_owned(),
            ..ClosedLoopRow::default()
        }
    }

    fn recorded(decode: f64, swapped: &str) -> Recorded {
        Recorded {
            operations: vec![OperationsRow {
                kind: "decode".to_owned(),
                p50: decode,
                ..OperationsRow::default()
            }],
            closed: vec![
                closed(Quantity::WakeupP50, 3, 0.02, "ok"),
                closed(Quantity::WakeupP50, 3, 0.05, "ok-within-spread"),
                closed(Quantity::WakeupP50, 1, -0.04, "missed"),
                closed(Quantity::JctMean, 1, 0.01, "ok"),
            ],
            ranked: vec![RankRow {
                separated: 10,
                decided: 7,
                swapped: swapped.to_owned(),
                ..RankRow::default()
            }],
            ..Recorded::default()
        }
    }

    #[test]
    fn numbers_are_of_the_latest_recordings_but_for_those_of_all() {
        let record = Record {
            latest: vec![recorded(0.004, "a/b;a/c"), recorded(0.006, "")],
            earlier: vec![recorded(0.09, "b/c")],
        };
        let mut numbers = Numbers::new();
        record.numbers(&mut numbers).unwrap();
        let text = numbers.tex();
        for (name, value) in [
            ("gpuRuns", "14"),
            ("gpuAllRuns", "21"),
            ("gpuRecordings", "2"),
            ("gpuErrorDecode", "0.6"),
            ("gpuErrorMost", "0.6"),
            ("gpuMidRepeatedMet", "4"),
            ("gpuMidRepeated", "4"),
            ("gpuMidSingleMet", "0"),
            ("gpuMidSingle", "2"),
            ("gpuJctSingleMet", "2"),
            ("gpuMidError", "4.0"),
            // The third of each has its draws below the GPU.
            ("gpuAmong", "4"),
            ("gpuPairs", "6"),
            ("gpuSeparated", "20"),
            ("gpuSwapped", "2"),
            ("gpuDecided", "14"),
            ("gpuContradicted", "0"),
        ] {
            let line = format!("\\newcommand{{\\{name}}}{{{value}}}");
            assert!(text.lines().any(|own| own == line), "{line}\n{text}");
        }
    }
}
