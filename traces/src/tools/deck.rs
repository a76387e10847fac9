//! Shards of a trace: sessions dealt at random out of a part of it.
//!
//! ```text
//!   trace ─► collect ─► one of each cluster ─► split: train │ test ─► deal(seed 1), deal(seed 2), … ─► shards
//! ```
//!
//! A shard of `n` sessions with *replacement* is a resample of the part, as a bootstrap takes it: a session may be in it several times,
//! under names of its own, and sessions come in the order in which they were dealt. *Without* replacement they keep the order of the file, for
//! traces whose sessions share content with those near them; such shards overlap where they are not small against the part.
//!
//! **Invariant:** a session is in one part of a split, whatever else is in the file; its sub-agents go with it.
//! **Absent on purpose:** replacement where block ids are global: two copies of one session would hit each other's blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::rename::rename;
use super::sample::key;
use super::{Clusters, Fed, feed_with};
use crate::TraceError;
use crate::format::{HashScope, Meta, Session, SharedPrefix};
use crate::generate::{Domain, Draws, Purpose};
use crate::import::{Collected, ImportOptions, Sink, Warning};

/// A session and its sub-agents.
type Family = Vec<Session>;

/// The sessions of a trace, to be dealt.
#[derive(Clone, Debug)]
pub struct Deck {
    meta: Meta,
    families: Vec<Family>,
    warnings: Vec<Warning>,
}

impl Deck {
    /// All sessions of the trace at `path`, or of a foreign file by way of its importer.
    ///
    /// # Errors
    /// What reading may raise; [`TraceError::SubagentFirst`] if a sub-agent precedes its parent.
    pub fn collect(path: &Path, options: &ImportOptions) -> Result<Self, TraceError> {
        let mut all = Collected::default();
        let fed: Option<Fed> = feed_with(path, options, &mut all)?;
        let mut families: Vec<Family> = Vec::new();
        let mut family_of: BTreeMap<String, usize> = BTreeMap::new();
        for session in all.sessions {
            let index = match &session.parent {
                None => {
                    families.push(Vec::new());
                    families.len() - 1
                }
                Some(parent) => {
                    let known = family_of.get(parent.sid()).copied();
                    known.ok_or_else(|| TraceError::SubagentFirst {
                        file: path.display().to_string(),
                        sid: session.sid.clone(),
                        parent: parent.sid().to_owned(),
                    })?
                }
            };
            family_of.insert(session.sid.clone(), index);
            families[index].push(session);
        }
        Ok(Self {
            meta: all.meta,
            families,
            warnings: fed.map_or_else(Vec::new, |fed| fed.report.warnings),
        })
    }

    /// Number of sessions, sub-agents not counted.
    pub fn len(&self) -> usize {
        self.families.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.families.is_empty()
    }

    /// What the source does not say.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Keeps one session of each cluster of copies and branches ([`Clusters`]).
    pub fn keep_one_per_cluster(&mut self) {
        let mut clusters = Clusters::default();
        for family in &self.families {
            clusters.add(&family[0]);
        }
        let chosen: BTreeSet<String> = clusters.representatives().into_iter().collect();
        self.families
            .retain(|family| chosen.contains(&family[0].sid));
    }

    /// Keeps the sessions whose first turn has at most so many tokens, prompt and output: others could not run at all.
    pub fn keep_begun_within(&mut self, max_context: u32) {
        self.families.retain(|family| {
            let tokens = |session: &Session| {
                let first = &session.calls[0];
                u64::from(first.input) + u64::from(first.output)
            };
            tokens(&family[0]) <= u64::from(max_context)
        });
    }

    /// Where no shared prefix is recorded: takes sessions of one configuration to share `share` of the shortest first prompt that any of
    /// them has.
    ///
    /// # Errors
    /// If `share` is not in 0..=1.
    pub fn share_first_prompts(&mut self, share: f64) -> Result<(), TraceError> {
        if !(0.0..=1.0).contains(&share) {
            return Err(TraceError::Parameters(format!(
                "`shared_first_prompt` = {share}; a share lies between 0 and 1"
            )));
        }
        let name = |session: &Session| session.config.clone().unwrap_or_default();
        let mut shortest: BTreeMap<String, u32> = BTreeMap::new();
        let sessions = || self.families.iter().flatten();
        for session in sessions() {
            let input = session.calls[0].input;
            let least = shortest.entry(name(session)).or_insert(input);
            *least = input.min(*least);
        }
        for session in self.families.iter_mut().flatten() {
            if session.shared_prefix.is_none() {
                let tokens = f64::from(shortest[&name(session)]) * share;
                session.shared_prefix = Some(vec![SharedPrefix {
                    id: name(session),
                    tokens: tokens as u32,
                    ..SharedPrefix::default()
                }]);
            }
        }
        Ok(())
    }

    /// Two parts: about `share` of the sessions, and the rest. A session's part depends on its name and `seed` alone.
    pub fn split(self, share: f64, seed: u64) -> (Self, Self) {
        let bound = share * 2_f64.powi(64);
        let (first, second) = self
            .families
            .into_iter()
            .partition(|family| (key(seed, &family[0].sid) as f64) < bound);
        let part = |families| Self {
            meta: self.meta.clone(),
            families,
            warnings: self.warnings.clone(),
        };
        (part(first), part(second))
    }

    /// Deals `count` sessions to `sink`.
    ///
    /// # Errors
    /// If there are fewer and none is replaced, or block ids are global and they are; and what the sink may raise.
    pub fn deal(
        &self,
        count: usize,
        replace: bool,
        seed: u64,
        sink: &mut dyn Sink,
    ) -> Result<(), TraceError> {
        let wrong = |text: String| Err(TraceError::Parameters(text));
        if self.is_empty() || (!replace && count > self.len()) {
            return wrong(format!(
                "{count} sessions were asked for and there are {}; ask for fewer, or deal with replacement",
                self.len()
            ));
        }
        if replace && self.meta.hash_scope.value() == Some(HashScope::Global) {
            return wrong(
                "block ids of this trace are global, so that two copies of a session would share their content; deal without replacement"
                    .to_owned(),
            );
        }
        sink.meta(&self.meta)?;
        let draws = Draws::new(seed, Domain::Resampling);
        if !replace {
            let mut keyed: Vec<(u64, usize)> = (0..self.len())
                .map(|index| (key(seed, &self.families[index][0].sid), index))
                .collect();
            keyed.sort_unstable();
            let mut chosen: Vec<usize> = keyed[..count].iter().map(|&(_, index)| index).collect();
            chosen.sort_unstable();
            for session in chosen.into_iter().flat_map(|index| &self.families[index]) {
                sink.session(session.clone())?;
            }
            return Ok(());
        }
        for number in 0..count {
            let draw = draws.at(number as u32, 0, Purpose::Resample);
            let index = (draw.uniform() * self.len() as f64) as usize;
            for session in &self.families[index.min(self.len() - 1)] {
                let mut session = session.clone();
                rename(&mut session, |sid| format!("{sid}~{number}"));
                sink.session(session)?;
            }
        }
        Ok(())
    }
}
