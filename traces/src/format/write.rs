//! Writing a session trace: checked, compressed by extension, and there only when complete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::check::Checker;
use super::codec::Encoder;
use super::{Meta, Session};
use crate::{Place, TraceError};

/// Writes a session trace under a temporary name (`<name>.tmp`) that [`Writer::finish`] changes into the
/// final one. A writer that is dropped before leaves nothing behind, and an existing file untouched.
pub struct Writer {
    path: PathBuf,
    unfinished: Unfinished,
    encoder: Encoder,
    checker: Checker,
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
        let mut name = path.clone().into_os_string();
        name.push(".tmp");
        let unfinished = Unfinished(name.into());
        let failed = |source| file_error("create", &path, source);
        let file = File::create(&unfinished.0).map_err(failed)?;
        let encoder = Encoder::new(file, &path).map_err(failed)?;
        let at = Place {
            file: path.display().to_string(),
            line: 1,
            column: None,
        };
        let checker = Checker::new(meta).map_err(|defect| TraceError::Invalid { at, defect })?;
        let mut writer = Self {
            path,
            unfinished,
            encoder,
            checker,
            line: 0,
        };
        writer.line(meta)?;
        Ok(writer)
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
        self.encoder
            .finish()
            .map_err(|source| file_error("write", &self.path, source))?;
        fs::rename(&self.unfinished.0, &self.path)
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

fn file_error(action: &'static str, path: &Path, source: io::Error) -> TraceError {
    TraceError::File {
        action,
        file: path.display().to_string(),
        source,
    }
}
