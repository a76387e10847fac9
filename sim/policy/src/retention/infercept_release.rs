//! InferCept as released: it knows how long each tool will run, and drops whatever is cheaper to compute again than to hold.
//!
//! Source: WukLab/InferCept at 3a1a4da, `vllm/core/scheduler_v2.py` (Apache-2.0).

use crate::parts::{Profile, held_swapped_new, oldest_first};
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{
    Action, Blocks, Bytes, Cadence, End, Event, HostRelease, Need, Oracle, OrderKey, Outcome, Part,
    Phase, Plan, Release, Residence, Retention, SessionId, StepBudget, Then, View, Way,
};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

pub(crate) const ENTRY: Entry = Entry {
    name: "infercept-release",
    summary: "hold while that wastes less than recomputing, by the true duration; drop all but one",
    family: Family::Retention,
    about: "At every step each waiting session is weighed: holding its C tokens for the true time that is left of its tool, against dropping \
            them and computing them again in chunks beside the running batch. Sessions for which dropping is cheaper are candidates; all of them \
            are dropped at once, whether memory is short or not, except the one whose recomputation would be dearest. That one stays, and \
            is swapped out when somebody needs its room, as far as the step's swap budget reaches. Everybody else is held and is nobody's \
            victim. If the host is full, the swapped session with the longest remaining tool is given up. Who was held runs before \
            who was swapped, and that before new turns, each by the arrival of the session.",
    formula: "w_preserve = (true duration - elapsed) x C\n\
              w_discard  = f_s(n+1)n/2 c_h + f_c n R + a(C mod c_h)/1000 x (R + C mod c_h)\n\
              c_h = max(S - running, 1), n = max(ceil(C/c_h) - 1, 0), f_s = (aS + c)/1000, f_c = a c_h/1000, R = tokens of the batch\n\
              swap-in budget of a step = a'S + b' + free/2 tokens, swap-out budget = (1 + a')S + b' - free/2 tokens",
    source: "WukLab/InferCept at 3a1a4da, vllm/core/scheduler_v2.py (Apache-2.0); paper: Abhyankar et al., ICML 2024, arXiv 2402.01869.",
    caveats: "The release is fed the trace's true durations: it is an oracle, and its `unknown` flag is never read. Its constants were fitted \
              on A100s; refit a, c, a', b' for another machine. What is swapped out in part comes back \
              when the tool returns, not as soon as there is room; a swapped session is never converted to recomputation while \
              the queue is empty. Decode runs end after each step.",
    grows: "Weighs every waiting session in HBM at every step, and sorts those on the host when that is full.",
    provenance: Provenance::Release,
    needs: Needs::Oracle,
    listens: true,
    params: &[
        Param {
            key: "a",
            default: 0.0279,
            min: 0.0,
            max: 1e3,
            help: "ms of a step per token; 13B on two A100s (6B: 0.0463)",
        },
        Param {
            key: "c",
            default: 15.4,
            min: 0.0,
            max: 1e6,
            help: "fixed ms of a step; 13B on two A100s (6B: 10)",
        },
        Param {
            key: "swap_slope",
            default: -0.3297,
            min: -1.0,
            max: 1e3,
            help: "a': tokens of swap budget per token of a saturated step (6B: 0.00462)",
        },
        Param {
            key: "swap_base_tokens",
            default: 93.99,
            min: -1e6,
            max: 1e6,
            help: "b': tokens of swap budget, fixed (6B: 108.99)",
        },
        Param {
            key: "saturation_tokens",
            default: 384.0,
            min: 1.0,
            max: 1e6,
            help: "S: tokens of a step at which the GPU is saturated",
        },
    ],
    build: |params, oracle| {
        Box::new(Infercept {
            oracle: oracle.expect("the registry provides the oracle"),
            profile: Profile {
                a: params.get("a"),
                c: params.get("c"),
                swap_slope: params.get("swap_slope"),
                swap_base: params.get("swap_base_tokens"),
                saturation: params.get("saturation_tokens"),
            },
            swapped: BTreeSet::new(),
        })
    },
};

struct Infercept {
    oracle: Arc<dyn Oracle>,
    profile: Profile,
    /// Sessions whose KV went to the host, and that have not returned.
    swapped: BTreeSet<SessionId>,
}

impl Infercept {
    fn tokens(view: &View<'_>, session: SessionId) -> u32 {
        view.session(session).hbm_blocks.0 * view.block_tokens
    }

