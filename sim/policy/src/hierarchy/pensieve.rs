//! Pensieve: what is cheapest to compute again, and longest unused, leaves first; that is the beginning of some context.
//!
//! ```text
//!   context   [ dropped | on the host | in HBM        ][ next prompt ]
//!               computed   copied back                   computed
//! ```

use crate::parts::oldest_first;
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{
    Blocks, Direction, End, Event, HostRelease, Need, Part, Phase, Plan, Release, Residence,
    Retention, SessionId, Then, Tokens, View, Way,
};
use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};

pub(crate) const ENTRY: Entry = Entry {
    name: "pensieve",
    summary: "swap out and drop leading chunks, cheapest to recompute per time unused first",
    family: Family::Hierarchy,
    about: "Contexts are held in chunks. A chunk is worth what it costs to compute again, over the time since its session was last active; a chunk attends to all before it, so that the first chunk of a context is \
            its cheapest, and leading chunks go first. When less than a quarter of HBM is free, the chunks of least worth move to the host ahead of time; when the host is full, the chunks of least worth there \
            are dropped, again from the beginning of contexts. A session that returns loads what the host has of it, computes the dropped beginning again in the middle of the sequence, and goes on with its new \
            prompt.",
    formula: "V(chunk) = T_prefill(chunk_tokens behind its position) / (now - last active); least V first\n\
              ahead of time: while free + leaving < free_share x capacity",
    source: "Pensieve, EuroSys 2025, arXiv 2312.05516, known here through its abstract, notes and from memory.",
    caveats: "Reconstructed. Needs an engine that computes missing KV in the middle of a sequence, which vLLM is not: attention over the pieces is charged as prefill of each piece behind all that precedes it, and what \
              the original's own kernel costs for scattered pieces is not. The cost of a chunk is the server's profile of its prefill. The original leaves a chunk in HBM, once copied, until somebody takes its place; here it is free when the \
              copy has left. Where HBM is short in spite of that and the host is full too, chunks are dropped from HBM.",
    grows: "Weighs every waiting session in HBM when that is short, and every one on the host when that is full.",
    provenance: Provenance::Reconstructed,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        Param {
            key: "free_share",
            default: 0.25,
            min: 0.0,
            max: 1.0,
            help: "share of HBM that is kept free ahead of time; as published",
        },
        Param {
            key: "chunk_tokens",
            default: 32.0,
            min: 1.0,
            max: 65_536.0,
            help: "tokens of a chunk, rounded up to whole blocks; as published",
        },
    ],
    build: |params, _| {
        Box::new(Pensieve {
            free_share: params.get("free_share"),
            chunk: Tokens(params.get("chunk_tokens") as u32),
            stored: BTreeSet::new(),
        })
    },
};

struct Pensieve {
    free_share: f64,
    chunk: Tokens,
    /// Sessions with KV on the host; some have given it up since they were last heard of.
    stored: BTreeSet<SessionId>,
}

/// What is left of a context on a tier, from its first chunk on. The greatest goes first.
#[derive(Clone, Copy, Debug)]
struct Front {
    worth: f64,
    session: SessionId,
    from: Blocks,
    left: Blocks,
}

impl PartialEq for Front {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Front {}
impl PartialOrd for Front {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Front {
    fn cmp(&self, other: &Self) -> Ordering {
        let worth = other.worth.total_cmp(&self.worth);
        worth.then(other.session.cmp(&self.session))
    }
}

impl Pensieve {
    fn chunk_blocks(&self, view: &View<'_>) -> u32 {
        self.chunk.blocks_ceil(view.block_tokens).0
    }

    /// Worth of the chunk of `session` that begins with block `from`.
    fn worth(&self, view: &View<'_>, session: SessionId, from: Blocks) -> f64 {
        let tokens = |blocks: u32| Tokens(blocks * view.block_tokens);
        let cost = view.prefill_time(tokens(self.chunk_blocks(view)), tokens(from.0));
        let unused = view.now.since(view.session(session).idle_since);
        cost.0 as f64 / unused.0.max(1) as f64
    }

