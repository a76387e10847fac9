//! Any trace as a stream: a session trace, or a foreign file by way of its importer.

use std::path::Path;

use crate::TraceError;
use crate::format::Reader;
use crate::import::{self, ImportOptions, ImportReport, Sink};

/// Hands the trace at `path` to `sink`, and says what was imported if it is a foreign one.
///
/// # Errors
/// What reading, importing and the sink may raise; [`TraceError::MissingMeta`] if the file looks like nothing known.
pub fn feed(path: &Path, sink: &mut dyn Sink) -> Result<Option<ImportReport>, TraceError> {
    feed_with(path, &ImportOptions::default(), sink)
}

/// [`feed`] with choices for the importer.
///
/// # Errors
/// As [`feed`].
pub fn feed_with(
    path: &Path,
    options: &ImportOptions,
    sink: &mut dyn Sink,
) -> Result<Option<ImportReport>, TraceError> {
    let reader = match Reader::open(path) {
        Ok(reader) => reader,
        Err(missing @ TraceError::MissingMeta { .. }) => {
            return match import::sniff(path) {
                Ok(format) => import::import(format, path, options, sink).map(Some),
                Err(TraceError::Unrecognised { .. }) => Err(missing),
                Err(error) => Err(error),
            };
        }
        Err(error) => return Err(error),
    };
    sink.meta(reader.meta())?;
    for session in reader {
        sink.session(session?)?;
    }
    Ok(None)
}
