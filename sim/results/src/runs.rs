//! `runs.csv`: one row per run of a sweep, what it was and what it came to.
//!
//! The file is always written whole, in the order of the sweep, and replaced at once: a reader sees the old
//! table or the new one. A sweep keeps each row in a file of its own until then, with what the run was made from.

use crate::folder::{FolderError, Rows, RunFolder};
use crate::folder::{columns, write_whole};
use crate::inputs::Inputs;
use crate::manifest::Manifest;
use crate::metrics::RunMetrics;
use csv::StringRecord;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a run was: the identifying columns of `runs.csv`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIdentity {
    /// [`crate::spec::RunSpec::run_id`].
    pub run: String,
    /// The policy as it was asked for, `name[key=value,...]`.
    pub policy: String,
    /// The workload in one word: a trace's stem or a generator's name.
    pub workload: String,
    /// Name of the model.
    pub model: String,
    /// Name of the hardware profile.
    pub hardware: String,
    /// What executed it: `sim`, `host`, `cuda`.
    pub device: String,
    /// Its seed.
    pub seed: u64,
    /// Sessions of the workload.
    pub agents: u64,
    /// Usable KV blocks of HBM.
    pub hbm_blocks: u64,
    /// Usable KV blocks of the host pool.
    pub host_blocks: u64,
    /// KV blocks of sessions that are live at once, at the peak, if each were served alone and at once; content that they share counts once.
    pub demand_blocks: u64,
    /// What varies in the sweep besides policy and seed, as a JSON object.
    pub params: String,
}

/// One row of `runs.csv`: the fields of both parts are its columns, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunRow {
    /// What the run was.
    pub id: RunIdentity,
    /// What it came to.
    pub metrics: RunMetrics,
}

impl RunIdentity {
    /// What a manifest says; `params` is [`crate::spec::SweepPoint::params`], or `{}`.
    pub fn of(manifest: &Manifest, params: &str) -> Self {
        Self {
            run: manifest.run_id.clone(),
            policy: manifest.spec.policy.clone(),
            workload: manifest.spec.workload_name(),
            model: manifest.model.name.clone(),
            hardware: manifest.hardware.name.clone(),
            device: manifest.device.kind.clone(),
            seed: manifest.seed,
            agents: manifest.counts.sessions,
            hbm_blocks: manifest.counts.hbm_blocks,
            host_blocks: manifest.counts.host_blocks,
            demand_blocks: manifest.counts.demand_blocks,
            params: params.to_owned(),
        }
    }
}

impl RunRow {
    /// The row of a finished run; `params` as for [`RunIdentity::of`].
    ///
    /// # Errors
    /// If a row of the folder is damaged.
    pub fn of(folder: &RunFolder, params: &str) -> Result<Self, FolderError> {
        let id = RunIdentity::of(folder.manifest(), params);
        let metrics = folder.metrics()?;
        Ok(Self { id, metrics })
    }

    /// Names of all columns, in order.
    pub fn columns() -> Vec<String> {
        let mut names = columns(&RunIdentity::default());
        names.extend(columns(&RunMetrics::default()));
        names
    }
}

/// Writes `runs.csv` whole, replacing what is there at once.
///
/// # Errors
/// If it cannot be written; the old file is then still there.
pub fn write_runs(path: &Path, rows: &[RunRow]) -> Result<(), FolderError> {
    write_whole(
        path,
        &RunRow::columns(),
        rows.iter().map(|row| (&row.id, &row.metrics)),
    )
}

/// Reads `runs.csv`.
///
/// # Errors
/// If it cannot be read, lacks a column, or a line is damaged; with the line.
pub fn read_runs(path: &Path) -> Result<Vec<RunRow>, FolderError> {
    let mut rows: Rows<()> = Rows::open_with(path, &RunRow::columns())?;
    let mut all = Vec::new();
    while let Some(row) = rows.next_with(decode) {
        all.push(row?);
    }
    Ok(all)
}

fn decode(record: &StringRecord, header: &StringRecord) -> Result<RunRow, csv::Error> {
    let id = record.deserialize(Some(header))?;
    let metrics = record.deserialize(Some(header))?;
    Ok(RunRow { id, metrics })
}

/// Writes one row with what its run was made from, whole, replacing what is there at once.
///
/// # Errors
/// If it cannot be written; the old file is then still there.
pub fn write_kept(path: &Path, row: &RunRow, inputs: &Inputs) -> Result<(), FolderError> {
    // Last, so that no row that was cut off has them all.
    let mut names = RunRow::columns();
    names.extend(columns(&Inputs::default()));
    write_whole(path, &names, [(&row.id, &row.metrics, inputs)])
}

