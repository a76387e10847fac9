//! Several files as one trace.
//!
//! The first line is that of the first file; the others must agree with it in what it says of all sessions. Logs of agents
//! come as a file per session, and tools that number their rows begin each file at 0: a session whose name an
//! earlier file has used gets a number behind it, in every reference to it as well.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::warning::merge;
use super::{FileSink, Format, ImportOptions, ImportReport, Sink, Warning, import};
use crate::TraceError;
use crate::format::{After, HashScope, Meta, Nullable, ParentLink, Session};

/// Converts `sources` into one session trace at `target`, which appears only when complete.
///
/// # Errors
/// As [`import`], what writing may raise, and files that cannot share a trace.
pub fn import_files(
    sources: &[(&Format, PathBuf)],
    target: &Path,
    options: &ImportOptions,
) -> Result<ImportReport, TraceError> {
    let mut joined = Joined {
        sink: FileSink::new(target),
        meta: None,
        files: 0,
        earlier: BTreeSet::new(),
        current: BTreeSet::new(),
        renamed: 0,
    };
    let (mut sessions, mut calls, mut warnings) = (0, 0, Vec::new());
    for (format, source) in sources {
        let report = import(format, source, options, &mut joined)?;
        sessions += report.sessions;
        calls += report.calls;
        merge(&mut warnings, report.warnings);
        joined.next_file();
    }
    warnings.extend(joined.warnings());
    joined.sink.finish(&warnings)?;
    Ok(ImportReport {
        sessions,
        calls,
        warnings,
    })
}

struct Joined {
    sink: FileSink,
    meta: Option<Meta>,
    /// Files that are through.
    files: u64,
    /// Names of their sessions, as written.
    earlier: BTreeSet<String>,
    /// Names of sessions of the file being read, as written.
    current: BTreeSet<String>,
    renamed: u64,
}

impl Joined {
    fn next_file(&mut self) {
        self.files += 1;
        self.earlier.append(&mut self.current);
    }

    /// The name under which session `sid` of the current file is written. It depends on earlier files alone, so that
    /// references to sessions that are still to come get the same.
    fn name(&self, sid: &str) -> String {
        let mut name = sid.to_owned();
        let mut number = self.files + 1;
        while self.earlier.contains(&name) {
            name = format!("{sid}@{number}");
            number += 1;
        }
        name
    }

    fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let (files, sessions) = (self.files, self.renamed);
        if sessions > 0 {
            warnings.push(Warning::RenamedSessions { sessions });
        }
        let scope = self.meta.as_ref().map(|meta| meta.hash_scope);
        if files > 1 && scope == Some(Nullable::Value(HashScope::Global)) {
            warnings.push(Warning::BlockIdsAcrossFiles { files });
        }
        warnings
    }
}

impl Sink for Joined {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        let Some(first) = &self.meta else {
            self.sink.meta(meta)?;
            self.meta = Some(meta.clone());
            return Ok(());
        };
        let same = first.source == meta.source
            && first.block_size == meta.block_size
            && first.hash_scope == meta.hash_scope
            && first.gap_semantics == meta.gap_semantics
            && first.has_common_clock() == meta.has_common_clock();
        if same {
            return Ok(());
        }
        Err(TraceError::Parameters(format!(
            "the files differ in source, block size, scope of block ids, clock or meaning of gaps ({} and {}), so they \
             cannot share a trace; import them one by one",
            first.origin, meta.origin
        )))
    }

    fn session(&mut self, mut session: Session) -> Result<(), TraceError> {
        if self.files > 0 {
            let name = self.name(&session.sid);
            self.renamed += u64::from(name != session.sid);
            session.sid = name;
            match &mut session.parent {
                Some(ParentLink::Session(sid)) => *sid = self.name(sid),
                Some(ParentLink::Call(parent)) => parent.sid = self.name(&parent.sid),
                None => {}
            }
            let all = session.calls.iter_mut();
            for after in all.filter_map(|call| call.after.as_mut()).flatten() {
                if let After::Other { sid, .. } = after {
                    *sid = self.name(sid);
                }
            }
        }
        self.current.insert(session.sid.clone());
        self.sink.session(session)
    }
}
