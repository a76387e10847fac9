//! InferCept as MARS's testbed ported it: a pin whose length is the waste of dropping over the waste of holding.

use crate::parts::hold_for;
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{Nanos, Retention, SessionId, Then, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "infercept-pin",
    summary: "MARS's port of InferCept: hold for T_fwd(C)(C + C_other)/(2C), then release",
    family: Family::Retention,
    about: "When a turn ends, its session is held for the time after which holding its C tokens has wasted as much as computing them again would, \
            beside C_other tokens of the running batch. Then it is released to the prefix cache. Nothing is swapped, and nothing is \
            revised while the tool runs.",
    formula: "tau = T_fwd(C) (C + C_other) / (2 C)",
    source: "Afterglow231/MARS_preview at 7e649f3 (Apache-2.0), its port of InferCept.",
    caveats: "Not InferCept: there is no swap tier and no weighing at each step. T_fwd is the port's default of 0.2 ms per token, whatever the machine.",
    grows: "",
    provenance: Provenance::Release,
    needs: Needs::Nothing,
    listens: true,
    params: &[Param {
        key: "prefill_us",
        default: 200.0,
        min: 0.0,
        max: 1e6,
        help: "T_fwd per token: the port's default",
    }],
    build: |params, _| {
        Box::new(InferceptPin {
            prefill_s: params.get("prefill_us") / 1e6,
        })
    },
};

struct InferceptPin {
    prefill_s: f64,
}

impl InferceptPin {
    fn ttl(&self, context: u32, others: u64) -> Nanos {
        let forward = self.prefill_s * f64::from(context);
        let total = f64::from(context) + others as f64;
        Nanos::from_secs_f64(forward * total / (2.0 * f64::from(context.max(1))))
    }
}

impl Policy for InferceptPin {
    fn on_idle(&self, view: &View<'_>, session: SessionId) -> Retention {
        let context = view.session(session).context.0;
        let ttl = self.ttl(context, view.batch_tokens);
        hold_for(view, session, ttl, Then::Release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_lasts_until_holding_has_wasted_what_dropping_would() {
        // T_fwd = 8,192 x 0.0002 s = 1.6384 s; tau = 1.6384 (8,192 + 24,576) / (2 x 8,192) = 3.2768 s.
        let policy = InferceptPin { prefill_s: 0.0002 };
        assert_eq!(policy.ttl(8_192, 24_576), Nanos(3_276_800_000));
        assert_eq!(policy.ttl(0, 24_576), Nanos::ZERO);
    }
}
