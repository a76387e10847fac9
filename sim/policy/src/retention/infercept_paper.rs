//! InferCept as its paper has it: swap what fits behind the computation, drop or hold the rest, whichever wastes less.
//!
//! Two variants: the wait is estimated by what has elapsed of it, or known.

use crate::parts::{chunked_discard, held_swapped_new};
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{
    Blocks, Bytes, Cadence, Direction, End, Oracle, OrderKey, Part, Plan, Retention, SessionId,
    StepBudget, SwapOut, Tokens, View, Way,
};
use std::num::NonZeroU32;
use std::sync::Arc;

const ABOUT: &str = "At every step each waiting session is weighed: the waste of holding its C tokens for the time that its tool is estimated to \
     take, against the waste of dropping them and computing them again, in chunks that fill up the running batch. Sessions are sorted by the smaller of \
     the two, the largest waste first, and are swapped out in that order as long as the copies fit behind the computation of one step and into \
     the host, for a swap hidden there wastes nothing. The rest are held or dropped, whichever wastes less.";
const FORMULA: &str = "waste_preserve = T x C\n\
     waste_discard  = T_fwd(C) C/2 + n T_fwd(C/n) C_other, n = ceil(C / (S - running))\n\
     swap budget of a step = tokens that the link moves during T_fwd(S)";
const SOURCE: &str = "Abhyankar et al., InferCept (APIServe), ICML 2024, arXiv 2402.01869; the code that was released differs (infercept-release).";
const CAVEATS: &str = "Known here through notes on the paper. T_fwd is the machine's profile, not a fit of the paper's. Each direction may move the budget of a step; what is \
     queued on the link is taken off what more is swapped out. Decode runs end after each step.";

const SATURATION: Param = Param {
    key: "saturation_tokens",
    default: 512.0,
    min: 1.0,
    max: 1e6,
    help: "S: tokens of a step at which the GPU is saturated; profiled per machine in the paper, chosen here",
};

pub(crate) const ELAPSED: Entry = Entry {
    name: "infercept-paper",
    summary: "swap what hides behind a step; hold or drop the rest by waste, T = time elapsed",
    family: Family::Retention,
    about: ABOUT,
    formula: "T = now - beginning of the wait\n\
              waste_preserve = T x C\n\
              waste_discard  = T_fwd(C) C/2 + n T_fwd(C/n) C_other, n = ceil(C / (S - running))\n\
              swap budget of a step = tokens that the link moves during T_fwd(S)",
    source: SOURCE,
    caveats: CAVEATS,
    grows: "Weighs every waiting session in HBM at every step.",
    provenance: Provenance::Paper,
    needs: Needs::Nothing,
    listens: true,
    params: &[SATURATION],
    build: |params, _| {
        Box::new(Infercept {
            oracle: None,
            saturation: params.get("saturation_tokens") as u32,
        })
    },
};

pub(crate) const ORACLE: Entry = Entry {
    name: "infercept-paper-oracle",
    summary: "the same with the true time that is left of each wait",
    family: Family::Retention,
    about: ABOUT,
    formula: FORMULA,
    source: SOURCE,
    caveats: CAVEATS,
    grows: "Weighs every waiting session in HBM at every step.",
    provenance: Provenance::Paper,
    needs: Needs::Oracle,
    listens: true,
    params: &[SATURATION],
    build: |params, oracle| {
        Box::new(Infercept {
            oracle,
            saturation: params.get("saturation_tokens") as u32,
        })
    },
};

struct Infercept {
    /// The truth, if it may be known.
    oracle: Option<Arc<dyn Oracle>>,
    saturation: u32,
}

impl Infercept {
    fn estimate_s(&self, view: &View<'_>, session: SessionId) -> f64 {
        match &self.oracle {
            None => view
                .now
                .since(view.session(session).idle_since)
                .as_secs_f64(),
            Some(oracle) => oracle
                .returns_at(session)
                .map_or(0.0, |at| at.since(view.now).as_secs_f64()),
        }
    }

    /// Waste of holding, and of dropping \[token-seconds\].
    fn wastes(&self, view: &View<'_>, session: SessionId) -> (f64, f64) {
        let context = view.session(session).hbm_blocks.0 * view.block_tokens;
        let preserve = self.estimate_s(view, session) * f64::from(context);
        let room = self.saturation.saturating_sub(view.running).max(1);
        let chunks = context.div_ceil(room).max(1);
        let whole = view.prefill_time(Tokens(context), Tokens::ZERO);
        let chunk = view.prefill_time(Tokens(context.div_ceil(chunks)), Tokens::ZERO);
        let discard = chunked_discard(context, whole, chunks, chunk, view.batch_tokens);
        (preserve, discard)
    }

    /// Bytes that the link moves while a saturated step runs, at least a block.
    fn step_bytes(&self, view: &View<'_>) -> Bytes {
        let step = view.prefill_time(Tokens(self.saturation), Tokens::ZERO);
        let rate = view.link[Direction::D2h.index()].bytes_per_s;
        let bytes = u128::from(step.0) * u128::from(rate) / 1_000_000_000;
        Bytes(u64::try_from(bytes).unwrap_or(u64::MAX)).max(view.block_bytes)
    }
}

impl Policy for Infercept {
    fn cadence(&self) -> Cadence {
        Cadence::Steps(NonZeroU32::MIN)
    }

    fn on_idle(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::keep()
    }

    fn plan(&self, view: &View<'_>) -> Plan {
        let mut waiting: Vec<_> = view
            .idle_by_age
            .iter()
            .map(|(_, session)| (self.wastes(view, session), session))
            .filter(|&((preserve, discard), _)| preserve.min(discard) > 0.0)
            .collect();
        waiting.sort_by(|((p, d), a), ((q, e), b)| q.min(*e).total_cmp(&p.min(*d)).then(a.cmp(b)));
        let queued: Bytes = view.link.iter().map(|lane| lane.queued).sum();
        let mut budget = self.step_bytes(view).saturating_sub(queued).0 / view.block_bytes.0;
        let mut host = view.host.free.0;
        let mut retain = Vec::new();
        for ((preserve, discard), session) in waiting {
            let blocks = view.session(session).hbm_blocks.0;
            let fits = u64::from(blocks.min(host)).min(budget) as u32;
            budget -= u64::from(fits);
            host -= fits;
            if fits == blocks {
                retain.push((session, Retention::SwapOut(SwapOut::IfRoom)));
            } else if fits > 0 {
                let part = Part {
                    blocks: Blocks(fits),
                    end: End::Back,
                    how: Way::SwapOut,
                };
                retain.push((session, Retention::Part(part)));
            } else if discard < preserve {
                retain.push((session, Retention::Discard));
            }
        }
        Plan {
            retain,
            ..Plan::default()
        }
    }

    fn step_budget(&self, view: &View<'_>) -> StepBudget {
        StepBudget {
            copy: [self.step_bytes(view); 2],
            ..StepBudget::UNLIMITED
        }
    }

    fn order(&self, view: &View<'_>, session: SessionId) -> OrderKey {
        held_swapped_new(view, session)
    }
}
