//! Where imported sessions go.

use std::path::{Path, PathBuf};

use super::Warning;
use crate::TraceError;
use crate::format::{Extra, Meta, Session, WARNINGS, Writer};

/// Takes a trace piece by piece: the meta line once, first; then sessions.
pub trait Sink {
    /// The first line.
    ///
    /// # Errors
    /// If it cannot be taken; the import ends.
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError>;

    /// The next session. Sub-agents follow their parent.
    ///
    /// # Errors
    /// If it cannot be taken; the import ends.
    fn session(&mut self, session: Session) -> Result<(), TraceError>;
}

/// Keeps everything in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collected {
    /// The first line.
    pub meta: Meta,
    /// The sessions, in order.
    pub sessions: Vec<Session>,
}

impl Sink for Collected {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        self.meta = meta.clone();
        Ok(())
    }

    fn session(&mut self, session: Session) -> Result<(), TraceError> {
        self.sessions.push(session);
        Ok(())
    }
}

/// Writes a session trace.
pub struct FileSink {
    path: PathBuf,
    writer: Option<Writer>,
}

impl FileSink {
    /// A trace to be written at `path`. The file is created when the meta line arrives.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            writer: None,
        }
    }

    /// Completes the file; its first line carries the `warnings` (see [`Meta::warnings`]).
    ///
    /// # Errors
    /// As [`Writer::finish`].
    ///
    /// # Panics
    /// If no meta line arrived: an importer that ends well has sent it.
    pub fn finish(self, warnings: &[Warning]) -> Result<(), TraceError> {
        let mut writer = self.writer.expect("an importer sends the meta line first");
        if !warnings.is_empty() {
            let sentences: Vec<String> = warnings.iter().map(Warning::to_string).collect();
            writer.amend(Extra::from_iter([(WARNINGS.to_owned(), sentences.into())]));
        }
        writer.finish()
    }
}

impl Sink for FileSink {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        self.writer = Some(Writer::create(&self.path, meta)?);
        Ok(())
    }

    fn session(&mut self, session: Session) -> Result<(), TraceError> {
        self.writer
            .as_mut()
            .expect("an importer sends the meta line first")
            .write(&session)
    }
}
