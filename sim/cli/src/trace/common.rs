//! What the verbs that read one trace and write another have in common.

use super::check_target;
use super::import::looks_like;
use crate::error::CliError;
use crate::format::plural;
use crate::out;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use trace::TraceError;
use trace::format::{Meta, Session};
use trace::import::{FileSink, Sink, Warning};
use trace::tools::{Fed, Only};

/// Which sessions are wanted.
#[derive(Clone, Debug, clap::Args)]
pub struct OnlyArgs {
    /// Only sessions that ran under this configuration; may be repeated
    #[arg(long, value_name = "NAME")]
    config: Vec<String>,
    /// Only agents of this class; may be repeated
    #[arg(long, value_name = "NAME")]
    class: Vec<String>,
    /// Only the sessions named in this file: the first word or CSV field of each line
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Leave out sub-agents
    #[arg(long)]
    main_agents: bool,
}

impl OnlyArgs {
    pub fn only(&self) -> Result<Only, CliError> {
        let sids = match &self.ids {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|cause| CliError::file("read", path, &cause))?;
                let first = |line: &str| {
                    let end = line.find(|c: char| c == ',' || c.is_whitespace());
                    line[..end.unwrap_or(line.len())].to_owned()
                };
                Some(text.lines().map(first).collect::<BTreeSet<_>>())
            }
        };
        Ok(Only {
            configs: self.config.iter().cloned().collect(),
            classes: self.class.iter().cloned().collect(),
            sids,
            main_agents: self.main_agents,
        })
    }
}

/// Writes what `fill` puts into the sink to a new trace at `target`, and says how much it was. What `fill` warns of stays with the trace.
pub fn write(
    target: &Path,
    fill: impl FnOnce(&mut dyn Sink) -> Result<Vec<Warning>, CliError>,
) -> Result<(), CliError> {
    check_target(target)?;
    let mut written = Written {
        sink: FileSink::new(target),
        sessions: 0,
        calls: 0,
    };
    let warnings = fill(&mut written)?;
    let Written {
        sink,
        sessions,
        calls,
    } = written;
    sink.finish(&warnings)?;
    if sessions == 0 {
        out::warn("no session is left: the trace is empty");
    }
    let (sessions, calls) = (plural(sessions, "session"), plural(calls, "call"));
    out::note(&format!("wrote {}: {sessions}, {calls}", target.display()));
    Ok(())
}

struct Written {
    sink: FileSink,
    sessions: u64,
    calls: u64,
}

impl Sink for Written {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        self.sink.meta(meta)
    }

    fn session(&mut self, session: Session) -> Result<(), TraceError> {
        self.sessions += 1;
        self.calls += session.calls.len() as u64;
        self.sink.session(session)
    }
}

/// Says what a foreign file was read as, and what it does not tell; the latter is returned.
pub fn tell(file: &Path, fed: Option<Fed>) -> Vec<Warning> {
    let Some(Fed { detected, report }) = fed else {
        return Vec::new();
    };
    out::note(&looks_like(&name(file), detected.format, &detected.reason));
    for warning in &report.warnings {
        out::warn(&format!("{}: {warning}", file.display()));
    }
    report.warnings
}

/// The name of a file in messages.
pub fn name(file: &Path) -> String {
    file.display().to_string()
}
