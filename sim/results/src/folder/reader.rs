//! Reads a run folder.

use super::table::{Rows, columns};
use super::{
    DECISIONS, FolderError, MANIFEST, OPS, SAMPLES, SESSIONS, TURNS, UNFINISHED, WAKES, stored,
};
use crate::manifest::{Manifest, SCHEMA};
use crate::metrics::{Collector, Measure, RunMetrics};
use crate::parts;
use crate::rows::{OpRow, SampleRow, SessionRow, TurnRow};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// A finished run on the disk. The manifest is in memory; rows are read when asked for.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    manifest: Box<Manifest>,
}

impl RunFolder {
    /// Opens a run and reads its manifest.
    ///
    /// # Errors
    /// If `path` is not a whole run folder of this layout; a damaged manifest is named with its line.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let not_a_run = |why: &str| FolderError::NotARun {
            path: path.to_owned(),
            why: why.into(),
        };
        if is_unfinished(path) {
            return Err(not_a_run(
                "it was left unfinished by a run that was interrupted",
            ));
        }
        let kind = fs::metadata(path).map_err(FolderError::io("read", path))?;
        if !kind.is_dir() {
            return Err(not_a_run("it is a file; give the folder"));
        }
        // A manifest is never compressed.
        let there = |file: &&str| match *file {
            MANIFEST => path.join(MANIFEST).is_file(),
            table => stored::find(path, table).is_some(),
        };
        if let Some(file) = [MANIFEST, TURNS, SESSIONS].iter().find(|file| !there(file)) {
            return Err(not_a_run(&format!("it has no {file}")));
        }
        let manifest = Box::new(read_manifest(&path.join(MANIFEST))?);
        Ok(Self {
            path: path.to_owned(),
            manifest,
        })
    }

    /// Opens the run at `path`, or those that are directly in it, by name.
    ///
    /// # Errors
    /// As [`RunFolder::open`], and if there is none.
    pub fn open_all(path: &Path) -> Result<Vec<Self>, FolderError> {
        if path.join(MANIFEST).is_file() || !path.is_dir() {
            return Ok(vec![Self::open(path)?]);
        }
        let mut below = Vec::new();
        for entry in fs::read_dir(path).map_err(FolderError::io("read", path))? {
            let path = entry.map_err(FolderError::io("read", path))?.path();
            if path.join(MANIFEST).is_file() && !is_unfinished(&path) {
                below.push(path);
            }
        }
        if below.is_empty() {
            return Err(FolderError::NotARun {
                path: path.to_owned(),
                why: "it has no manifest.json, and no folder in it has one".into(),
            });
        }
        below.sort();
        below.iter().map(|path| Self::open(path)).collect()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was asked and how it went.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The rows of `turns.csv`.
    ///
    /// # Errors
    /// If the file cannot be read or lacks a column; rows that are damaged are errors of the iterator.
    pub fn turns(&self) -> Result<Rows<TurnRow>, FolderError> {
        Rows::open(&self.file(TURNS))
    }

    /// The rows of `sessions.csv`.
    ///
    /// # Errors
    /// As [`RunFolder::turns`].
    pub fn sessions(&self) -> Result<Rows<SessionRow>, FolderError> {
        Rows::open(&self.file(SESSIONS))
    }

    /// The rows of `ops.csv`, which may be of before its latest column.
    ///
    /// # Errors
    /// As [`RunFolder::turns`]; [`FolderError::Absent`] if the run wrote none.
    pub fn ops(&self) -> Result<Rows<OpRow>, FolderError> {
        let mut needed = columns(&OpRow::default());
        needed.retain(|column| column != "prefill_tile_kv_tokens");
        Rows::open_with(&self.optional(OPS, "`--ops`")?, &needed)
    }

    /// The rows of `samples.csv`.
    ///
    /// # Errors
    /// As [`RunFolder::ops`].
    pub fn samples(&self) -> Result<Rows<SampleRow>, FolderError> {
        Rows::open(&self.optional(SAMPLES, "`--samples`")?)
    }

    /// The decision log, to be read from its beginning.
    ///
    /// # Errors
    /// As [`RunFolder::ops`].
    pub fn decisions(&self) -> Result<impl BufRead, FolderError> {
        let path = self.optional(DECISIONS, "`--log`")?;
        let file = stored::open(&path).map_err(FolderError::io("read", &path))?;
        Ok(BufReader::new(file))
    }

    /// What the device of the run said, as text.
    ///
    /// # Errors
    /// As [`RunFolder::ops`].
    pub fn wakes(&self) -> Result<String, FolderError> {
        let path = self.optional(WAKES, "a run on a GPU")?;
        let file = stored::open(&path).map_err(FolderError::io("read", &path))?;
        std::io::read_to_string(file).map_err(FolderError::io("read", &path))
    }

    /// Derives the metrics, as the `[measure]` section of the run's spec says.
    ///
    /// # Errors
    /// If a row is damaged or cannot be true, or rows are missing.
    pub fn metrics(&self) -> Result<RunMetrics, FolderError> {
        let measure = Measure::of(&self.manifest.spec);
        let drained = measure.drained && !self.manifest.partial;
        let mut collector = Collector::new(Measure { drained, ..measure });
        let (mut rows, mut finished) = (0, 0);
        for row in self.turns()? {
            rows += 1;
            let fault = |fault| FolderError::Row {
                path: self.file(TURNS),
                fault,
            };
            collector.turn(&row?).map_err(fault)?;
        }
        for row in self.sessions()? {
            let row = row?;
            finished += u64::from(row.turns);
            collector.session(&row);
        }
        if rows != finished && !self.manifest.partial {
            return Err(FolderError::CutOff {
                path: self.file(TURNS),
                rows,
                finished,
                command: self.manifest.command.clone(),
            });
        }
        Ok(collector.finish())
    }

    /// Checks that the parts of every turn sum to its latency.
    ///
    /// # Errors
    /// The first row that is damaged or does not.
    pub fn check_parts(&self) -> Result<(), FolderError> {
        for row in self.turns()? {
            let fault = |fault| FolderError::Row {
                path: self.file(TURNS),
                fault,
            };
            parts::check(&row?).map_err(fault)?;
        }
        Ok(())
    }

    /// Whether the run kept `file`.
    pub fn has(&self, file: &str) -> bool {
        stored::find(&self.path, file).is_some()
    }

    /// Where `file` is, or would be.
    pub fn file(&self, file: &str) -> PathBuf {
        stored::find(&self.path, file).unwrap_or_else(|| self.path.join(file))
    }

    /// Path of a file that not every run has.
    fn optional(&self, file: &'static str, option: &'static str) -> Result<PathBuf, FolderError> {
        stored::find(&self.path, file).ok_or_else(|| FolderError::Absent {
            path: self.path.clone(),
            file,
            option,
        })
    }
}