    /// The `need` blocks of least worth, as so many leading blocks of each session; `parts` are where its blocks begin, and how many there are.
    fn least(
        &self,
        view: &View<'_>,
        parts: impl Iterator<Item = (SessionId, Blocks, Blocks)>,
        need: Blocks,
    ) -> Vec<(SessionId, Blocks)> {
        let chunk = self.chunk_blocks(view);
        let front = |session, from, left| Front {
            worth: self.worth(view, session, from),
            session,
            from,
            left,
        };
        let mut fronts: BinaryHeap<Front> = parts
            .filter(|(.., left)| left.0 > 0)
            .map(|(session, from, left)| front(session, from, left))
            .collect();
        let mut taken: Vec<(SessionId, Blocks)> = Vec::new();
        let mut found = 0;
        while found < need.0 {
            let Some(Front {
                session,
                from,
                left,
                ..
            }) = fronts.pop()
            else {
                break;
            };
            let blocks = chunk.min(left.0);
            found += blocks;
            taken.push((session, Blocks(blocks)));
            if left.0 > blocks {
                fronts.push(front(
                    session,
                    from + Blocks(blocks),
                    Blocks(left.0 - blocks),
                ));
            }
        }
        // One part of each session: its chunks are next to one another.
        taken.sort_unstable();
        taken.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
        taken
    }

    /// What waiting sessions, other than `asker`, have on the host, as far as it can be given up.
    fn stored(
        &self,
        view: &View<'_>,
        asker: Option<SessionId>,
    ) -> impl Iterator<Item = (SessionId, Blocks, Blocks)> {
        let others = self.stored.iter().filter(move |&&s| Some(s) != asker);
        others.filter_map(|&session| {
            let seen = view.session(session);
            let between = matches!(seen.phase, Phase::Idle | Phase::Held)
                && matches!(seen.residence, Residence::Hbm | Residence::Host);
            between.then_some((session, seen.host_from, seen.host_blocks))
        })
    }

    fn least_in_hbm(&self, view: &View<'_>, need: Blocks) -> Vec<(SessionId, Blocks)> {
        let idle = oldest_first(view).map(|session| {
            let seen = view.session(session);
            (session, seen.hbm_from, seen.hbm_blocks)
        });
        self.least(view, idle, need)
    }
}

fn leading(blocks: Blocks, how: Way) -> Part {
    Part {
        blocks,
        end: End::Front,
        how,
    }
}

impl Policy for Pensieve {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        if let Some(session) = event.session() {
            if view.session(session).host_blocks > Blocks::ZERO {
                self.stored.insert(session);
            } else {
                self.stored.remove(&session);
            }
        }
    }

    fn computes_mid_sequence(&self) -> bool {
        true
    }

    fn on_idle(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::keep()
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }

    fn plan(&self, view: &View<'_>) -> Plan {
        let wanted = (self.free_share * f64::from(view.hbm.capacity.0)) as u32;
        let leaving = view.link[Direction::D2h.index()].queued.0 / view.block_bytes.0.max(1);
        let short = u64::from(wanted).saturating_sub(u64::from(view.hbm.free.0) + leaving);
        if short == 0 {
            return Plan::default();
        }
        let least = self.least_in_hbm(view, Blocks(short as u32));
        let out = |(session, blocks)| (session, Retention::Part(leading(blocks, Way::SwapOut)));
        Plan {
            retain: least.into_iter().map(out).collect(),
            ..Plan::default()
        }
    }

    fn victims(&self, view: &View<'_>, need: Blocks, _: Need) -> Vec<Release> {
        let given_up = self.stored(view, None).map(|(.., blocks)| blocks.0);
        let mut room = view.host.free.0 + given_up.sum::<u32>();
        let least = self.least_in_hbm(view, need).into_iter();
        least
            .map(|(session, blocks)| {
                let how = if blocks.0 <= room {
                    room -= blocks.0;
                    Way::SwapOut
                } else {
                    Way::Discard
                };
                Release {
                    session,
                    how: Then::Part(leading(blocks, how)),
                }
            })
            .collect()
    }

    fn host_victims(&self, view: &View<'_>, need: Blocks, session: SessionId) -> Vec<HostRelease> {
        let stored = self.stored(view, Some(session));
        let least = self.least(view, stored, need).into_iter();
        least
            .map(|(session, blocks)| HostRelease::GiveUp {
                session,
                blocks,
                end: End::Front,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_of_least_worth_comes_first_and_of_equals_the_session_with_the_smaller_number() {
        let front = |worth, session| Front {
            worth,
            session: SessionId(session),
            from: Blocks(0),
            left: Blocks(1),
        };
        let mut heap = BinaryHeap::from([front(2.0, 0), front(1.0, 2), front(1.0, 1)]);
        let order = std::iter::from_fn(|| heap.pop()).map(|front| front.session.0);
        assert_eq!(order.collect::<Vec<_>>(), [1, 2, 0]);
    }
}
