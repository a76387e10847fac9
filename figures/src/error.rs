//! Why a figure could not be made.

use results::folder::FolderError;
use std::io;
use std::path::PathBuf;

/// Why a figure, a table or a set of numbers could not be made.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// The results do not hold what the figure shows.
    #[error("figure `{figure}` needs {needs}, and {} has none; {remedy}", folder.display())]
    Missing {
        /// Name of the figure.
        figure: &'static str,
        /// What was looked for.
        needs: &'static str,
        /// Where.
        folder: PathBuf,
        /// What would write it.
        remedy: &'static str,
    },
    /// The input is there and holds nothing to draw.
    #[error("figure `{figure}`: {why} in {}", path.display())]
    Empty {
        /// Name of the figure.
        figure: &'static str,
        /// What is lacking.
        why: &'static str,
        /// The file or folder.
        path: PathBuf,
    },
    /// A row that cannot be true.
    #[error("run {run}: {fault}")]
    Row {
        /// Name of the run.
        run: String,
        /// What is wrong.
        fault: String,
    },
    /// Results that cannot be read.
    #[error(transparent)]
    Results(#[from] FolderError),
    /// A value that does not parse.
    #[error("{}, row {row}: column `{column}` holds `{value}`, which is not {expected}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Row of it, from 1.
        row: usize,
        /// Its column.
        column: &'static str,
        /// What is there.
        value: String,
        /// What should be.
        expected: &'static str,
    },
    /// A folder that cannot be listed.
    #[error("cannot read {}: {source}; is the path right?", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write {}: {source}; choose a folder that you may write to", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A number of the paper that TeX could not read, or that means two things.
    #[error("number `{name}`: {why}")]
    Number {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl FigureError {
    /// Tables of a validation at `path` without a row.
    pub(crate) fn nothing_measured(figure: &'static str, path: PathBuf) -> Self {
        Self::Empty {
            figure,
            why: "nothing was measured",
            path,
        }
    }
}
