//! Ski rental with a prediction that may be wrong: hold longer if the wait is predicted short, and shorter if it is predicted long.
//!
//! Source: Purohit, Svitkina and Kumar, NeurIPS 2018.

use super::ski::PRICE;
use crate::parts::{break_even, cheaper_exit, hold_for};
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{Nanos, Retention, SessionId, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "ski-predicted",
    summary: "ski rental that leans on the expected return as far as `trust` says",
    family: Family::Retention,
    about: "As ski, but where an expected return is known it moves the break-even point: if the wait is predicted to outlast B/price, the session is held \
            only for l times that long, otherwise for 1/l times that long. l near 0 follows the prediction, l = 1 ignores it. With a right prediction the cost is at \
            most 1 + l times the optimum, with any prediction at most 1 + 1/l times. Without one it is ski.",
    formula: "tau = l B/price if the predicted wait >= B/price, else B/(l price)\n\
              consistency 1 + l, robustness 1 + 1/l",
    source: "Purohit, Svitkina, Kumar, Improving Online Algorithms via ML Predictions, NeurIPS 2018; cited from memory.",
    caveats: "The bounds hold for one session at a fixed price. B is as in ski.",
    grows: "",
    provenance: Provenance::Own,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        PRICE,
        Param {
            key: "l",
            default: 0.5,
            min: 0.01,
            max: 1.0,
            help: "distrust of the prediction: 1 ignores it, near 0 follows it; chosen",
        },
    ],
    build: |params, _| {
        Box::new(SkiPredicted {
            price: params.get("price"),
            distrust: params.get("l"),
        })
    },
};

struct SkiPredicted {
    price: f64,
    /// lambda of the paper, in (0, 1].
    distrust: f64,
}

impl SkiPredicted {
    fn ttl(&self, lost_s: f64, predicted: Option<Nanos>) -> Nanos {
        let even = break_even(lost_s, self.price);
        match predicted {
            None => even,
            Some(_) if even == Nanos::MAX => even,
            Some(wait) if wait >= even => Nanos::from_secs_f64(self.distrust * even.as_secs_f64()),
            Some(_) => Nanos::from_secs_f64(even.as_secs_f64() / self.distrust),
        }
    }
}

impl Policy for SkiPredicted {
    fn on_idle(&self, view: &View<'_>, session: SessionId) -> Retention {
        let seen = view.session(session);
        let predicted = seen.hint.map(|hint| hint.returns_at.since(seen.idle_since));
        let (lost_s, exit) = cheaper_exit(view, session);
        hold_for(view, session, self.ttl(lost_s, predicted), exit)
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_moves_the_break_even_point() {
        let policy = SkiPredicted {
            price: 2.0,
            distrust: 0.5,
        };
        // B = 4 s at a price of 2: break-even at 2 s. Predicted 2 s or longer: 0.5·2 = 1 s. Shorter: 2/0.5 = 4 s. Unknown: 2 s.
        let ttl = |ms: u64| policy.ttl(4.0, Some(Nanos::from_millis(ms)));
        assert_eq!(ttl(2_000), Nanos::from_millis(1_000));
        assert_eq!(ttl(1_999), Nanos::from_millis(4_000));
        assert_eq!(policy.ttl(4.0, None), Nanos::from_millis(2_000));
    }

    #[test]
    fn without_trust_it_is_ski_rental() {
        let policy = SkiPredicted {
            price: 1.0,
            distrust: 1.0,
        };
        for ms in [0, 3_999, 4_000, 60_000] {
            assert_eq!(
                policy.ttl(4.0, Some(Nanos::from_millis(ms))),
                Nanos::from_millis(4_000)
            );
        }
    }
}
