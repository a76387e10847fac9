//! Hazard TTL: the holding time of least expected cost, by the tool's own past.
//!
//! Holding pays while the probability of a return within the next moment outweighs the price of that moment: h(t) > price / B.

use super::ski::PRICE;
use crate::parts::{Sample, Waits, break_even, cheaper_exit, expected_cost, hold_for};
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{Event, Nanos, Retention, SessionId, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "hazard-ttl",
    summary: "hold for the time of least expected cost over the tool's past durations",
    family: Family::Retention,
    about: "To lose a session's KV costs B seconds at its return, to hold it `price` per second until it returns or leaves. Over the observed durations of its tool, \
            the session is held for the time at which the expected sum of both is least, and then leaves by the cheaper way (host or recomputation). \
            Unlike Continuum's Eq. 2 it charges only the time that was held: it compares the hazard of a return, not its density, with price/B. \
            While a tool has few samples all tools count; while there are few at all, it is ski.",
    formula: "tau = argmin price E[min(T, tau)] + B (1 - F(tau)): hold while h(t) = f/(1 - F) > price/B",
    source: "This project, after the ski-rental view of all single-interval rules; the optimal-stopping condition is textbook.",
    caveats: "Optimal for one session at a fixed price and a distribution that does not change. B is as in ski: it leaves out the queue at the return. Its cost grows with the \
              samples kept, not with the sessions.",
    grows: "",
    provenance: Provenance::Own,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        PRICE,
        Param {
            key: "samples_min",
            default: 20.0,
            min: 1.0,
            max: 1e6,
            help: "with fewer samples a distribution counts as unknown; chosen",
        },
        Param {
            key: "samples_max",
            default: 500.0,
            min: 1.0,
            max: 1e6,
            help: "durations kept per tool, the latest; chosen",
        },
    ],
    build: |params, _| {
        Box::new(HazardTtl {
            price: params.get("price"),
            samples_min: params.get("samples_min") as usize,
            waits: Waits::new(params.get("samples_max") as usize),
        })
    },
};

struct HazardTtl {
    price: f64,
    samples_min: usize,
    waits: Waits,
}

impl HazardTtl {
    /// `past`: durations of the tool that is waited for, if it is known.
    fn ttl(&self, past: Option<&Sample>, lost_s: f64) -> Nanos {
        let enough = |sample: &&Sample| sample.len() >= self.samples_min;
        let all = Some(self.waits.all());
        match past.filter(enough).or(all.filter(enough)) {
            Some(sample) => expected_cost(sample.sorted(), lost_s, self.price),
            None => break_even(lost_s, self.price),
        }
    }
}

impl Policy for HazardTtl {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        self.waits.observe(view, event);
    }

    fn on_idle(&self, view: &View<'_>, session: SessionId) -> Retention {
        let seen = view.session(session);
        let past = seen.signalled.then(|| self.waits.of(seen.tool)).flatten();
        let (lost_s, exit) = cheaper_exit(view, session);
        hold_for(view, session, self.ttl(past, lost_s), exit)
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ToolClass;

    #[test]
    fn it_holds_longer_than_eq_2_where_the_tool_may_return_early() {
        let mut policy = HazardTtl {
            price: 1.0,
            samples_min: 5,
            waits: Waits::new(500),
        };
        for ms in [500, 500, 1_000, 2_000] {
            policy
                .waits
                .learn(Some(ToolClass(0)), Nanos::from_millis(ms));
        }
        // Four samples are too few: break-even at B = 4 s.
        assert_eq!(
            policy.ttl(policy.waits.of(ToolClass(0)), 4.0),
            Nanos::from_millis(4_000)
        );
        policy
            .waits
            .learn(Some(ToolClass(0)), Nanos::from_millis(8_000));
        // Costs 4, 2.9, 2.4, 2.0, 2.4 at 0, 0.5, 1, 2, 8 s: two seconds, where Eq. 2 takes one.
        assert_eq!(
            policy.ttl(policy.waits.of(ToolClass(0)), 4.0),
            Nanos::from_millis(2_000)
        );
        // Of a tool that has no samples, all tools speak.
        assert_eq!(policy.ttl(None, 4.0), Nanos::from_millis(2_000));
    }
}
