//! What becomes of each session, so that its sub-agents can share its fate.

use std::collections::HashMap;

use crate::TraceError;
use crate::format::Session;

/// Fates of the sessions seen so far. Memory: a name per session; looked up only.
#[derive(Debug)]
pub(super) struct Families<F> {
    fates: HashMap<String, F>,
    file: String,
}

impl<F: Copy> Families<F> {
    /// For a trace of this name, as it appears in messages.
    pub fn new(file: &str) -> Self {
        Self {
            fates: HashMap::new(),
            file: file.to_owned(),
        }
    }

    /// The fate of `session`: its parent's, or what `decide` says of one without.
    pub fn fate(&mut self, session: &Session, decide: impl FnOnce() -> F) -> Result<F, TraceError> {
        let fate = match &session.parent {
            None => decide(),
            Some(parent) => {
                let known = self.fates.get(parent.sid()).copied();
                known.ok_or_else(|| TraceError::SubagentFirst {
                    file: self.file.clone(),
                    sid: session.sid.clone(),
                    parent: parent.sid().to_owned(),
                })?
            }
        };
        self.fates.insert(session.sid.clone(), fate);
        Ok(fate)
    }
}
