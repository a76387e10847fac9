//! Writes a run folder, row by row.

use super::table::{TableWriter, columns};
use super::{
    DECISIONS, FolderError, MANIFEST, OPS, RunFolder, SAMPLES, SESSIONS, TURNS, UNFINISHED,
};
use crate::inputs::Inputs;
use crate::manifest::Manifest;
use crate::rows::{OpRow, SampleRow, SessionRow, TurnRow};
use serde::Serialize;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// What [`RunWriter::create`] found.
#[derive(Debug)]
pub enum Opened {
    /// Nothing: rows may be written.
    New(Box<RunWriter>),
    /// The same run, complete, made from the same inputs: nothing is left to do.
    AlreadyThere(RunFolder),
}

type Table = TableWriter<File>;

/// A run folder in the making. Rows are pushed in any order of tables; nothing has the final name until
/// [`RunWriter::finish`]. Dropped before that, it removes what it wrote.
pub struct RunWriter {
    /// Where the folder will be.
    target: PathBuf,
    /// Where it is being written.
    unfinished: PathBuf,
    run_id: String,
    inputs: Inputs,
    /// Whether this run from other inputs gives way.
    replaces: bool,
    turns: Table,
    sessions: Table,
    ops: Option<Table>,
    samples: Option<Table>,
    decisions: Option<BufWriter<File>>,
    finished: bool,
}

impl std::fmt::Debug for RunWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunWriter")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl RunWriter {
    /// Begins the folder `target` for the run `run_id` from `inputs`, creating the folders above it.
    ///
    /// Call it before the hours of work: it fails at once where nothing can be written.
    ///
    /// # Errors
    /// If the place cannot be written to, or holds something other than this run, complete, from these inputs.
    pub fn create(target: &Path, run_id: &str, inputs: &Inputs) -> Result<Opened, FolderError> {
        Self::begin(target, run_id, inputs, false)
    }

    /// The same, but where `target` holds this run, complete, from other inputs, that stays until this one is finished and takes its place.
    ///
    /// # Errors
    /// As [`RunWriter::create`], but for other inputs.
    pub fn replace(target: &Path, run_id: &str, inputs: &Inputs) -> Result<Opened, FolderError> {
        Self::begin(target, run_id, inputs, true)
    }

    fn begin(
        target: &Path,
        run_id: &str,
        inputs: &Inputs,
        replaces: bool,
    ) -> Result<Opened, FolderError> {
        if target.symlink_metadata().is_ok() {
            let folder = same_run(target, run_id)?;
            match other_inputs(&folder, inputs) {
                None => return Ok(Opened::AlreadyThere(folder)),
                Some(what) if !replaces => return Err(exists(target, what)),
                Some(_) => {}
            }
        }
        let Some(name) = target
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
        else {
            let why = "it has no name of its own; give a folder to create".to_owned();
            return Err(FolderError::NotARun {
                path: target.to_owned(),
                why,
            });
        };
        let parent = parent_of(target);
        fs::create_dir_all(parent).map_err(FolderError::io("create", parent))?;
        let unfinished = create_sibling(parent, &name)?;
        let tables = (|| {
            let turns = new_table(&unfinished, TURNS, &TurnRow::default())?;
            let sessions = new_table(&unfinished, SESSIONS, &SessionRow::default())?;
            Ok((turns, sessions))
        })();
        let (turns, sessions) = tables.inspect_err(|_| {
            let _ = fs::remove_dir_all(&unfinished);
        })?;
        Ok(Opened::New(Box::new(Self {
            target: target.to_owned(),
            unfinished,
            run_id: run_id.to_owned(),
            inputs: inputs.clone(),
            replaces,
            turns,
            sessions,
            ops: None,
            samples: None,
            decisions: None,
            finished: false,
        })))
    }

    /// Appends to `turns.csv`.
    ///
    /// # Errors
    /// If it cannot be written, for example because the disk is full.
    pub fn turn(&mut self, row: &TurnRow) -> Result<(), FolderError> {
        self.turns.push(row)
    }

    /// Appends to `sessions.csv`.
    ///
    /// # Errors
    /// As [`RunWriter::turn`].
    pub fn session(&mut self, row: &SessionRow) -> Result<(), FolderError> {
        self.sessions.push(row)
    }

    /// Appends to `ops.csv`, which the first call creates.
    ///
    /// # Errors
    /// As [`RunWriter::turn`].
    pub fn op(&mut self, row: &OpRow) -> Result<(), FolderError> {
        if self.ops.is_none() {
            self.ops = Some(new_table(&self.unfinished, OPS, row)?);
        }
        self.ops.as_mut().expect("just created").push(row)
    }

    /// Appends to `samples.csv`, which the first call creates.
    ///
    /// # Errors
    /// As [`RunWriter::turn`].
    pub fn sample(&mut self, row: &SampleRow) -> Result<(), FolderError> {
        if self.samples.is_none() {
            self.samples = Some(new_table(&self.unfinished, SAMPLES, row)?);
        }
        self.samples.as_mut().expect("just created").push(row)
    }

    /// Appends to `decisions.log`, which the first call creates, byte for byte.
    ///
    /// # Errors
    /// As [`RunWriter::turn`].
    pub fn decisions(&mut self, bytes: &[u8]) -> Result<(), FolderError> {
        let path = self.unfinished.join(DECISIONS);
        if self.decisions.is_none() {
            let file = File::create(&path).map_err(FolderError::io("create", &path))?;
            self.decisions = Some(BufWriter::new(file));
        }
        let log = self.decisions.as_mut().expect("just created");
        log.write_all(bytes)
            .map_err(FolderError::io("write", &path))
    }

    /// Adds a file of its own.
    ///
    /// # Errors
    /// As [`RunWriter::turn`].
    pub fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let path = self.unfinished.join(name);
        fs::write(&path, bytes).map_err(FolderError::io("write", &path))?;
        sync_path(&path)
    }

    /// Writes the manifest, makes sure that everything is on the disk, and gives the folder its name.
    ///
    /// # Errors
    /// If it cannot be written, or something took the name meanwhile; what was written is then removed.
    ///
    /// # Panics
    /// If the manifest is that of another run than the folder was created for, or names other inputs.
    pub fn finish(mut self, manifest: &Manifest) -> Result<RunFolder, FolderError> {
        assert_eq!(manifest.run_id, self.run_id, "the manifest of another run");
        assert_eq!(manifest.inputs.as_ref(), Some(&self.inputs), "other inputs");
        self.sync()?;
        let path = self.unfinished.join(MANIFEST);
        let mut text = serde_json::to_string_pretty(manifest).expect("a manifest is plain data");
        text.push('\n');
        fs::write(&path, text).map_err(FolderError::io("write", &path))?;
        sync_path(&path)?;
        sync_path(&self.unfinished)?;
        let mut before = None;
        if self.target.symlink_metadata().is_ok() {
            let folder = same_run(&self.target, &self.run_id)?;
            match other_inputs(&folder, &self.inputs) {
                // Another process was faster. The same run is the same result, and ours is dropped.
                None => return Ok(folder),
                Some(what) if !self.replaces => return Err(exists(&self.target, what)),
                Some(_) => before = Some(set_aside(&self.target)?),
            }
        }
        fs::rename(&self.unfinished, &self.target)
            .map_err(FolderError::io("create", &self.target))?;
        self.finished = true;
        sync_path(parent_of(&self.target))?;
        if let Some(before) = before {
            fs::remove_dir_all(&before).map_err(FolderError::io("remove", &before))?;
        }
        RunFolder::open(&self.target)
    }

    /// Empties every buffer and syncs every file.
    fn sync(&mut self) -> Result<(), FolderError> {
        self.turns.sync()?;
        self.sessions.sync()?;
        for table in self.ops.iter_mut().chain(self.samples.iter_mut()) {
            table.sync()?;
        }
        if let Some(log) = &mut self.decisions {
            let path = self.unfinished.join(DECISIONS);
            let synced = log.flush().and_then(|()| log.get_ref().sync_all());
            synced.map_err(FolderError::io("write", &path))?;
        }
        Ok(())
    }
}

