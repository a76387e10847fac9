//! What a user reads when something went wrong: one paragraph, and a hint where another command helps.
//!
//! ```text
//!   error: no policy is called `lru`; known: vllm-recompute, keep-always, ...
//!
//!   hint: `djinn policies` describes each
//! ```
//!
//! A mistake in a config is shown in its place, as `miette` draws it.

use crate::out;
use engine::RunError;
use figures::FigureError;
use lab::LabError;
use lab::oracle::OracleError;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use policy::PolicyError;
use results::compare::CompareError;
use results::folder::FolderError;
use results::spec::SpecError;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use trace::TraceError;

/// Why a command ended without what was asked for.
#[derive(Debug)]
pub enum CliError {
    /// A config or an override is wrong.
    Spec(Box<dyn Diagnostic>),
    /// The command makes no sense: exit code 2.
    Usage(String),
    /// Anything else.
    Failed {
        /// What, with which value, and what would do.
        what: String,
        /// Another command that helps.
        hint: Option<String>,
    },
    /// Nobody reads stdout any more: not an error.
    Unread,
}

impl CliError {
    /// A failure without a hint.
    #[allow(clippy::needless_pass_by_value, reason = "an error is handed over")]
    pub fn failed(what: impl ToString) -> Self {
        Self::Failed {
            what: what.to_string(),
            hint: None,
        }
    }

    /// A failure with a hint.
    #[allow(clippy::needless_pass_by_value, reason = "an error is handed over")]
    pub fn hinted(what: impl ToString, hint: &str) -> Self {
        Self::Failed {
            what: what.to_string(),
            hint: Some(hint.to_owned()),
        }
    }

    /// A file that cannot be read or written.
    pub fn file(doing: &str, path: &Path, cause: &std::io::Error) -> Self {
        Self::failed(format!("cannot {doing} {}: {cause}", path.display()))
    }

    /// Tells the user, and the shell.
    pub fn report(self) -> ExitCode {
        let (text, code) = match self {
            Self::Unread => return ExitCode::SUCCESS,
            Self::Usage(what) => (
                format!("error: {what}\n\nhint: add `--help` to the verb\n"),
                2,
            ),
            Self::Failed { what, hint: None } => (format!("error: {what}\n"), 1),
            Self::Failed {
                what,
                hint: Some(hint),
            } => (format!("error: {what}\n\nhint: {hint}\n"), 1),
            Self::Spec(error) => (draw(error.as_ref()), 1),
        };
        out::stderr(&text);
        ExitCode::from(code)
    }
}

/// The mistake in its place. Without a terminal: no colours, and no line is broken, so that a search finds it.
fn draw(error: &dyn Diagnostic) -> String {
    let terminal = out::stderr_is_a_terminal();
    let theme = if terminal && out::colour() {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_links(false)
        .with_wrap_lines(terminal)
        .with_break_words(false);
    let mut text = "error: the run spec is wrong\n".to_owned();
    if handler.render_report(&mut text, error).is_err() {
        let _ = writeln!(text, "{error}");
    }
    text
}

impl From<SpecError> for CliError {
    fn from(error: SpecError) -> Self {
        match error {
            SpecError::At(_) => Self::Spec(Box::new(error)),
            SpecError::Unreadable { .. } => {
                Self::hinted(error, "`djinn new FILE` writes a commented config")
            }
            SpecError::NotOneRun { .. } => Self::hinted(
                error,
                "`djinn sweep` runs all of them; or fix what varies with `--set` or `--policy`",
            ),
            SpecError::TooMany { .. } => Self::hinted(error, "split the sweep into several files"),
        }
    }
}

impl From<LabError> for CliError {
    fn from(error: LabError) -> Self {
        match error {
            LabError::Spec(error) => error.into(),
            LabError::Policy(error) => error.into(),
            LabError::Trace(error) => error.into(),
            LabError::Folder(error) => error.into(),
            LabError::Run(error) => error.into(),
            LabError::Value { .. } => Self::hinted(error, "`djinn new FILE` explains every key"),
            LabError::Ranking { .. } => Self::hinted(
                error,
                "configs/experiments/policies.toml shows every key; `djinn rank --help`",
            ),
            LabError::Compare(error) => error.into(),
            LabError::Recordings { .. } => Self::hinted(
                error,
                "DIR is relative to where the command is given; replay/measurements/validation/recordings.toml shows every key",
            ),
            LabError::Profile(_)
            | LabError::Row(_)
            | LabError::Changed { .. }
            | LabError::File { .. } => Self::failed(error),
        }
    }
}

impl From<PolicyError> for CliError {
    fn from(error: PolicyError) -> Self {
        let hint = match error {
            PolicyError::Unknown { .. } => "`djinn policies` describes each",
            PolicyError::Params(_) => "`djinn policies NAME` lists the parameters of a policy",
        };
        Self::hinted(error, hint)
    }
}

impl From<TraceError> for CliError {
    fn from(error: TraceError) -> Self {
        let hint = match error {
            TraceError::MissingMeta { .. } => "`djinn trace import FILE --out TRACE` converts it",
            TraceError::UnknownFormat { .. } | TraceError::Unrecognised { .. } => {
                "`djinn trace import --help` describes the formats"
            }
            TraceError::UnknownWorkload { .. } => "`djinn trace gen --help` describes them",
            TraceError::NoCommonClock { .. } => "for example `--set workload.rate=0.2`",
            TraceError::ContextTooLong { .. } => {
                "for example `--set workload.too_long=truncate-session`; what is cut is counted in the results"
            }
            _ => return Self::failed(error),
        };
        Self::hinted(error, hint)
    }
}

impl From<RunError> for CliError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Check { .. } => Self::hinted(
                error,
                "an invariant of the engine does not hold, so there is no result; this is a defect of djinn",
            ),
            _ => Self::failed(error),
        }
    }
}

impl From<FolderError> for CliError {
    fn from(error: FolderError) -> Self {
        Self::failed(error)
    }
}

impl From<FigureError> for CliError {
    fn from(error: FigureError) -> Self {
        Self::failed(error)
    }
}

impl From<CompareError> for CliError {
    fn from(error: CompareError) -> Self {
        Self::failed(error)
    }
}

impl From<OracleError> for CliError {
    fn from(error: OracleError) -> Self {
        Self::failed(error)
    }
}