/// Reads what [`write_kept`] wrote; no inputs if an earlier version did, which wrote the row alone.
///
/// # Errors
/// If it cannot be read, lacks a column, or is anything but one whole row.
pub fn read_kept(path: &Path) -> Result<(RunRow, Option<Inputs>), FolderError> {
    let mut rows: Rows<()> = Rows::open_with(path, &RunRow::columns())?;
    let says = columns(&Inputs::default());
    let says = says.iter().all(|name| rows.has(name));
    let kept = rows.next_with(|record, header| {
        let inputs: Option<Inputs> = says.then(|| record.deserialize(Some(header))).transpose()?;
        Ok((decode(record, header)?, inputs))
    });
    let cut = |line, what: &str| FolderError::Damaged {
        path: path.to_owned(),
        line,
        what: what.to_owned(),
    };
    let (row, inputs) = kept.unwrap_or_else(|| Err(cut(1, "there is no row")))?;
    if rows.next_with(decode).is_some() {
        return Err(cut(3, "there is more than one row"));
    }
    if inputs.as_ref().is_some_and(|inputs| !inputs.are_whole()) {
        return Err(cut(2, "the row is cut off"));
    }
    Ok((row, inputs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(run: &str) -> RunRow {
        RunRow {
            id: RunIdentity {
                run: run.to_owned(),
                policy: "djinn[margin_ms=20,k=2]".to_owned(),
                params: r#"{"workload.rate":0.2}"#.to_owned(),
                seed: 7,
                ..RunIdentity::default()
            },
            metrics: RunMetrics {
                turns: 3,
                wakeup_ns_p99: Some(u64::MAX),
                turns_per_s: Some(0.1 + 0.2),
                stable: Some(true),
                wakeup_p99_marked: true,
                ..RunMetrics::default()
            },
        }
    }

    #[test]
    fn rows_come_back_as_they_were_with_empty_cells_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs.csv");
        let rows = [row("a"), row("b")];
        write_runs(&path, &rows).unwrap();
        assert_eq!(read_runs(&path).unwrap(), rows);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("run,policy,workload,model,hardware,device,seed,agents,hbm_blocks,host_blocks,demand_blocks,params,"));
        assert!(text.contains(r#""djinn[margin_ms=20,k=2]""#));
        assert!(text.contains(r#""{""workload.rate"":0.2}""#));
    }

    #[test]
    fn writing_again_replaces_the_table_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs.csv");
        write_runs(&path, &[row("a"), row("b")]).unwrap();
        write_runs(&path, &[row("c")]).unwrap();
        assert_eq!(read_runs(&path).unwrap(), [row("c")]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_table_of_no_runs_still_has_its_header() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs.csv");
        write_runs(&path, &[]).unwrap();
        assert_eq!(read_runs(&path).unwrap(), []);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn a_damaged_cell_is_named_with_line_and_column() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs.csv");
        write_runs(&path, &[row("a"), row("b")]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\nb,", "\nb\"x,")).unwrap();
        assert_eq!(read_runs(&path).unwrap()[1].id.run, "b\"x"); // a lone quote is a character
        std::fs::write(&path, text.replacen(",7,", ",seven,", 1)).unwrap();
        let error = read_runs(&path).unwrap_err().to_string();
        assert!(
            error.contains("runs.csv, line 2: column `seed`: invalid digit"),
            "{error}"
        );
    }

    #[test]
    fn a_table_without_a_column_is_refused_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs.csv");
        std::fs::write(&path, "run,policy\na,b\n").unwrap();
        let error = read_runs(&path).unwrap_err().to_string();
        assert!(
            error.contains("line 1: the header has no column `workload`"),
            "{error}"
        );
    }

    fn inputs() -> Inputs {
        Inputs {
            program_sha256: "1".repeat(64),
            hardware_sha256: "2".repeat(64),
            model_sha256: "3".repeat(64),
            workload_sha256: "4".repeat(64),
        }
    }

    #[test]
    fn a_kept_row_comes_back_with_what_it_was_made_from() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        write_kept(&path, &row("a"), &inputs()).unwrap();
        assert_eq!(read_kept(&path).unwrap(), (row("a"), Some(inputs())));
        // What reads tables of runs reads it as one.
        assert_eq!(read_runs(&path).unwrap(), [row("a")]);
        write_runs(&path, &[row("a")]).unwrap();
        assert_eq!(read_kept(&path).unwrap(), (row("a"), None));
    }

    #[test]
    fn a_kept_row_that_was_cut_off_anywhere_is_no_row() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        write_kept(&path, &row("a"), &inputs()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        // Without its line feed it is whole.
        for length in 0..text.len() - 1 {
            std::fs::write(&path, &text[..length]).unwrap();
            assert!(read_kept(&path).is_err(), "{length} of {}", text.len());
        }
        write_runs(&path, &[row("a"), row("b")]).unwrap();
        assert!(read_kept(&path).is_err(), "two rows");
    }
}
