//! A part of a trace by what its sessions are.

use std::collections::BTreeSet;

use super::families::Families;
use crate::TraceError;
use crate::format::{After, Meta, Session};
use crate::import::Sink;

/// Which sessions are wanted. Everything that is set must hold; the default wants all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// Configurations that the session ran under; empty: any.
    pub configs: BTreeSet<String>,
    /// Classes of agent; empty: any.
    pub classes: BTreeSet<String>,
    /// Names of sessions; `None`: any.
    pub sids: Option<BTreeSet<String>>,
    /// No sub-agents.
    pub main_agents: bool,
}

impl Only {
    /// Whether a session that is no sub-agent is wanted.
    fn wants(&self, session: &Session) -> bool {
        let is_in = |set: &BTreeSet<String>, value: &Option<String>| {
            set.is_empty() || value.as_ref().is_some_and(|value| set.contains(value))
        };
        is_in(&self.configs, &session.config)
            && is_in(&self.classes, &session.cls)
            && self
                .sids
                .as_ref()
                .is_none_or(|sids| sids.contains(&session.sid))
    }
}

/// Lets the sessions pass that are wanted, with their sub-agents unless those are not.
pub struct OnlyMatching<'a> {
    sink: &'a mut dyn Sink,
    only: &'a Only,
    families: Families<bool>,
}

impl<'a> OnlyMatching<'a> {
    /// The sessions of the trace called `file` that `only` wants.
    pub fn new(only: &'a Only, file: &str, sink: &'a mut dyn Sink) -> Self {
        Self {
            sink,
            only,
            families: Families::new(file),
        }
    }
}

impl Sink for OnlyMatching<'_> {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        self.sink.meta(meta)
    }

    fn session(&mut self, mut session: Session) -> Result<(), TraceError> {
        let wanted = self.families.fate(&session, || self.only.wants(&session))?;
        if !wanted || (self.only.main_agents && session.parent.is_some()) {
            return Ok(());
        }
        if self.only.main_agents {
            // Nobody is left to wait for; the gap, which spans the sub-agent, stays.
            for call in &mut session.calls {
                if let Some(after) = &mut call.after {
                    after.retain(|after| matches!(after, After::Own(_)));
                    if after.is_empty() {
                        call.after = None;
                    }
                }
            }
        }
        self.sink.session(session)
    }
}
