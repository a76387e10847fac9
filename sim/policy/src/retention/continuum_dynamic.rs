//! Continuum as MARS's testbed ported it: Eq. 2, with a fixed pin until enough is known.

use crate::parts::{Benefit, Sample, Waits, by_class_then_arrival, eq2, hold_for};
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{Blocks, Event, Nanos, OrderKey, Retention, SessionId, Then, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "continuum-dynamic",
    summary: "MARS's port of Eq. 2: 2 s while cold, no pin for unknown tools or under 10 ms",
    family: Family::Retention,
    about: "Eq. 2 of Continuum's paper with the constants of a port: queueing delays are averaged over the last 200 evicted turns, computing a context again \
            is taken to cost 0.2 ms a token, and until there are enough samples every pin lasts two seconds. A session whose tool is unknown is not \
            pinned, nor is one whose pin would not outlast 10 ms. Turns of pinned sessions go first, then those of sessions that came first.",
    formula: "B = Tq eta + 0.0002 s x C\n\
              tau = argmax F(tau) B - tau; 2 s while cold; 0 if the tool is unknown or tau <= 10 ms",
    source: "Afterglow231/MARS_preview at 7e649f3 (Apache-2.0), its scheduler `continuum_dy`.",
    caveats: "When the port stops being cold was not checked: the paper's K = 100 samples is assumed, counted over all tools. 0.2 ms per token is the port's \
              default for every machine.",
    grows: "",
    provenance: Provenance::Release,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        Param {
            key: "cold_s",
            default: 2.0,
            min: 0.0,
            max: 86_400.0,
            help: "length of a pin while there are too few samples; the port's",
        },
        Param {
            key: "samples_min",
            default: 100.0,
            min: 0.0,
            max: 1e6,
            help: "up to so many samples it is cold; the paper's K, assumed",
        },
        Param {
            key: "queue_window",
            default: 200.0,
            min: 1.0,
            max: 1e6,
            help: "evicted turns over which Tq is averaged; the port's",
        },
        Param {
            key: "prefill_us",
            default: 200.0,
            min: 0.0,
            max: 1e6,
            help: "time to compute a token again; the port's default",
        },
        Param {
            key: "pin_min_ms",
            default: 10.0,
            min: 0.0,
            max: 1e6,
            help: "shorter pins are not set; the port's",
        },
        Param {
            key: "samples_max",
            default: 1000.0,
            min: 1.0,
            max: 1e6,
            help: "durations kept per tool; chosen",
        },
    ],
    build: |params, _| {
        Box::new(Continuum {
            cold: params.secs("cold_s"),
            samples_min: params.get("samples_min") as usize,
            prefill_s: params.get("prefill_us") / 1e6,
            pin_min: params.millis("pin_min_ms"),
            waits: Waits::new(params.get("samples_max") as usize),
            benefit: Benefit::new(params.get("queue_window") as usize),
        })
    },
};

struct Continuum {
    cold: Nanos,
    samples_min: usize,
    prefill_s: f64,
    pin_min: Nanos,
    waits: Waits,
    benefit: Benefit,
}

impl Continuum {
    /// `past`: durations of the tool that is waited for; `None` if it is unknown.
    fn ttl(&self, past: Option<&Sample>, benefit_s: f64) -> Nanos {
        if self.waits.all().len() <= self.samples_min {
            return self.cold;
        }
        let ttl = past.map_or(Nanos::ZERO, |past| eq2(past.sorted(), benefit_s));
        if ttl > self.pin_min { ttl } else { Nanos::ZERO }
    }
}

impl Policy for Continuum {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        self.waits.observe(view, event);
        self.benefit.observe(view, event);
    }

    fn on_idle(&self, view: &View<'_>, session: SessionId) -> Retention {
        let seen = view.session(session);
        if !seen.signalled {
            return Retention::Release;
        }
        let reload = self.prefill_s * f64::from(seen.context.0);
        let benefit = self.benefit.seconds(reload);
        let ttl = self.ttl(self.waits.of(seen.tool), benefit);
        hold_for(view, session, ttl, Then::Release)
    }

    fn order(&self, view: &View<'_>, session: SessionId) -> OrderKey {
        let pinned = view.session(session).hbm_blocks > Blocks::ZERO;
        by_class_then_arrival(view, session, i64::from(!pinned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ToolClass;

    #[test]
    fn until_enough_is_known_every_pin_lasts_two_seconds() {
        let mut policy = Continuum {
            cold: Nanos::from_millis(2_000),
            samples_min: 4,
            prefill_s: 0.0002,
            pin_min: Nanos::from_millis(10),
            waits: Waits::new(1_000),
            benefit: Benefit::new(200),
        };
        for ms in [500, 500, 1_000, 2_000] {
            policy
                .waits
                .learn(Some(ToolClass(0)), Nanos::from_millis(ms));
        }
        let past = |policy: &Continuum| policy.waits.of(ToolClass(0)).cloned();
        assert_eq!(
            policy.ttl(past(&policy).as_ref(), 4.0),
            Nanos::from_millis(2_000)
        );
        policy
            .waits
            .learn(Some(ToolClass(0)), Nanos::from_millis(8_000));
        // Five samples: rewards 0, 1.1, 1.4, 1.2, -4, the largest at 1 s.
        assert_eq!(
            policy.ttl(past(&policy).as_ref(), 4.0),
            Nanos::from_millis(1_000)
        );
        assert_eq!(policy.ttl(None, 4.0), Nanos::ZERO);
    }

    #[test]
    fn a_pin_of_ten_milliseconds_is_not_worth_setting() {
        let mut policy = Continuum {
            cold: Nanos::ZERO,
            samples_min: 0,
            prefill_s: 0.0002,
            pin_min: Nanos::from_millis(10),
            waits: Waits::new(10),
            benefit: Benefit::new(200),
        };
        policy
            .waits
            .learn(Some(ToolClass(0)), Nanos::from_millis(10));
        assert_eq!(policy.ttl(policy.waits.of(ToolClass(0)), 4.0), Nanos::ZERO);
    }
}