fn read_manifest(path: &Path) -> Result<Manifest, FolderError> {
    let damaged = |line: usize, what: String| FolderError::Damaged {
        path: path.to_owned(),
        line: line.max(1) as u64,
        what,
    };
    let text = fs::read_to_string(path).map_err(FolderError::io("read", path))?;
    // The layout first: a manifest of another one has other keys, and that would be a puzzling message.
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| damaged(error.line(), error.to_string()))?;
    let schema = value.get("schema").and_then(serde_json::Value::as_u64);
    if schema != Some(u64::from(SCHEMA)) {
        let found = schema.map_or("no schema".to_owned(), |n| format!("schema {n}"));
        return Err(damaged(
            1,
            format!("{found}, but this program reads schema {SCHEMA}"),
        ));
    }
    let mut json = serde_json::Deserializer::from_str(&text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        damaged(
            error.inner().line(),
            format!("`{}`: {}", error.path(), error.inner()),
        )
    })
}

/// What runs that were killed have left in `folder`, in words that say how to be rid of it; none if nothing is there.
#[must_use]
pub fn left_behind(folder: &Path) -> Option<String> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let count = entries.filter(|entry| is_unfinished(&entry.path())).count();
    let folder = folder.display();
    (count > 0).then(|| {
        let them = if count == 1 { "is 1 folder" } else { &format!("are {count} folders") };
        format!(
            "in {folder} {them} of runs that were killed; unless one still runs there, remove with: rm -r {folder}/*{UNFINISHED}*"
        )
    })
}

fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name();
    name.is_some_and(|name| name.to_string_lossy().contains(UNFINISHED))
}
