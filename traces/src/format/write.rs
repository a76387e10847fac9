//! Writing a session trace: checked, compressed by extension, and there only when complete.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::check::Checker;
use super::codec::Encoder;
use super::{Extra, Meta, Session};
use crate::{Place, TraceError};

/// Writes a session trace under a temporary name (`<name>.tmp`) that [`Writer::finish`] changes into the
/// final one. A writer that is dropped before leaves nothing behind, and an existing file untouched.
///
/// The first line is a compressed stream of its own, so that what turns out on the way can be added to it at the
/// end ([`Writer::amend`]) while the sessions are copied as they are.
pub struct Writer {
    path: PathBuf,
    unfinished: Unfinished,
    encoder: Encoder,
    checker: Checker,
    meta: Meta,
    is_amended: bool,
    /// Where the sessions begin in the file.
    body: u64,
    line: u64,
}

/// The temporary file, removed unless it was renamed.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After the rename it is not there any more; in a destructor no other failure can be reported.
        let _ = fs::remove_file(&self.0);
    }
}

impl Writer {
    /// Begins a trace that will be called `path`.
    ///
    /// # Errors
    /// If the file cannot be created or `meta` is not valid.
    pub fn create(path: impl AsRef<Path>, meta: &Meta) -> Result<Self, TraceError> {
        let path = path.as_ref().to_owned();
        let unfinished = Unfinished(temporary(&path, ".tmp"));
        let failed = |source| file_error("create", &path, source);
        let at = Place {
            file: path.display().to_string(),
            line: 1,
            column: None,
        };
        let checker = Checker::new(meta).map_err(|defect| TraceError::Invalid { at, defect })?;
        let (file, body) = begin(&unfinished.0, &path, meta).map_err(failed)?;
        let encoder = Encoder::new(file, &path).map_err(failed)?;
        Ok(Self {
            path,
            unfinished,
            encoder,
            checker,
            meta: meta.clone(),
            is_amended: false,
            body,
            line: 1,
        })
    }

    /// Adds to the first line's `x`; a key that is there gets a new value.
    pub fn amend(&mut self, x: Extra) {
        self.is_amended |= !x.is_empty();
        self.meta.x.get_or_insert_default().extend(x);
    }

    /// Appends a session.
    ///
    /// # Errors
    /// If it breaks a rule of the format, or the disk is full.
    pub fn write(&mut self, session: &Session) -> Result<(), TraceError> {
        let line = self.line + 1;
        self.checker.session(session, line).map_err(|defect| {
            let at = Place {
                file: self.path.display().to_string(),
                line,
                column: None,
            };
            TraceError::Invalid { at, defect }
        })?;
        self.line(session)
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// If a reference between sessions leads nowhere, or the file system refuses.
    pub fn finish(mut self) -> Result<(), TraceError> {
        let file = self.path.display().to_string();
        self.checker
            .finish(&file)
            .map_err(|(at, defect)| TraceError::Invalid { at, defect })?;
        let failed = |source| file_error("write", &self.path, source);
        let mut written = self.encoder.finish().map_err(failed)?;
        let mut finished = self.unfinished;
        if self.is_amended {
            let amended = Unfinished(temporary(&self.path, ".head.tmp"));
            let (mut file, _) = begin(&amended.0, &self.path, &self.meta).map_err(failed)?;
            written.seek(SeekFrom::Start(self.body)).map_err(failed)?;
            io::copy(&mut written, &mut file).map_err(failed)?;
            finished = amended;
        }
        fs::rename(&finished.0, &self.path)
            .map_err(|source| file_error("rename the finished", &self.path, source))
    }

    fn line<T: serde::Serialize>(&mut self, value: &T) -> Result<(), TraceError> {
        let written = serde_json::to_writer(&mut self.encoder, value).map_err(io::Error::from);
        written
            .and_then(|()| self.encoder.write_all(b"\n"))
            .map_err(|source| file_error("write", &self.path, source))?;
        self.line += 1;
        Ok(())
    }
}

/// Beside `path`, so that renaming is one step.
fn temporary(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Creates a file that holds the first line, compressed as the extension of `name` says, and tells its length.
fn begin(temporary: &Path, name: &Path, meta: &Meta) -> io::Result<(File, u64)> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(temporary)?;
    let mut head = Encoder::new(file, name)?;
    serde_json::to_writer(&mut head, meta)?;
    head.write_all(b"\n")?;
    let mut file = head.finish()?;
    let length = file.stream_position()?;
    Ok((file, length))
}

fn file_error(action: &'static str, path: &Path, source: io::Error) -> TraceError {
    TraceError::File {
        action,
        file: path.display().to_string(),
        source,
    }
}
