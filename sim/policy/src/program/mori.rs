//! MORI: programs that mostly act go to the host, programs that mostly reason stay on the GPU.
//!
//! ```text
//!            demote: highest acting share first              host full
//!     GPU ───────────────────────────────────────► host ─────────────────► waiting
//!      ▲                                             │                        │
//!      └──── promote: tool finished, lowest share ───┴── then the smallest ◄──┘
//! ```
//!
//! Placement is sticky: it changes at ticks, or when memory is short in between.

use crate::parts::to_host_until;
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{
    Action, Admission, Blocks, Cadence, Event, Nanos, Need, Outcome, Phase, Plan, Release,
    Retention, SessionId, SwapOut, View,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(crate) const ENTRY: Entry = Entry {
    name: "mori",
    summary: "rank programs by the share of time they act; demote the top to the host, every 5 s",
    family: Family::Program,
    about: "A program's acting share is the time that its tools took over the time that its last five turns and tools took together; queueing is left out, the present call counts. Every program is on the \
            GPU, on the host, or waiting. Every five seconds, while the programs placed on the GPU need more blocks than there are, the one with the highest share is demoted: those that act at once, to \
            the host if it has room and else to waiting; those that reason when their call returns. While there is room, programs are promoted: first those on the host whose tool \
            has finished, lowest share first, then waiting ones, returning before new and the smallest first. The next turn of a program that is not on the GPU is withheld until then. If memory is short \
            in between, programs that have ended give theirs first, then idle ones by share.",
    formula: "iota = T_acting / (T_acting + T_reasoning) over the last k turns and the present call\n\
              demote max iota while sum of blocks(GPU programs) > capacity",
    source: "MORI, arXiv 2606.00866, known here through notes; built on ThunderAgent, its code was not public.",
    caveats: "Reconstructed. k is untuned in the paper. One GPU: best fit and affinity have nothing to choose. What a program needs is taken to be its context, or its prompt once that is known.",
    grows: "Ranks every program at every tick and when memory is short, and adds up those on the GPU when a new one arrives.",
    provenance: Provenance::Reconstructed,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        Param {
            key: "tick_s",
            default: 5.0,
            min: 0.001,
            max: 3600.0,
            help: "how often placement is looked at; the paper's",
        },
        Param {
            key: "k_turns",
            default: 5.0,
            min: 1.0,
            max: 1000.0,
            help: "turns over which the acting share is taken; the paper's",
        },
    ],
    build: |params, _| {
        Box::new(Mori {
            tick: params.secs("tick_s"),
            history_max: params.get("k_turns") as usize,
            programs: BTreeMap::new(),
            on_gpu: BTreeSet::new(),
            demoted: BTreeSet::new(),
        })
    },
};

/// Time that one program spent acting and reasoning, per turn.
#[derive(Clone, Debug, Default)]
struct Program {
    turns: VecDeque<(Nanos, Nanos)>,
}

impl Program {
    /// Acting share, with `acting` of the present call; 0 for a program without a past.
    fn share(&self, acting: Nanos) -> f64 {
        let acted: u64 = self.turns.iter().map(|(acted, _)| acted.0).sum();
        let reasoned: u64 = self.turns.iter().map(|(_, reasoned)| reasoned.0).sum();
        let acted = (acted + acting.0) as f64;
        let both = acted + reasoned as f64;
        if both > 0.0 { acted / both } else { 0.0 }
    }

    fn push(&mut self, acted: Nanos, reasoned: Nanos, most: usize) {
        self.turns.push_back((acted, reasoned));
        while self.turns.len() > most {
            self.turns.pop_front();
        }
    }
}

struct Mori {
    tick: Nanos,
    history_max: usize,
    /// Sessions that have not ended.
    programs: BTreeMap<SessionId, Program>,
    on_gpu: BTreeSet<SessionId>,
    /// Reason at present, and leave the GPU when their call returns.
    demoted: BTreeSet<SessionId>,
}

impl Mori {
    fn share(&self, view: &View<'_>, session: SessionId) -> f64 {
        let seen = view.session(session);
        let acting = match seen.phase {
            Phase::Idle => view.now.since(seen.idle_since),
            _ => Nanos::ZERO,
        };
        self.programs
            .get(&session)
            .map_or(0.0, |program| program.share(acting))
    }

    fn blocks(view: &View<'_>, session: SessionId) -> u64 {
        let seen = view.session(session);
        let tokens = seen.context.max(seen.prompt);
        u64::from(tokens.blocks_ceil(view.block_tokens).0)
    }

    fn demand(&self, view: &View<'_>) -> u64 {
        self.on_gpu.iter().map(|&s| Self::blocks(view, s)).sum()
    }

    /// Programs on the GPU that are to go, until the rest fit: those that act, then those that reason, highest share first.
    fn excess(&self, view: &View<'_>) -> (Vec<SessionId>, Vec<SessionId>) {
        let capacity = u64::from(view.hbm.capacity.0);
        let mut demand = self.demand(view);
        let ranked = |acting: bool| {
            let members = self.on_gpu.iter().copied();
            let of_kind = members.filter(|&s| (view.session(s).phase == Phase::Idle) == acting);
            let mut ranked: Vec<_> = of_kind.map(|s| (self.share(view, s), s)).collect();
            ranked.sort_by(|(a, s), (b, t)| b.total_cmp(a).then(s.cmp(t)));
            ranked.into_iter().map(|(_, s)| s)
        };
        let mut take = |line: Vec<SessionId>| {
            let mut taken = Vec::new();
            for session in line {
                if demand <= capacity {
                    break;
                }
                demand -= Self::blocks(view, session);
                taken.push(session);
            }
            taken
        };
        let acting = take(ranked(true).collect());
        let reasoning = take(ranked(false).collect());
        (acting, reasoning)
    }

