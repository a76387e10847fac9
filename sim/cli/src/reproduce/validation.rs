//! The simulator against GPUs in the paper: from the committed tables of recorded runs, which `djinn revalidate` makes and `.ci/run` checks.

use crate::error::CliError;
use figures::{FigureError, Numbers, by_name, validation_policies};
use lab::validate::recordings::{LIST, Recordings};
use results::folder::{read_table, write_table};
use results::stats::Quantile;
use results::validation::{
    CLOSED_LOOP, ClosedLoopRow, OPERATIONS, OperationsRow, POLICIES, PolicyRow, Quantity, RANKING,
    RankRow,
};
use std::path::{Path, PathBuf};

/// The committed recordings, in a checkout.
const FOLDER: &str = "replay/measurements/validation";

/// The tables of one recording.
struct Recorded {
    name: String,
    load: String,
    kernels: String,
    operations: Vec<OperationsRow>,
    closed: Vec<ClosedLoopRow>,
    ranked: Vec<RankRow>,
}

/// The tables of all recordings.
pub(super) struct Record {
    all: Vec<Recorded>,
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
                kernels: recording.kernels.clone(),
                operations: read_table(&own.join(OPERATIONS))?,
                closed: read_table(&own.join(CLOSED_LOOP))?,
                ranked: read_table(&own.join(RANKING))?,
            })
        };
        let all = recordings.all.iter().map(tables);
        Ok(Some(Self {
            all: all.collect::<Result<_, _>>()?,
        }))
    }

    /// Those of the kernels as they are, which come first.
    fn latest(&self) -> impl Iterator<Item = &Recorded> {
        let first = self.all.first().map(|recorded| recorded.kernels.as_str());
        let same = move |recorded: &&Recorded| Some(recorded.kernels.as_str()) == first;
        self.all.iter().filter(same)
    }

    /// Puts the policies of the latest recordings into `folder`, and draws them into `target`.
    pub(super) fn draw(&self, folder: &Path, target: &Path) -> Result<Vec<PathBuf>, CliError> {
        std::fs::create_dir_all(folder)
            .map_err(|cause| CliError::file("create", folder, &cause))?;
        let rows = self.latest().flat_map(|recorded| {
            let row = |row| PolicyRow::of(&recorded.load, &recorded.name, row);
            recorded.closed.iter().map(row)
        });
        write_table(&folder.join(POLICIES), rows)?;
        let figure = by_name(validation_policies::NAME).expect("it is registered");
        Ok(figure.make(folder, target)?)
    }

    /// Its numbers: `gpu..` of the latest recordings, `gpuAll..` of all.
    pub(super) fn numbers(&self, numbers: &mut Numbers) -> Result<(), FigureError> {
        let runs = |recorded: &Recorded| -> u64 {
            let rows = of(recorded, Quantity::WakeupP50);
            rows.map(|row| row.repeats).sum()
        };
        numbers.count("gpuAllRuns", self.all.iter().map(runs).sum())?;
        numbers.count("gpuRuns", self.latest().map(runs).sum())?;
        numbers.count("gpuRecordings", self.latest().count() as u64)?;
        let mut most = 0.0_f64;
        for (kind, name) in OperationsRow::KINDS
            .iter()
            .zip(["Decode", "Mixed", "Prefill", "Out", "Back"])
        {
            let rows = self.latest().flat_map(|recorded| &recorded.operations);
            let largest = rows
                .filter(|row| row.kind == *kind)
                .map(|row| row.p50)
                .fold(0.0, f64::max);
            numbers.fixed(&format!("gpuError{name}"), largest * 100.0, 1)?;
            most = most.max(largest);
        }
        numbers.fixed("gpuErrorMost", most * 100.0, 1)?;
        for (quantity, name) in [(Quantity::JctMean, "Jct"), (Quantity::WakeupP50, "Mid")] {
            for (repeated, which) in [(true, "Repeated"), (false, "Single")] {
                let rows: Vec<&ClosedLoopRow> = self
                    .latest()
                    .flat_map(|recorded| of(recorded, quantity))
                    .filter(|row| (row.repeats > 1) == repeated)
                    .collect();
                let met = rows.iter().filter(|row| row.verdict.starts_with("ok"));
                numbers.count(&format!("gpu{name}{which}Met"), met.count() as u64)?;
                numbers.count(&format!("gpu{name}{which}"), rows.len() as u64)?;
            }
        }
        let mids: Vec<&ClosedLoopRow> = self
            .latest()
            .flat_map(|recorded| of(recorded, Quantity::WakeupP50))
            .collect();
        let mut errors: Vec<f64> = mids
            .iter()
            .filter_map(|row| Some(row.error?.abs()))
            .collect();
        errors.sort_by(f64::total_cmp);
        let median = Quantile::P50.of_sorted(&errors).unwrap_or_default();
        numbers.fixed("gpuMidError", median * 100.0, 1)?;
        let draws = mids.iter().map(|row| row.draws).max();
        numbers.count("gpuDraws", draws.unwrap_or_default())?;
        let among = mids.iter().filter(|row| {
            let ends = row.drawn_min.zip(row.drawn_max);
            ends.is_some_and(|(least, most)| (least..=most).contains(&row.measured))
        });
        numbers.count("gpuPairs", mids.len() as u64)?;
        numbers.count("gpuAmong", among.count() as u64)?;
        let ranked = || self.all.iter().flat_map(|recorded| &recorded.ranked);
        let swapped = ranked().map(|row| row.swapped.split(';').filter(|p| !p.is_empty()).count());
        let sum = |of: fn(&RankRow) -> u64| ranked().map(of).sum();
        numbers.count("gpuAllSeparated", sum(|row| row.separated))?;
        numbers.count("gpuAllSwapped", swapped.sum::<usize>() as u64)?;
        numbers.count("gpuAllDecided", sum(|row| row.decided))?;
        numbers.count("gpuAllContradicted", sum(|row| row.contradicted))
    }
}

/// The rows of a quantity.
fn of(recorded: &Recorded, quantity: Quantity) -> impl Iterator<Item = &ClosedLoopRow> {
    let rows = recorded.closed.iter();
    rows.filter(move |row| row.quantity == quantity.name())
}
