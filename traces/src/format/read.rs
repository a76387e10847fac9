//! A session trace, session by session.

use std::io::Read;
use std::path::Path;

use super::check::Checker;
use super::{Lines, Meta, Session};
use crate::TraceError;

/// Reads a session trace. An iterator over its sessions; after an error it yields nothing more.
///
/// Memory: the current session, and a name per session for the checks.
pub struct Reader {
    lines: Lines,
    meta: Meta,
    checker: Checker,
    over: bool,
}

/// Enough of a line to tell what it is.
#[derive(serde::Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl Reader {
    /// Opens a file, compressed or not, and reads its meta line.
    ///
    /// # Errors
    /// If the file cannot be opened or does not begin with a valid meta line.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TraceError> {
        Self::begin(Lines::open(path.as_ref())?)
    }

    /// Reads from `source`; `name` is used in messages.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn new<R: Read + Send + 'static>(name: &str, source: R) -> Result<Self, TraceError> {
        Self::begin(Lines::new(name, source)?)
    }

    fn begin(mut lines: Lines) -> Result<Self, TraceError> {
        let found = lines.next_line()?.is_some();
        let head = found.then(|| lines.parse::<Head>()).transpose()?;
        if head.and_then(|head| head.kind).as_deref() != Some("meta") {
            return Err(TraceError::MissingMeta { at: lines.place() });
        }
        let meta: Meta = lines.parse()?;
        let checker = Checker::new(&meta).map_err(|defect| TraceError::Invalid {
            at: lines.place(),
            defect,
        })?;
        Ok(Self {
            lines,
            meta,
            checker,
            over: false,
        })
    }

    /// The first line.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Name of the file, as in messages.
    pub fn file(&self) -> &str {
        self.lines.file()
    }

    fn read(&mut self) -> Result<Option<Session>, TraceError> {
        if self.lines.next_line()?.is_none() {
            let file = self.lines.file().to_owned();
            let settled = self.checker.finish(&file);
            return settled
                .map(|()| None)
                .map_err(|(at, defect)| TraceError::Invalid { at, defect });
        }
        let session: Session = self.lines.parse()?;
        let line = self.lines.place().line;
        self.checker
            .session(&session, line)
            .map_err(|defect| TraceError::Invalid {
                at: self.lines.place(),
                defect,
            })?;
        Ok(Some(session))
    }
}

impl Iterator for Reader {
    type Item = Result<Session, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let session = self.read().transpose();
        self.over = !matches!(session, Some(Ok(_)));
        session
    }
}