    /// Withheld programs in the order in which they are promoted.
    fn line(&self, view: &View<'_>) -> Vec<SessionId> {
        let mut line: Vec<_> = view
            .held
            .iter()
            .map(|&(_, session)| {
                let seen = view.session(session);
                let on_host = seen.host_blocks > Blocks::ZERO;
                // A share is at least 0, so that its bits order as it does.
                let rank = match (on_host, seen.turn.0) {
                    (true, _) => (0, self.share(view, session).to_bits()),
                    (false, 1..) => (1, Self::blocks(view, session)),
                    (false, 0) => (2, Self::blocks(view, session)),
                };
                (rank, session)
            })
            .collect();
        line.sort_unstable();
        line.into_iter().map(|(_, session)| session).collect()
    }
}

impl Policy for Mori {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        match *event {
            Event::Started(session) => {
                self.programs.insert(session, Program::default());
            }
            Event::Ended(session) => {
                self.programs.remove(&session);
                self.on_gpu.remove(&session);
                self.demoted.remove(&session);
            }
            Event::Compute(session, waited) => {
                // A new program counts as placed until it is withheld.
                if view.session(session).turn.0 == 0 {
                    self.on_gpu.insert(session);
                }
                if let Some(turn) = self
                    .programs
                    .get_mut(&session)
                    .and_then(|p| p.turns.back_mut())
                {
                    turn.0 = waited;
                }
            }
            Event::TurnDone {
                session, served, ..
            } => {
                let most = self.history_max;
                if let Some(program) = self.programs.get_mut(&session) {
                    program.push(Nanos::ZERO, served, most);
                }
            }
            Event::Acted(
                session,
                Action::SwapOut | Action::Discard | Action::BreakPin | Action::Hold,
                Outcome::Done(_) | Outcome::Clipped(_),
            ) => {
                self.on_gpu.remove(&session);
                self.demoted.remove(&session);
            }
            Event::Acted(
                session,
                Action::Resume | Action::Enter | Action::BreakHold,
                Outcome::Done(_),
            ) => {
                self.on_gpu.insert(session);
            }
            Event::Tick(_) => self.demoted = self.excess(view).1.into_iter().collect(),
            _ => {}
        }
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every(self.tick)
    }

    fn admit(&self, view: &View<'_>, session: SessionId) -> Admission {
        let placed = self.on_gpu.contains(&session);
        let new = view.session(session).turn.0 == 0;
        // A new program is counted among the placed ones already.
        let fits = || view.held.is_empty() && self.demand(view) <= u64::from(view.hbm.capacity.0);
        if placed && (!new || fits()) {
            Admission::Enter
        } else {
            Admission::Hold
        }
    }

    fn on_idle(&self, _: &View<'_>, session: SessionId) -> Retention {
        if self.demoted.contains(&session) {
            Retention::SwapOut(SwapOut::OrDiscard)
        } else {
            Retention::keep()
        }
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }

    fn victims(&self, view: &View<'_>, need: Blocks, _: Need) -> Vec<Release> {
        let mut ranked: Vec<_> = view
            .idle_by_age
            .iter()
            .map(|(_, s)| {
                let alive = view.session(s).phase != Phase::Ended;
                (alive, self.share(view, s), s)
            })
            .collect();
        ranked.sort_by(|(x, a, s), (y, b, t)| x.cmp(y).then(b.total_cmp(a)).then(s.cmp(t)));
        to_host_until(view, ranked.into_iter().map(|(.., s)| s), need)
    }

    fn plan(&self, view: &View<'_>) -> Plan {
        let (acting, reasoning) = self.excess(view);
        let leave = |&session: &SessionId| (session, Retention::SwapOut(SwapOut::OrDiscard));
        let retain = acting.iter().map(leave).collect();
        let mut room = u64::from(view.hbm.capacity.0).saturating_sub(self.demand(view));
        let mut resume = Vec::new();
        if acting.is_empty() && reasoning.is_empty() {
            for session in self.line(view) {
                let blocks = Self::blocks(view, session);
                if blocks <= room {
                    room -= blocks;
                    resume.push(session);
                }
            }
        }
        Plan {
            resume,
            retain,
            ..Plan::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_acting_share_is_of_the_last_turns_and_the_present_call() {
        let s = |seconds: u64| Nanos::from_millis(1_000 * seconds);
        let mut program = Program::default();
        assert!(program.share(Nanos::ZERO).abs() < 1e-12);
        program.push(s(100), s(1), 2);
        program.push(s(6), s(2), 2);
        program.push(s(1), s(1), 2);
        // The first has left: acted 6 + 1, and 2 in the present call; reasoned 2 + 1. 9 / 12.
        assert!((program.share(s(2)) - 0.75).abs() < 1e-12);
    }
}