    /// Whole blocks of so many tokens.
    fn blocks(view: &View<'_>, tokens: f64) -> u32 {
        (tokens / f64::from(view.block_tokens)) as u32
    }

    fn left_s(&self, view: &View<'_>, session: SessionId) -> f64 {
        let back = self.oracle.returns_at(session);
        back.map_or(0.0, |at| at.since(view.now).as_secs_f64())
    }

    /// Sessions that are cheaper to drop than to hold, with the waste of dropping.
    fn candidates(&self, view: &View<'_>) -> Vec<(f64, SessionId)> {
        oldest_first(view)
            .filter_map(|session| {
                let tokens = Self::tokens(view, session);
                let preserve = self.left_s(view, session) * f64::from(tokens);
                let discard = self
                    .profile
                    .discard(tokens, view.running, view.batch_tokens);
                (discard < preserve).then_some((discard, session))
            })
            .collect()
    }

    /// The candidate that stays: the dearest to recompute; of equals the first.
    fn dearest(candidates: &[(f64, SessionId)]) -> Option<SessionId> {
        let better =
            |best: Option<(f64, SessionId)>, &(waste, session): &(f64, SessionId)| match best {
                Some((most, _)) if most >= waste => best,
                _ => Some((waste, session)),
            };
        candidates.iter().fold(None, better).map(|(_, s)| s)
    }
}

impl Policy for Infercept {
    fn observe(&mut self, _: &View<'_>, event: &Event) {
        match *event {
            Event::Acted(session, Action::SwapOut, Outcome::Done(_) | Outcome::Clipped(_)) => {
                self.swapped.insert(session);
            }
            Event::Compute(session, _)
            | Event::Ended(session)
            | Event::Acted(session, Action::DropHost, _) => {
                self.swapped.remove(&session);
            }
            _ => {}
        }
    }

    fn cadence(&self) -> Cadence {
        Cadence::Steps(NonZeroU32::MIN)
    }

    fn on_idle(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::keep()
    }

    fn plan(&self, view: &View<'_>) -> Plan {
        let candidates = self.candidates(view);
        let stays = Self::dearest(&candidates);
        let retain = candidates
            .iter()
            .filter(|&&(_, session)| Some(session) != stays)
            .map(|&(_, session)| (session, Retention::Discard))
            .collect();
        Plan {
            retain,
            ..Plan::default()
        }
    }

    fn victims(&self, view: &View<'_>, need: Blocks, _: Need) -> Vec<Release> {
        let Some(session) = Self::dearest(&self.candidates(view)) else {
            return Vec::new();
        };
        let free = f64::from(view.hbm.free.0) * f64::from(view.block_tokens);
        let budget = Self::blocks(view, self.profile.budget_out(free));
        let blocks = need.0.min(budget).min(view.host.capacity.0);
        if blocks == 0 {
            return Vec::new();
        }
        let part = Part {
            blocks: Blocks(blocks),
            end: End::Back,
            how: Way::SwapOut,
        };
        vec![Release {
            session,
            how: Then::Part(part),
        }]
    }

    fn host_victims(&self, view: &View<'_>, need: Blocks, _: SessionId) -> Vec<HostRelease> {
        let there = |s: &&SessionId| {
            let seen = view.session(**s);
            (seen.phase, seen.residence) == (Phase::Idle, Residence::Host)
        };
        let mut swapped: Vec<_> = self.swapped.iter().filter(there).copied().collect();
        swapped.sort_by_key(|&s| Reverse((self.oracle.returns_at(s), s)));
        let mut found = Blocks::ZERO;
        let enough = |s: &SessionId| {
            let short = found < need;
            found += view.session(*s).host_blocks;
            short
        };
        let victims = swapped.into_iter().take_while(enough);
        victims.map(HostRelease::all).collect()
    }

    fn step_budget(&self, view: &View<'_>) -> StepBudget {
        let free = f64::from(view.hbm.free.0) * f64::from(view.block_tokens);
        let bytes = |tokens| Bytes(u64::from(Self::blocks(view, tokens)) * view.block_bytes.0);
        StepBudget {
            copy: [
                bytes(self.profile.budget_out(free)),
                bytes(self.profile.budget_in(free)),
            ],
            ..StepBudget::UNLIMITED
        }
    }

    fn order(&self, view: &View<'_>, session: SessionId) -> OrderKey {
        held_swapped_new(view, session)
    }
}
