//! Any trace as a stream: a session trace, or a foreign file by way of its importer.

use std::path::Path;

use crate::TraceError;
use crate::format::Reader;
use crate::import::{self, Detected, ImportOptions, ImportReport, Sink};

/// A foreign file that was fed.
pub struct Fed {
    /// What it was taken for, and why.
    pub detected: Detected,
    /// What was imported.
    pub report: ImportReport,
}

/// Hands the trace at `path` to `sink`, and says what was imported if it is a foreign one.
///
/// # Errors
/// What reading, importing and the sink may raise; what the reader of session traces says of the first line if the file looks like
/// nothing known.
pub fn feed(path: &Path, sink: &mut dyn Sink) -> Result<Option<Fed>, TraceError> {
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
) -> Result<Option<Fed>, TraceError> {
    let reader = match Reader::open(path) {
        Ok(reader) => reader,
        // A table, or an object over many lines, is not even a line of JSON.
        Err(missing @ (TraceError::MissingMeta { .. } | TraceError::Malformed { .. })) => {
            return match import::detect(path) {
                Ok(detected) => {
                    let report = import::import(detected.format, path, options, sink)?;
                    Ok(Some(Fed { detected, report }))
                }
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
