//! SAGA: a time to live from the tool's past, shorter under pressure, and eviction by recency, reuse and size.

use crate::parts::{Waiting, hold_for, oldest_first, take_until, utilisation};
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{
    Blocks, Event, Nanos, Need, OrderKey, Release, Retention, SessionId, Then, ToolClass, View,
};

pub(crate) const ENTRY: Entry = Entry {
    name: "saga",
    summary: "pin to the tool's 95 % quantile, shrunk by pressure; evict by recency, reuse, size",
    family: Family::Retention,
    about: "Durations of each tool are taken for lognormal, with moving averages of their logarithm and its square. A waiting session is pinned for the 95 % quantile \
            of its tool, shrunk by up to half while HBM is between 70 and 90 % full. When memory is short, the pinned session with the highest score goes to the prefix \
            cache: a weighted sum of how long it has been idle, how unlikely its reuse is, and how large it is. Sessions that have had the least service run first.",
    formula: "tau = min(cap, exp(mu + 1.645 sigma) (1 - 0.5 m)), m = clip((u - 0.7)/0.2, 0, 1)\n\
              score = alpha R + beta (1 - P_reuse) + gamma S, P_reuse = cached / (cached + E[observation])",
    source: "SAGA, arXiv 2605.00528 (HPDC 2026), known here through its abstract and a third party's reimplementation.",
    caveats: "Reconstructed: the official code was not found. The weights, the moving average's and the pin of a tool without history are chosen. A signalled wait always leads to another \
              turn, so that the sum over successors is 1 here; session affinity and work stealing need several machines. Agent Fair Share is read as least service first.",
    grows: "Scores every pinned session when memory is short.",
    provenance: Provenance::Reconstructed,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        Param {
            key: "alpha",
            default: 0.4,
            min: 0.0,
            max: 1.0,
            help: "weight of recency; chosen",
        },
        Param {
            key: "beta",
            default: 0.4,
            min: 0.0,
            max: 1.0,
            help: "weight of unlikely reuse; chosen",
        },
        Param {
            key: "gamma",
            default: 0.2,
            min: 0.0,
            max: 1.0,
            help: "weight of size; chosen",
        },
        Param {
            key: "cap_s",
            default: 300.0,
            min: 0.0,
            max: 86_400.0,
            help: "longest pin; published",
        },
        Param {
            key: "cold_s",
            default: 2.0,
            min: 0.0,
            max: 86_400.0,
            help: "pin of a tool without history; chosen",
        },
        Param {
            key: "ema_alpha",
            default: 0.3,
            min: 0.001,
            max: 1.0,
            help: "weight of the latest duration; chosen",
        },
    ],
    build: |params, _| {
        let ema = params.get("ema_alpha");
        Box::new(Saga {
            weights: [params.get("alpha"), params.get("beta"), params.get("gamma")],
            cap_s: params.get("cap_s"),
            cold_s: params.get("cold_s"),
            ema,
            tools: Vec::new(),
            waiting: Waiting::default(),
        })
    },
};

/// z of the 95 % quantile of a normal distribution.
const Z95: f64 = 1.644_853_626_951;

/// Moving averages of one tool.
#[derive(Clone, Copy, Debug)]
struct Tool {
    /// Of ln T, T in seconds.
    log: f64,
    /// Of its square.
    log_squared: f64,
    /// Of the tokens that its result appends.
    observation: f64,
}

struct Saga {
    weights: [f64; 3],
    cap_s: f64,
    cold_s: f64,
    ema: f64,
    tools: Vec<Option<Tool>>,
    waiting: Waiting,
}

impl Saga {
    fn tool(&self, tool: ToolClass) -> Option<Tool> {
        self.tools.get(tool.index()).copied().flatten()
    }

    fn learn(&mut self, tool: ToolClass, waited: Nanos, appended: u32) {
        // A wait of no time counts as a microsecond: its logarithm must exist.
        let log = libm::log(waited.as_secs_f64().max(1e-6));
        let new = Tool {
            log,
            log_squared: log * log,
            observation: f64::from(appended),
        };
        if self.tools.len() <= tool.index() {
            self.tools.resize(tool.index() + 1, None);
        }
        let mix = |old: f64, new: f64| self.ema * new + (1.0 - self.ema) * old;
        let slot = &mut self.tools[tool.index()];
        *slot = Some(slot.map_or(new, |old| Tool {
            log: mix(old.log, new.log),
            log_squared: mix(old.log_squared, new.log_squared),
            observation: mix(old.observation, new.observation),
        }));
    }

