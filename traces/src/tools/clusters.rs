//! Copies and branches of one session: sessions that share a stretch of calls.
//!
//! Collections of logs hold one session many times: resumed, forked, uploaded twice. Two sessions belong to one cluster if five
//! consecutive calls have equal prompt and output lengths in both: at tens of thousands of tokens that is no coincidence.
//! (Short prompts are: a stretch only counts if its calls are not all alike.)

use std::collections::HashMap;

use crate::TraceError;
use crate::format::{Meta, Session};
use crate::import::Sink;

/// Consecutive calls that must be equal.
const STRETCH: usize = 5;

/// Finds clusters while sessions pass. Memory: a hash per call, and a name per session.
#[derive(Debug, Default)]
pub struct Clusters {
    /// Session that first had a stretch, by the hash of it. Looked up only.
    owners: HashMap<u64, usize>,
    sessions: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    sid: String,
    calls: usize,
    /// Another member of the cluster, in the end its first; itself for the first.
    leader: usize,
}

impl Clusters {
    /// Takes in a session; sub-agents are none of their own.
    pub fn add(&mut self, session: &Session) {
        if session.parent.is_some() {
            return;
        }
        let index = self.sessions.len();
        self.sessions.push(Member {
            sid: session.sid.clone(),
            calls: session.calls.len(),
            leader: index,
        });
        for stretch in session.calls.windows(STRETCH) {
            let lengths = || stretch.iter().map(|call| (call.input, call.output));
            if lengths().all(|pair| pair == (stretch[0].input, stretch[0].output)) {
                continue;
            }
            let hash = fnv(lengths().flat_map(|(input, output)| [input, output]));
            let owner = *self.owners.entry(hash).or_insert(index);
            self.join(owner, index);
        }
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.leader(a), self.leader(b));
        // The earlier session leads, so that the result does not depend on the order of joins.
        self.sessions[a.max(b)].leader = a.min(b);
    }

    fn leader(&mut self, mut index: usize) -> usize {
        while self.sessions[index].leader != index {
            let next = self.sessions[index].leader;
            self.sessions[index].leader = self.sessions[next].leader;
            index = next;
        }
        index
    }

    /// Number of clusters: of independent sessions.
    pub fn count(&self) -> usize {
        let leads = |(index, member): &(usize, &Member)| member.leader == *index;
        self.sessions.iter().enumerate().filter(leads).count()
    }

    /// One session of each cluster: the one with most calls, of equals the first.
    pub fn representatives(mut self) -> Vec<String> {
        let mut best: Vec<Option<usize>> = vec![None; self.sessions.len()];
        for index in 0..self.sessions.len() {
            let leader = self.leader(index);
            let longer = |other: usize| self.sessions[index].calls > self.sessions[other].calls;
            if best[leader].is_none_or(longer) {
                best[leader] = Some(index);
            }
        }
        let mut chosen: Vec<usize> = best.into_iter().flatten().collect();
        chosen.sort_unstable();
        let sessions = &mut self.sessions;
        chosen
            .into_iter()
            .map(|index| std::mem::take(&mut sessions[index].sid))
            .collect()
    }
}

impl Sink for Clusters {
    fn meta(&mut self, _: &Meta) -> Result<(), TraceError> {
        Ok(())
    }

    fn session(&mut self, session: Session) -> Result<(), TraceError> {
        self.add(&session);
        Ok(())
    }
}

/// FNV-1a, 64 bits, over words.
fn fnv(words: impl Iterator<Item = u32>) -> u64 {
    let bytes = words.flat_map(u32::to_le_bytes);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
