//! What can go wrong with a run folder.

use std::io;
use std::path::{Path, PathBuf};

/// Why a run folder could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The operating system refused.
    #[error("cannot {doing} {}: {cause}{}", path.display(), remedy(cause))]
    Io {
        /// What was tried: `create`, `write`, `read`.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Something is there already, and it is not this run.
    #[error("{} exists and {what}; remove it or choose another folder", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
        /// What it holds instead.
        what: String,
    },
    /// Not a run folder.
    #[error("{} is not a run: {why}", path.display())]
    NotARun {
        /// What was to be read.
        path: PathBuf,
        /// What is amiss.
        why: String,
    },
    /// A line that cannot be read.
    #[error("{}, line {line}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Line of it, from 1.
        line: u64,
        /// What is wrong there.
        what: String,
    },
    /// A row that cannot be true.
    #[error("{}: {fault}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        fault: crate::parts::RowFault,
    },
    /// Rows that should be there and are not, or more than should be.
    #[error(
        "{} has {rows} turns, and sessions.csv says that {finished} were finished: a file was cut off or changed; remove the folder and \
         repeat the run: {command}",
        path.display()
    )]
    CutOff {
        /// The table of turns.
        path: PathBuf,
        /// Rows that it has.
        rows: u64,
        /// Turns that sessions finished.
        finished: u64,
        /// What made the run.
        command: String,
    },
    /// A table that the folder may hold, but does not.
    #[error("{} has no {file}; repeat the run with {option}", path.display())]
    Absent {
        /// The folder.
        path: PathBuf,
        /// The file that is not there.
        file: &'static str,
        /// What would have written it.
        option: &'static str,
    },
}

impl FolderError {
    /// For `map_err`: wraps what the operating system said.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io {
            doing,
            path: path.to_owned(),
            cause,
        }
    }
}

/// What would do, for the errors that users meet.
fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => "; choose a folder that you may write to",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space or write elsewhere, what was unfinished has been removed"
        }
        io::ErrorKind::NotFound => "; is the path right?",
        io::ErrorKind::ReadOnlyFilesystem => "; choose a folder on another file system",
        // What a decoder says.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            "; the file is cut off or damaged, as `gzip -t` tells"
        }
        _ => "",
    }
}