    /// Seconds to pin for, with HBM used to the share `used`.
    fn ttl_s(&self, tool: Option<Tool>, used: f64) -> f64 {
        let quantile = tool.map_or(self.cold_s, |tool| {
            let variance = (tool.log_squared - tool.log * tool.log).max(0.0);
            libm::exp(tool.log + Z95 * variance.sqrt())
        });
        let pressure = ((used - 0.7) / 0.2).clamp(0.0, 1.0);
        (quantile * (1.0 - 0.5 * pressure)).min(self.cap_s)
    }

    /// The higher, the sooner it goes. `oldest_s` and `largest` scale age and size to 1.
    fn score(&self, view: &View<'_>, session: SessionId, oldest_s: f64, largest: f64) -> f64 {
        let seen = view.session(session);
        let age = view.now.since(seen.idle_since).as_secs_f64() / oldest_s.max(1e-9);
        let cached = f64::from(seen.context.0);
        let observation = self.tool(seen.tool).map_or(0.0, |tool| tool.observation);
        let reuse = cached / (cached + observation).max(1.0);
        let size = f64::from(seen.hbm_blocks.0) / largest.max(1.0);
        self.weights[0] * age + self.weights[1] * (1.0 - reuse) + self.weights[2] * size
    }
}

impl Policy for Saga {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        let tool = self.waiting.observe(view, event);
        if let (Some(tool), &Event::Compute(session, waited)) = (tool, event) {
            let seen = view.session(session);
            let appended = seen.prompt.saturating_sub(seen.context);
            self.learn(tool, waited, appended.0);
        }
    }

    fn on_idle(&self, view: &View<'_>, session: SessionId) -> Retention {
        let seen = view.session(session);
        let tool = seen.signalled.then(|| self.tool(seen.tool)).flatten();
        let ttl = Nanos::from_secs_f64(self.ttl_s(tool, utilisation(view)));
        hold_for(view, session, ttl, Then::Release)
    }

    fn victims(&self, view: &View<'_>, need: Blocks, _: Need) -> Vec<Release> {
        let oldest = view
            .idle_by_age
            .first()
            .map(|(since, _)| view.now.since(since));
        let oldest_s = oldest.unwrap_or_default().as_secs_f64();
        let size = |s: SessionId| view.session(s).hbm_blocks.0;
        let largest = f64::from(oldest_first(view).map(size).max().unwrap_or(0));
        let score = |s: SessionId| (self.score(view, s, oldest_s, largest), s);
        let mut scored: Vec<_> = oldest_first(view).map(score).collect();
        scored.sort_by(|(a, s), (b, t)| b.total_cmp(a).then(s.cmp(t)));
        take_until(view, scored.into_iter().map(|(_, s)| s), need, |_, _| {
            Some(Then::Release)
        })
    }

    fn order(&self, view: &View<'_>, session: SessionId) -> OrderKey {
        OrderKey::by(i64::from(view.session(session).service.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saga() -> Saga {
        Saga {
            weights: [0.4, 0.4, 0.2],
            cap_s: 300.0,
            cold_s: 2.0,
            ema: 0.5,
            tools: Vec::new(),
            waiting: Waiting::default(),
        }
    }

    #[test]
    fn a_pin_covers_95_of_100_returns_of_a_lognormal_tool() {
        let mut policy = saga();
        for _ in 0..2 {
            policy.learn(ToolClass(0), Nanos::from_secs_f64(1.0), 100);
            policy.learn(ToolClass(0), Nanos::from_secs_f64(libm::exp(2.0)), 100);
        }
        // ln T = 0, 2, 0, 2 with weight 1/2: means 0, 1, 0.5, 1.25; of squares 0, 2, 1, 2.5. Variance 2.5 - 1.5625 = 0.9375.
        // exp(1.25 + 1.6449·0.96825) = exp(2.84263) = 17.16 s.
        let ttl = policy.ttl_s(policy.tool(ToolClass(0)), 0.5);
        assert!((ttl - 17.16).abs() < 0.005, "{ttl}");
    }

    #[test]
    fn pressure_halves_a_pin_and_nothing_lengthens_it_beyond_the_cap() {
        let policy = saga();
        // u = 0.8 is half of the way from 0.7 to 0.9: 2·(1 - 0.5·0.5) = 1.5 s; from 0.9 on, 1 s.
        assert!((policy.ttl_s(None, 0.8) - 1.5).abs() < 1e-9);
        assert!((policy.ttl_s(None, 0.95) - 1.0).abs() < 1e-9);
        let slow = Tool {
            log: 9.0,
            log_squared: 81.0,
            observation: 0.0,
        };
        // e^9 s is more than two hours.
        assert!((policy.ttl_s(Some(slow), 0.0) - 300.0).abs() < 1e-9);
    }
}
