//! CONCUR: congestion control for agents. The number that may run grows by one while the cache copes, and halves when it does not.

use crate::parts::utilisation;
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{Admission, Cadence, Event, Nanos, Phase, SessionId, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "concur",
    summary: "additive increase, multiplicative decrease of admitted agents, by hit rate and use",
    family: Family::Program,
    about: "A window limits how many sessions are admitted at once, waiting for tools included. Once per period it looks at HBM's utilisation and the hit rate of that period: while utilisation is \
            high and hits are low the window shrinks to a share, else it grows by a constant. A session beyond the window is withheld when its next turn becomes ready, and \
            let in when the window has room, the longest withheld first. KV is treated as vLLM treats it.",
    formula: "u > used_max and hit rate < hit_min: W <- max(1, W x decrease)\n\
              else: W <- W + increase\n\
              a turn enters if sessions admitted, its own included, <= W",
    source: "CONCUR, arXiv 2601.22705 (ICML 2026), known here through its abstract and notes.",
    caveats: "Reconstructed: no code was found, and every constant is chosen. That a session already admitted is withheld at its next turn when the window has shrunk is our reading. If the end of sessions is not told, finished ones count for ever.",
    grows: "",
    provenance: Provenance::Reconstructed,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        Param {
            key: "period_s",
            default: 1.0,
            min: 0.001,
            max: 3600.0,
            help: "how often the window is adjusted; chosen",
        },
        Param {
            key: "window",
            default: 8.0,
            min: 1.0,
            max: 1e6,
            help: "sessions admitted at the start; chosen",
        },
        Param {
            key: "increase",
            default: 1.0,
            min: 0.0,
            max: 1e6,
            help: "sessions added per period; chosen",
        },
        Param {
            key: "decrease",
            default: 0.5,
            min: 0.0,
            max: 1.0,
            help: "share of the window that is left after congestion; chosen",
        },
        Param {
            key: "used_max",
            default: 0.9,
            min: 0.0,
            max: 1.0,
            help: "utilisation of HBM, cached blocks counted as free, above which misses mean congestion; chosen",
        },
        Param {
            key: "hit_min",
            default: 0.5,
            min: 0.0,
            max: 1.0,
            help: "hit rate below which it is congested; chosen",
        },
    ],
    build: |params, _| {
        Box::new(Concur {
            period: params.secs("period_s"),
            window: params.get("window"),
            increase: params.get("increase"),
            decrease: params.get("decrease"),
            used_max: params.get("used_max"),
            hit_min: params.get("hit_min"),
            alive: 0,
        })
    },
};

struct Concur {
    period: Nanos,
    /// Sessions that may be admitted at once.
    window: f64,
    increase: f64,
    decrease: f64,
    used_max: f64,
    hit_min: f64,
    /// Sessions that have begun and not ended.
    alive: u32,
}

impl Concur {
    fn adjust(&mut self, used: f64, hit_rate: Option<f64>) {
        let misses = hit_rate.is_some_and(|rate| rate < self.hit_min);
        self.window = if used > self.used_max && misses {
            (self.window * self.decrease).max(1.0)
        } else {
            self.window + self.increase
        };
    }
}

impl Policy for Concur {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        match event {
            Event::Started(_) => self.alive += 1,
            Event::Ended(_) => self.alive -= 1,
            // A window that nobody fills does not grow.
            Event::Tick(report) => {
                let admitted = f64::from(self.alive) - view.held.len() as f64;
                let used = utilisation(view);
                if admitted + 1.0 >= self.window || used > self.used_max {
                    self.adjust(used, report.hit_rate());
                }
            }
            _ => {}
        }
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every(self.period)
    }

    fn admit(&self, view: &View<'_>, session: SessionId) -> Admission {
        let held = view.session(session).phase == Phase::Held;
        let admitted = f64::from(self.alive) - view.held.len() as f64 + f64::from(u8::from(held));
        if admitted <= self.window {
            Admission::Enter
        } else {
            Admission::Hold
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_grows_by_one_and_halves() {
        let mut concur = Concur {
            period: Nanos::from_millis(1_000),
            window: 8.0,
            increase: 1.0,
            decrease: 0.5,
            used_max: 0.9,
            hit_min: 0.5,
            alive: 0,
        };
        let after = |concur: &mut Concur, used, rate| {
            concur.adjust(used, rate);
            concur.window
        };
        // Full and missing: 8 / 2. Full, but it hits: + 1. Room: + 1. Nothing was asked for: + 1.
        assert!((after(&mut concur, 0.95, Some(0.4)) - 4.0).abs() < 1e-9);
        assert!((after(&mut concur, 0.95, Some(0.6)) - 5.0).abs() < 1e-9);
        assert!((after(&mut concur, 0.5, Some(0.1)) - 6.0).abs() < 1e-9);
        assert!((after(&mut concur, 0.95, None) - 7.0).abs() < 1e-9);
        for _ in 0..5 {
            concur.adjust(1.0, Some(0.0));
        }
        assert!((concur.window - 1.0).abs() < 1e-9);
    }
}
