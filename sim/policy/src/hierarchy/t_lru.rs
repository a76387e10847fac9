//! Tail-optimised LRU: keep as much of a conversation as its next time to first token needs, and let the rest go first.
//!
//! ```text
//!   context L:  [ kept: L + Q - xi | tail-safe: can be computed again within the budget ] next prompt Q
//! ```

use crate::parts::Ewma;
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{Blocks, Event, Price, Priced, Retention, SessionId, Time, Tokens, ToolClass, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "t-lru",
    summary: "evict first what can be recomputed within the TTFT budget, then LRU",
    family: Family::Hierarchy,
    about: "A budget for the time to first token is expressed in tokens of prefill, xi. A session with L tokens of context that expects Q tokens of new prompt meets it if only its first L + Q - xi tokens are \
            resident. What lies beyond is tail-safe. When a turn ends, all of its KV goes to the prefix cache, the tail-safe part at a price below that of everything else: tail-safe blocks of any session are \
            overwritten first, and then the others, each least recently used first.",
    formula: "keep the first max(0, min(L, L + Q - xi)) tokens; evict tail-safe blocks first, then LRU",
    source: "Tail-optimised caching, arXiv 2510.15152 (NeurIPS 2025), known here through notes; SGLang issue 34012.",
    caveats: "Reconstructed. The order of eviction is exact, block by block; Q is a moving average of what sessions have appended so far. The budget is a parameter: on another machine the same time is another number of tokens. A \
              block that is kept in part is kept.",
    grows: "",
    provenance: Provenance::Reconstructed,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        Param {
            key: "budget_tokens",
            default: 8_000.0,
            min: 0.0,
            max: 1e9,
            help: "xi: tokens whose prefill fits the time to first token; chosen",
        },
        Param {
            key: "ema_alpha",
            default: 0.1,
            min: 0.001,
            max: 1.0,
            help: "weight of the latest appended prompt in Q; chosen",
        },
    ],
    build: |params, _| {
        Box::new(TLru {
            budget: params.get("budget_tokens") as u32,
            appended: Ewma::new(params.get("ema_alpha")),
        })
    },
};

struct TLru {
    /// xi.
    budget: u32,
    /// Q, of all tools alike.
    appended: Ewma,
}

/// Under this class the appended tokens of all sessions are averaged.
const ALL: ToolClass = ToolClass(0);

/// Less than anything else.
const TAIL_SAFE: Price = Price(-1);

/// Tokens of a context of `context` tokens that must stay, with `next` to be appended and a budget of `budget`.
fn kept(context: u32, next: u32, budget: u32) -> Tokens {
    Tokens(context.min((context + next).saturating_sub(budget)))
}

impl Policy for TLru {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        if let Event::Compute(session, _) = *event {
            let seen = view.session(session);
            if seen.turn.0 > 0 {
                let appended = seen.prompt.saturating_sub(seen.context);
                self.appended.push(ALL, f64::from(appended.0));
            }
        }
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }

    fn price(&self, view: &View<'_>, session: SessionId) -> Vec<Priced> {
        let next = self.appended.of(ALL).unwrap_or(0.0) as u32;
        let kept = kept(view.session(session).context.0, next, self.budget);
        let part = |blocks, price| Priced {
            blocks,
            price,
            until: Time::NEVER,
        };
        vec![
            part(kept.blocks_ceil(view.block_tokens), Price::NORMAL),
            part(Blocks(u32::MAX), TAIL_SAFE),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_recomputed_within_the_budget_is_not_kept() {
        // 30,000 + 2,000 - 8,000 = 24,000: the last 6,000 go first.
        assert_eq!(kept(30_000, 2_000, 8_000), Tokens(24_000));
        // A context that is recomputed within the budget in whole needs nothing; one without a budget needs everything.
        assert_eq!(kept(5_000, 2_000, 8_000), Tokens(0));
        assert_eq!(kept(30_000, 2_000, 0), Tokens(30_000));
        assert_eq!(kept(30_000, 9_000, 8_000), Tokens(30_000));
    }
}
