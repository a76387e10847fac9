//! Rows that earlier sweeps have kept: which are still those of the runs that are asked for, and why the others are not.
//!
//! A row's file has the name of the run, and says in the same line what the run was made from; so the two cannot disagree, whenever a process is
//! killed. A row from other inputs, one that does not say, and one that is damaged are no rows: they stay until the run has been made anew.

use crate::LabError;
use results::folder::{FolderError, RunFolder};
use results::inputs::Inputs;
use results::runs::{RunRow, read_kept};
use results::spec::RunSpec;
use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

/// Reasons that are listed one by one; the rest is counted.
const REASONS_MAX: usize = 4;

/// What is there of a run.
#[derive(Debug)]
pub(crate) enum Kept {
    /// Its row.
    Row(Box<RunRow>),
    /// Nothing.
    Nothing,
    /// A row that is not to be taken up, and why.
    Other(Vec<String>),
}

/// What is in the file `row` of the run `id`, which `spec` stands for, made from `inputs`.
///
/// # Errors
/// If the system refuses to read a file that is there.
pub(crate) fn look(
    row: &Path,
    id: &str,
    spec: &RunSpec,
    inputs: &Inputs,
) -> Result<Kept, LabError> {
    let other = |why: &str| Ok(Kept::Other(vec![why.to_owned()]));
    match read_kept(row) {
        Ok((row, Some(before))) if row.id.run == id => {
            let changes = inputs.changes(&before, spec);
            if changes.is_empty() {
                return Ok(Kept::Row(Box::new(row)));
            }
            let why = changes.iter().map(|what| format!("changed {what}"));
            Ok(Kept::Other(why.collect()))
        }
        Ok((row, None)) if row.id.run == id => other("row of an earlier version"),
        Err(FolderError::Io { cause, .. }) if cause.kind() == ErrorKind::NotFound => {
            Ok(Kept::Nothing)
        }
        Err(error @ FolderError::Io { .. }) => Err(error.into()),
        Ok(_) | Err(_) => other("damaged row"),
    }
}

/// Whether `folder` holds the run `id`, complete, made from `inputs`.
pub(crate) fn is_kept_in(folder: &Path, id: &str, inputs: &Inputs) -> bool {
    RunFolder::open(folder).is_ok_and(|folder| {
        let manifest = folder.manifest();
        manifest.run_id == id && !manifest.partial && manifest.inputs.as_ref() == Some(inputs)
    })
}

/// Runs that were made anew although their rows were there: how many, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewed {
    /// How many.
    pub runs: usize,
    /// How many for each reason; a run may have several.
    why: BTreeMap<String, usize>,
}

impl Renewed {
    /// Counts a run.
    pub(crate) fn add(&mut self, why: Vec<String>) {
        self.runs += 1;
        for reason in why {
            *self.why.entry(reason).or_default() += 1;
        }
    }

    /// Counts others' runs, too.
    pub fn merge(&mut self, others: &Self) {
        self.runs += others.runs;
        for (reason, runs) in &others.why {
            *self.why.entry(reason.clone()).or_default() += runs;
        }
    }
}

/// `3 runs whose rows were there were made anew: changed program, changed model `m.toml` (2)`; a count stands where a reason is not that of all.
impl fmt::Display for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (runs, rows) = match self.runs {
            1 => ("run", "row was there was"),
            _ => ("runs", "rows were there were"),
        };
        write!(f, "{} {runs} whose {rows} made anew: ", self.runs)?;
        let mut why: Vec<(&String, &usize)> = self.why.iter().collect();
        why.sort_by_key(|&(reason, runs)| (std::cmp::Reverse(runs), reason));
        for (index, &(reason, &runs)) in why.iter().take(REASONS_MAX).enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{reason}")?;
            if runs < self.runs {
                write!(f, " ({runs})")?;
            }
        }
        match why.len().saturating_sub(REASONS_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more reasons"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use results::runs::{RunIdentity, write_kept, write_runs};

    fn inputs() -> Inputs {
        let sha256 = |digit: &str| digit.repeat(64);
        Inputs {
            program_sha256: sha256("1"),
            hardware_sha256: sha256("2"),
            model_sha256: sha256("3"),
            workload_sha256: sha256("4"),
        }
    }

    fn row() -> RunRow {
        let id = RunIdentity {
            run: "a".to_owned(),
            ..RunIdentity::default()
        };
        RunRow {
            id,
            ..RunRow::default()
        }
    }

    /// Why the row in `path` is not taken up; `taken up` and `nothing` where it is, or is not there.
    fn why(path: &Path, inputs: &Inputs) -> String {
        match look(path, "a", &RunSpec::default(), inputs).unwrap() {
            Kept::Row(found) => {
                assert_eq!(*found, row());
                "taken up".to_owned()
            }
            Kept::Nothing => "nothing".to_owned(),
            Kept::Other(why) => why.join(", "),
        }
    }

    #[test]
    fn a_row_is_taken_up_from_the_same_inputs_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        assert_eq!(why(&path, &inputs()), "nothing");
        write_kept(&path, &row(), &inputs()).unwrap();
        assert_eq!(why(&path, &inputs()), "taken up");
        let mut now = inputs();
        now.program_sha256 = "5".repeat(64);
        assert_eq!(why(&path, &now), "changed program");
        now.hardware_sha256 = "6".repeat(64);
        let two = "changed program, changed hardware profile `h200`";
        assert_eq!(why(&path, &now), two);
    }

    #[test]
    fn a_row_that_is_damaged_or_does_not_say_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        write_runs(&path, &[row()]).unwrap();
        assert_eq!(why(&path, &inputs()), "row of an earlier version");
        write_kept(&path, &row(), &inputs()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for damaged in [
            &text[..text.len() - 2],
            "",
            "run\n",
            &text.replace("\na,", "\nb,"),
        ] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(why(&path, &inputs()), "damaged row", "{damaged}");
        }
    }

    #[test]
    fn the_reasons_are_told_in_one_line_with_a_count_where_it_is_not_that_of_all() {
        let mut renewed = Renewed::default();
        renewed.add(vec!["changed program".to_owned()]);
        let one = "1 run whose row was there was made anew: changed program";
        assert_eq!(renewed.to_string(), one);
        renewed.add(vec![
            "changed model `m`".to_owned(),
            "changed program".to_owned(),
        ]);
        let two =
            "2 runs whose rows were there were made anew: changed program, changed model `m` (1)";
        assert_eq!(renewed.to_string(), two);
        let mut both = renewed.clone();
        both.merge(&renewed);
        assert!(both.to_string().ends_with("changed model `m` (2)"));
        for trace in 0..5 {
            renewed.add(vec![format!("changed trace `{trace}`")]);
        }
        let many = "changed program (2), changed model `m` (1), changed trace `0` (1), changed trace `1` (1) and 3 more reasons";
        assert!(renewed.to_string().ends_with(many), "{renewed}");
    }
}
