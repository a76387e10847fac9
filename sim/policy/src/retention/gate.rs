//! Gate: the rule that a language model evolved inside AgentServeSim.

use crate::parts::{Ewma, Waiting, hold_for, utilisation};
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{
    Admission, Blocks, Event, Nanos, OrderKey, Phase, Retention, SessionId, Then, Tokens, View,
};

pub(crate) const ENTRY: Entry = Entry {
    name: "gate",
    summary: "pin 2 s unless the tool is slow; hold admission above 90 % if it does not fit",
    family: Family::Retention,
    about: "A waiting session is pinned for two seconds unless the moving average of its tool exceeds three. Turns of pinned sessions go first, then first come, first \
            served by session, where long contexts get a head start. A turn that cannot grow preempts the running one that is cheapest to compute again. While more \
            than 90 % of HBM is in use, a turn that does not fit into what is free is withheld.",
    formula: "tau = 2 s if EMA(tool) <= 3 s or unknown, else 0\n\
              hold if u > 0.9 and blocks(prompt) - own pin > free",
    source: "`gate` of AgentServeSim, arXiv 2606.09613 (the best policy there without an oracle), known here through notes.",
    caveats: "Reconstructed from a two-line description. The weight of the moving average, the size of the head start and what counts as long were not given or not re-checked: chosen.",
    grows: "",
    provenance: Provenance::Reconstructed,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        Param {
            key: "pin_s",
            default: 2.0,
            min: 0.0,
            max: 86_400.0,
            help: "length of a pin",
        },
        Param {
            key: "slow_s",
            default: 3.0,
            min: 0.0,
            max: 86_400.0,
            help: "tools whose moving average is longer are not pinned for",
        },
        Param {
            key: "ema_alpha",
            default: 0.3,
            min: 0.001,
            max: 1.0,
            help: "weight of the latest duration; chosen",
        },
        Param {
            key: "long_tokens",
            default: 10_000.0,
            min: 0.0,
            max: 1e9,
            help: "contexts of this length get the head start",
        },
        Param {
            key: "head_start_s",
            default: 10.0,
            min: 0.0,
            max: 86_400.0,
            help: "how much earlier such a session counts as arrived; chosen",
        },
        Param {
            key: "full",
            default: 0.9,
            min: 0.0,
            max: 1.0,
            help: "share of HBM in use from which turns that do not fit are withheld",
        },
    ],
    build: |params, _| {
        Box::new(Gate {
            pin: params.secs("pin_s"),
            slow_s: params.get("slow_s"),
            long: Tokens(params.get("long_tokens") as u32),
            head_start: params.secs("head_start_s"),
            full: params.get("full"),
            tools: Ewma::new(params.get("ema_alpha")),
            waiting: Waiting::default(),
        })
    },
};

struct Gate {
    pin: Nanos,
    slow_s: f64,
    long: Tokens,
    head_start: Nanos,
    full: f64,
    tools: Ewma,
    waiting: Waiting,
}

impl Policy for Gate {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        let tool = self.waiting.observe(view, event);
        if let (Some(tool), Event::Compute(_, waited)) = (tool, event) {
            self.tools.push(tool, waited.as_secs_f64());
        }
    }

    fn on_idle(&self, view: &View<'_>, session: SessionId) -> Retention {
        let seen = view.session(session);
        let mean = seen.signalled.then(|| self.tools.of(seen.tool)).flatten();
        let slow = mean.is_some_and(|mean| mean > self.slow_s);
        let ttl = if slow { Nanos::ZERO } else { self.pin };
        hold_for(view, session, ttl, Then::Release)
    }

    fn order(&self, view: &View<'_>, session: SessionId) -> OrderKey {
        let seen = view.session(session);
        let unpinned = i64::from(seen.hbm_blocks == Blocks::ZERO);
        let long = seen.prompt >= self.long;
        let head_start = if long { self.head_start } else { Nanos::ZERO };
        let arrived = seen.arrived.0 as i64 - head_start.0 as i64;
        OrderKey([unpinned, arrived, i64::from(session.0)])
    }

    fn preempt(&self, view: &View<'_>, _: SessionId) -> Option<SessionId> {
        let cost = |&s: &SessionId| (view.session(s).computed, std::cmp::Reverse(s));
        view.batch.iter().copied().min_by_key(cost)
    }

    fn admit(&self, view: &View<'_>, session: SessionId) -> Admission {
        let seen = view.session(session);
        let need = seen.prompt.blocks_ceil(view.block_tokens);
        let missing = need.saturating_sub(seen.hbm_blocks);
        // An empty machine takes everybody: what is in use then belongs to pins, which expire.
        let busy = view.running > 0 || seen.phase != Phase::Held;
        if busy && utilisation(view) > self.full && missing > view.hbm.free {
            Admission::Hold
        } else {
            Admission::Enter
        }
    }
}
