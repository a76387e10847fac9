//! uni-agent: an additive priority decides what is stored on the host, and what is given up there.
//!
//! Source: uni-agent, RFC 122 and pull request 179.

use crate::parts::Stored;
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{Blocks, Event, HostRelease, Retention, SessionId, SwapOut, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "uni-agent",
    summary: "store what an additive priority says is worth it; give up expired, low, old first",
    family: Family::Hierarchy,
    about: "When a turn ends its session gets a priority: 55 if it continues with a tool's result, 40 for an active chain, more the longer its context would take to compute again, less if hardly any of its budget \
            is left. From a minimum on, its KV is stored on the host with a lease; below it is released to the prefix cache. When the host lacks room for another context, \
            sessions whose lease has expired go first, then those of the lowest priority, then the oldest.",
    formula: "priority = clamp(continuation + recompute + remaining + 5 rollback - 5 multi-chain, 0, 100)\n\
              continuation: 55 tool result, 40 active chain, 25 has tools, else 10\n\
              recompute: 0 < 1k, 5 < 4k, 10 < 16k, 15 < 32k, 22 < 64k tokens, else 30\n\
              remaining: -15 if < 5 % of the budget is left, +10 if >= 8,192 tokens and >= 25 %",
    source: "uni-agent RFC 122 / pull request 179, as noted from the code.",
    caveats: "Traces have no rollbacks and no parallel chains; a signalled wait counts as a tool's result, an unsignalled one as an active chain. The budget is the context limit given as a parameter. The minimum \
              priority and the lease are deployment settings: chosen. Tool times play no part. With an exclusive host tier a stored session leaves HBM.",
    grows: "",
    provenance: Provenance::Reconstructed,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        Param {
            key: "priority_min",
            default: 50.0,
            min: 0.0,
            max: 100.0,
            help: "least priority that is stored on the host; chosen",
        },
        Param {
            key: "lease_s",
            default: 600.0,
            min: 0.0,
            max: 1e6,
            help: "a stored session is kept before others for so long; chosen",
        },
        Param {
            key: "budget_tokens",
            default: 131_072.0,
            min: 1.0,
            max: 1e9,
            help: "tokens that a session may have in all; chosen, a common context limit",
        },
    ],
    build: |params, _| {
        Box::new(UniAgent {
            priority_min: params.get("priority_min") as i64,
            budget: params.get("budget_tokens") as u32,
            stored: Stored::leased(params.secs("lease_s")),
        })
    },
};

/// What is known of a context when its turn ends.
#[derive(Clone, Copy, Debug)]
struct Features {
    continuation: i64,
    tokens: u32,
    /// Share of the budget that is left, and how many tokens that is.
    left: (f64, u32),
    rollback: bool,
    chains: u32,
}

impl Features {
    fn priority(self) -> i64 {
        const STEPS: [(u32, i64); 5] = [
            (1_000, 0),
            (4_000, 5),
            (16_000, 10),
            (32_000, 15),
            (64_000, 22),
        ];
        let step = STEPS.iter().find(|(below, _)| self.tokens < *below);
        let recompute = step.map_or(30, |(_, points)| *points);
        let remaining = match self.left {
            (share, _) if share < 0.05 => -15,
            (share, tokens) if share >= 0.25 && tokens >= 8_192 => 10,
            _ => 0,
        };
        let rollback = if self.rollback { 5 } else { 0 };
        let chains = if self.chains > 1 { 5 } else { 0 };
        (self.continuation + recompute + remaining + rollback - chains).clamp(0, 100)
    }
}

struct UniAgent {
    priority_min: i64,
    budget: u32,
    /// By priority: the lowest goes first.
    stored: Stored,
}

impl UniAgent {
    fn priority(&self, view: &View<'_>, session: SessionId) -> i64 {
        let seen = view.session(session);
        let left = self.budget.saturating_sub(seen.context.0);
        Features {
            continuation: if seen.signalled { 55 } else { 40 },
            tokens: seen.context.0,
            left: (f64::from(left) / f64::from(self.budget), left),
            rollback: false,
            chains: 1,
        }
        .priority()
    }
}

impl Policy for UniAgent {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        let mut stored = std::mem::take(&mut self.stored);
        stored.observe(view, event, |session| self.priority(view, session));
        self.stored = stored;
    }

    fn on_idle(&self, view: &View<'_>, session: SessionId) -> Retention {
        if self.priority(view, session) >= self.priority_min {
            Retention::SwapOut(SwapOut::OrDiscard)
        } else {
            Retention::Release
        }
    }

    fn host_victims(&self, view: &View<'_>, need: Blocks, _: SessionId) -> Vec<HostRelease> {
        self.stored.give_up(view, need)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_result_of_20k_tokens_with_a_tenth_of_the_budget_left_has_priority_70() {
        let features = Features {
            continuation: 55,
            tokens: 20_000,
            left: (0.10, 2_222),
            rollback: false,
            chains: 1,
        };
        // 55 + 15 + 0.
        assert_eq!(features.priority(), 70);
        // Two chains cost 5, a rollback brings 5 back; a nearly spent budget costs 15, an ample one brings 10.
        assert_eq!(
            Features {
                chains: 2,
                ..features
            }
            .priority(),
            65
        );
        assert_eq!(
            Features {
                rollback: true,
                ..features
            }
            .priority(),
            75
        );
        assert_eq!(
            Features {
                left: (0.04, 800),
                ..features
            }
            .priority(),
            55
        );
        assert_eq!(
            Features {
                left: (0.25, 8_192),
                ..features
            }
            .priority(),
            80
        );
        // 55 + 30 + 10 + 5 = 100: the most there is.
        let best = Features {
            tokens: 64_000,
            left: (0.5, 64_000),
            rollback: true,
            ..features
        };
        assert_eq!(best.priority(), 100);
    }
}
