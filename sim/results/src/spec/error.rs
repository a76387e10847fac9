//! What can be wrong with a run spec, and where.

use miette::{Diagnostic, NamedSource, SourceSpan};
use std::ops::Range;
use std::path::PathBuf;
use thiserror::Error;

/// Why a spec was refused. As a `miette` diagnostic it shows the place; its text alone names file, line,
/// column and key.
#[derive(Debug, Error, Diagnostic)]
pub enum SpecError {
    /// Something in a file or on the command line.
    #[error(transparent)]
    #[diagnostic(transparent)]
    At(Box<Located>),
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    #[diagnostic(help("`djinn new FILE` writes a commented one"))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// One run was wanted.
    #[error("the spec stands for {count} runs, but one is wanted")]
    #[diagnostic(help("`djinn sweep` runs all; or fix what varies with `--set` or `--policy`"))]
    NotOneRun {
        /// Runs that it stands for.
        count: usize,
    },
    /// More runs than anybody means.
    #[error("the sweep stands for {count} runs, more than {max}")]
    #[diagnostic(help("split it into several files"))]
    TooMany {
        /// Product of the lengths of all axes.
        count: u128,
        /// [`super::SWEEP_POINTS_MAX`].
        max: usize,
    },
}

/// A fault at a place in a text.
#[derive(Debug, Error, Diagnostic)]
#[error("{name}:{line}:{column}: {}{message}", if key.is_empty() { String::new() } else { format!("`{key}`: ") })]
pub struct Located {
    /// File name, or the option of the command line.
    pub name: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Dotted key, where there is one.
    pub key: String,
    /// What is wrong, with the value and what would be right.
    pub message: String,
    /// What would do, where it takes more words.
    #[help]
    pub help: Option<String>,
    /// The text.
    #[source_code]
    pub text: NamedSource<String>,
    /// Where in the text.
    #[label("here")]
    pub span: SourceSpan,
}

/// A text that values come from, with a name for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub name: &'a str,
    pub text: &'a str,
}

/// What is wrong with the value of a key, before it is known where that came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Dotted key; empty for a syntax error.
    pub key: String,
    pub message: String,
    pub help: Option<String>,
}

impl Fault {
    /// The fault at bytes `span` of `text`.
    pub(super) fn at(self, text: Text<'_>, span: Range<usize>) -> SpecError {
        let start = span.start.min(text.text.len());
        let before = &text.text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        SpecError::At(Box::new(Located {
            name: text.name.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            key: self.key,
            message: self.message,
            help: self.help,
            text: NamedSource::new(text.name, text.text.to_owned()),
            span: (start, span.end.saturating_sub(start)).into(),
        }))
    }
}