impl Drop for RunWriter {
    fn drop(&mut self) {
        if !self.finished {
            // The reason for giving up has been reported; a leftover is never taken for a result.
            let _ = fs::remove_dir_all(&self.unfinished);
        }
    }
}

/// The folder that `path` is in.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Creates `<name>.tmp-<pid>-<n>` with the first `n` that nothing has.
fn create_sibling(parent: &Path, name: &str) -> Result<PathBuf, FolderError> {
    let pid = std::process::id();
    for n in 0_u32.. {
        let path = parent.join(format!("{name}{UNFINISHED}{pid}-{n}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(FolderError::io("create", &path)(cause)),
        }
    }
    unreachable!("more than four billion unfinished folders")
}

fn new_table<T: Serialize>(folder: &Path, name: &str, example: &T) -> Result<Table, FolderError> {
    let path = folder.join(name);
    let file = File::create(&path).map_err(FolderError::io("create", &path))?;
    TableWriter::new(file, &path, &columns(example))
}

fn sync_path(path: &Path) -> Result<(), FolderError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(FolderError::io("write", path))
}

fn exists(target: &Path, what: String) -> FolderError {
    FolderError::Exists {
        path: target.to_owned(),
        what,
    }
}

/// The run in `target`, if it is `run_id` and complete, whatever it was made from.
fn same_run(target: &Path, run_id: &str) -> Result<RunFolder, FolderError> {
    let folder = RunFolder::open(target)
        .map_err(|error| exists(target, format!("does not hold this run ({error})")))?;
    let manifest = folder.manifest();
    if manifest.run_id != run_id {
        let what = format!("holds another run ({}, not {run_id})", manifest.run_id);
        return Err(exists(target, what));
    }
    if manifest.partial {
        return Err(exists(target, "holds this run only in part".to_owned()));
    }
    Ok(folder)
}

/// In which way `folder` was not made from `inputs`; `None` if it was.
fn other_inputs(folder: &RunFolder, inputs: &Inputs) -> Option<String> {
    let manifest = folder.manifest();
    let Some(before) = &manifest.inputs else {
        let what = "holds this run, but not what it was made from, for an earlier version wrote it";
        return Some(what.to_owned());
    };
    let changes = inputs.changes(before, &manifest.spec);
    let what = changes.join(", another ");
    (!changes.is_empty()).then(|| format!("holds this run made with another {what}"))
}

/// Moves a run out of the way of its successor, under a name that is never read as a result's.
fn set_aside(target: &Path) -> Result<PathBuf, FolderError> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let aside = create_sibling(parent_of(target), &name)?;
    // Into it, for not every system lets a folder take the place of an empty one.
    fs::rename(target, aside.join("before")).map_err(FolderError::io("replace", target))?;
    Ok(aside)
}
