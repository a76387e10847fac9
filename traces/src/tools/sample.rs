//! Some of the sessions of a trace, at random.
//!
//! Each session has a number that depends on the seed and its name alone. A share takes those with small numbers; a count
//! takes the smallest, so 10 sessions are among the 20 of the same seed, and a session is not chosen differently because others
//! were added.

use std::collections::{BTreeSet, BinaryHeap};
use std::path::Path;

use rand_philox::splitmix64;

use super::families::Families;
use super::{Clusters, Fed, feed_with};
use crate::TraceError;
use crate::format::{Meta, Session};
use crate::import::{ImportOptions, Sink};

/// Which sessions are picked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pick {
    /// About this share of them, in 0..=1.
    Share(f64),
    /// So many, or all if there are fewer.
    Count(u64),
    /// One of each cluster of copies and branches.
    OnePerCluster,
}

impl Pick {
    /// Hands the picked sessions of the trace at `path`, with their sub-agents, to `sink`. Reads the file twice unless a share is picked.
    ///
    /// # Errors
    /// If a share is none, and what reading and the sink may raise.
    pub fn run(
        self,
        path: &Path,
        options: &ImportOptions,
        seed: u64,
        sink: &mut dyn Sink,
    ) -> Result<Option<Fed>, TraceError> {
        let file = path.display().to_string();
        let chosen = match self {
            Self::Share(share) if (0.0..=1.0).contains(&share) => Chosen::Below { share, seed },
            Self::Share(share) => {
                return Err(TraceError::Parameters(format!(
                    "a share of {share} cannot be sampled; it lies between 0 and 1"
                )));
            }
            Self::Count(count) => {
                let mut smallest = Smallest {
                    seed,
                    count: count as usize,
                    heap: BinaryHeap::new(),
                };
                feed_with(path, options, &mut smallest)?;
                let sids = smallest.heap.into_iter().map(|(_, sid)| sid);
                Chosen::Named(sids.collect())
            }
            Self::OnePerCluster => {
                let mut clusters = Clusters::default();
                feed_with(path, options, &mut clusters)?;
                Chosen::Named(clusters.representatives().into_iter().collect())
            }
        };
        let mut sampled = Sampled {
            sink,
            chosen,
            families: Families::new(&file),
        };
        feed_with(path, options, &mut sampled)
    }
}

/// The number of a session.
pub(super) fn key(seed: u64, sid: &str) -> u64 {
    let hash = sid.bytes().fold(splitmix64(seed), |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    splitmix64(hash)
}

enum Chosen {
    Below { share: f64, seed: u64 },
    Named(BTreeSet<String>),
}

/// Lets chosen sessions pass, with their sub-agents.
pub struct Sampled<'a> {
    sink: &'a mut dyn Sink,
    chosen: Chosen,
    families: Families<bool>,
}

impl Sink for Sampled<'_> {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        self.sink.meta(meta)
    }

    fn session(&mut self, session: Session) -> Result<(), TraceError> {
        let is_chosen = || match &self.chosen {
            Chosen::Named(sids) => sids.contains(&session.sid),
            Chosen::Below { share, seed } => {
                (key(*seed, &session.sid) as f64) < share * 2_f64.powi(64)
            }
        };
        if self.families.fate(&session, is_chosen)? {
            self.sink.session(session)?;
        }
        Ok(())
    }
}

/// Keeps the names with the smallest numbers. Memory: so many names.
struct Smallest {
    seed: u64,
    count: usize,
    heap: BinaryHeap<(u64, String)>,
}

impl Sink for Smallest {
    fn meta(&mut self, _: &Meta) -> Result<(), TraceError> {
        Ok(())
    }

    fn session(&mut self, session: Session) -> Result<(), TraceError> {
        if session.parent.is_none() {
            self.heap.push((key(self.seed, &session.sid), session.sid));
            if self.heap.len() > self.count {
                self.heap.pop();
            }
        }
        Ok(())
    }
}
