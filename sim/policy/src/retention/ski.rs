//! Ski rental: hold until holding has cost as much as it was to save.
//!
//! Nothing is known of the wait, and nothing is learned. Source of the bound: Karlin, Manasse, Rudolph and Sleator, Algorithmica 3 (1988).

use crate::parts::{break_even, cheaper_exit, hold_for};
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{Retention, SessionId, View};

/// What a second of holding costs.
pub(super) const PRICE: Param = Param {
    key: "price",
    default: 1.0,
    min: 0.0,
    max: 1e6,
    help: "what holding a session's KV for a second costs, in seconds of delay at its return; 1 takes memory and time for equally dear, 0 holds for ever",
};

pub(crate) const ENTRY: Entry = Entry {
    name: "ski",
    summary: "hold until holding has cost what losing the KV would: break-even, no prediction",
    family: Family::Retention,
    about: "To lose a session's KV costs B seconds at its return: the copy back from the host if there is room for it, or the computation of the context, whichever \
            is less. To hold it costs `price` per second. The session is held until both are equal, and then leaves by the cheaper way. \
            Whatever the wait, that costs at most twice what it would have cost to know it.",
    formula: "tau = B / price, B = min(copy back, T_fwd(C))\n\
              cost(tau) <= 2 min(price T, B)",
    source: "Break-even rule of ski rental: Karlin, Manasse, Rudolph, Sleator, Algorithmica 3, 1988. InferCept with an unknown duration is of this kind.",
    caveats: "The bound holds for one session at a fixed price. B leaves out the queue that a session meets when it returns, and with a fast link it is \
              milliseconds.",
    grows: "",
    provenance: Provenance::Own,
    needs: Needs::Nothing,
    listens: true,
    params: &[PRICE],
    build: |params, _| {
        Box::new(Ski {
            price: params.get("price"),
        })
    },
};

struct Ski {
    price: f64,
}

impl Policy for Ski {
    fn on_idle(&self, view: &View<'_>, session: SessionId) -> Retention {
        let (lost_s, exit) = cheaper_exit(view, session);
        hold_for(view, session, break_even(lost_s, self.price), exit)
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }
}
