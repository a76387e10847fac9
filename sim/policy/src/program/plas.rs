//! PLAS: programs that have had the least service go first, in a few queues; who has waited too long goes to the first.
//!
//! Source: Autellix (Luo et al., 2025); the constants are those of MARS's port.

use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{Cadence, Nanos, OrderKey, Phase, SessionId, Tokens, View};
use std::cmp::Reverse;

pub(crate) const ENTRY: Entry = Entry {
    name: "plas",
    summary: "Autellix: least attained service first, four queues, anti-starvation; KV as vLLM",
    family: Family::Program,
    about: "A session's level is given by the tokens computed for it so far: it falls from queue to queue at three thresholds, and within a queue it is first come, first served. \
            The higher the level, the smaller the chunk of its prompt that a step may compute. A session that has waited for `beta` times its time in service is promoted to \
            the first queue. A turn that cannot grow preempts the running one of the highest level, of those the one with most blocks. KV is treated as vLLM treats it.",
    formula: "level = thresholds <= tokens served (2,048, 8,192, 32,768)\n\
              level = 0 if waited / served >= beta\n\
              chunk = 2,048, 1,024, 512, 256 tokens by level; preempt max (level, blocks, arrival)",
    source: "Autellix, arXiv 2502.13965, known from memory; constants of the port in Afterglow231/MARS_preview at 7e649f3 (Apache-2.0).",
    caveats: "A call that has used up its quantum is not preempted for that: the quanta limit the chunks of a prompt. Promotion is looked at once per period and at each \
              event of the session. It knows nothing of where KV is, and can thrash. ATLAS, the variant for graphs of calls, and the load balancer are left out.",
    grows: "",
    provenance: Provenance::Reconstructed,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        Param {
            key: "level_1_tokens",
            default: 2_048.0,
            min: 1.0,
            max: 1e9,
            help: "service from which a session is in the second queue; the port's",
        },
        Param {
            key: "level_2_tokens",
            default: 8_192.0,
            min: 1.0,
            max: 1e9,
            help: "service from which it is in the third; the port's",
        },
        Param {
            key: "level_3_tokens",
            default: 32_768.0,
            min: 1.0,
            max: 1e9,
            help: "service from which it is in the last; the port's",
        },
        Param {
            key: "beta",
            default: 2.0,
            min: 0.0,
            max: 1e6,
            help: "time waited over time served from which a session is promoted; the port's",
        },
        Param {
            key: "period_s",
            default: 1.0,
            min: 0.001,
            max: 3600.0,
            help: "how often promotions are looked for; chosen, at every schedule in the original",
        },
    ],
    build: |params, _| {
        Box::new(Plas {
            thresholds: ["level_1_tokens", "level_2_tokens", "level_3_tokens"]
                .map(|key| params.get(key) as u32),
            beta: params.get("beta"),
            period: params.secs("period_s"),
        })
    },
};

/// Prompt tokens per step, by level.
const QUANTA: [u32; 4] = [2_048, 1_024, 512, 256];

struct Plas {
    /// Tokens of service at which a program falls to the next queue.
    thresholds: [u32; 3],
    beta: f64,
    period: Nanos,
}

impl Plas {
    fn level(&self, service: Tokens, waited: Nanos, served: Nanos) -> usize {
        let starved = served > Nanos::ZERO && waited.0 as f64 >= self.beta * served.0 as f64;
        if starved {
            return 0;
        }
        self.thresholds
            .iter()
            .filter(|&&at| service.0 >= at)
            .count()
    }

    fn level_of(&self, view: &View<'_>, session: SessionId) -> usize {
        let seen = view.session(session);
        let queued = match seen.phase {
            Phase::Queued => view.now.since(seen.queued_since),
            _ => Nanos::ZERO,
        };
        self.level(seen.service, seen.waited + queued, seen.served)
    }
}

impl Policy for Plas {
    fn cadence(&self) -> Cadence {
        Cadence::Every(self.period)
    }

    fn order(&self, view: &View<'_>, session: SessionId) -> OrderKey {
        OrderKey::by(self.level_of(view, session) as i64)
    }

    fn chunk(&self, view: &View<'_>, session: SessionId) -> Tokens {
        Tokens(QUANTA[self.level_of(view, session)])
    }

    fn preempt(&self, view: &View<'_>, _: SessionId) -> Option<SessionId> {
        let rank = |&s: &SessionId| {
            let seen = view.session(s);
            (
                self.level_of(view, s),
                seen.computed,
                seen.arrived,
                Reverse(s),
            )
        };
        view.batch.iter().copied().max_by_key(rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_demotes_and_waiting_promotes() {
        let plas = Plas {
            thresholds: [2_048, 8_192, 32_768],
            beta: 2.0,
            period: Nanos::from_millis(1_000),
        };
        let level = |tokens, waited_s: u64, served_s: u64| {
            plas.level(
                Tokens(tokens),
                Nanos::from_millis(1_000 * waited_s),
                Nanos::from_millis(1_000 * served_s),
            )
        };
        assert_eq!(
            [0, 2_047, 2_048, 8_192, 32_768].map(|tokens| level(tokens, 0, 1)),
            [0, 0, 1, 2, 3]
        );
        // 20 s of waiting are 2 times 10 s of service.
        assert_eq!((level(40_000, 19, 10), level(40_000, 20, 10)), (3, 0));
        // A program that has not been served is in the first queue anyway.
        assert_eq!(level(0, 50, 0), 0);
    }
}
