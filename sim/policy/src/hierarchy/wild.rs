//! KVCache in the wild: evict what its category's past says is least likely to be used again while it would live.
//!
//! Source: "KVCache Cache in the Wild", USENIX ATC 2025.

use crate::parts::Waits;
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{Blocks, Event, Nanos, Price, Priced, Retention, SessionId, Time, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "wild",
    summary: "evict by probability of reuse within the expected life, fitted per tool class",
    family: Family::Hierarchy,
    about: "The time until content is used again is taken for exponential within each category of work, with the mean of its past. When a turn ends its KV goes to the prefix cache, at the price of the \
            probability that it is used again within a given life: blocks of the least probability are overwritten first, whosever they are, and of equals the least recently used, tails before heads. \
            A category without a past is priced as if it returned at once.",
    formula: "price = P(reuse) = 1 - exp(-life_s / mean(category)), to six digits; evict the least, then LRU",
    source: "KVCache Cache in the Wild, USENIX ATC 2025, arXiv 2506.02634, known here through notes.",
    caveats: "Categories are tool classes here. The order of eviction by probability is exact, block by block; of blocks with equal probability the paper takes those furthest from the beginning of any context first, and this the \
              tail of the context that is longest unused. A price is fixed when a turn ends: later samples of its category do not change it. The expected life of a block is a parameter, where the paper measures it. The \
              exponential has no memory, so that a session's own idle time does not change its price. Whether the paper's gain in hits is in points or per cent was not re-checked.",
    grows: "",
    provenance: Provenance::Reconstructed,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        Param {
            key: "life_s",
            default: 60.0,
            min: 0.001,
            max: 1e6,
            help: "expected life of a cached block; chosen",
        },
        Param {
            key: "samples_max",
            default: 1000.0,
            min: 1.0,
            max: 1e6,
            help: "durations kept per category, the latest; chosen",
        },
    ],
    build: |params, _| {
        Box::new(Wild {
            life: params.secs("life_s"),
            waits: Waits::new(params.get("samples_max") as usize),
        })
    },
};

struct Wild {
    life: Nanos,
    waits: Waits,
}

impl Wild {
    /// Probability of a return within the expected life of a block.
    fn reuse(&self, mean_s: Option<f64>) -> f64 {
        match mean_s {
            Some(mean) if mean > 0.0 => -libm::expm1(-self.life.as_secs_f64() / mean),
            _ => 1.0,
        }
    }
}

impl Policy for Wild {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        self.waits.observe(view, event);
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }

    fn price(&self, view: &View<'_>, session: SessionId) -> Vec<Priced> {
        let seen = view.session(session);
        let past = seen.signalled.then(|| self.waits.of(seen.tool)).flatten();
        let reuse = self.reuse(past.and_then(crate::parts::Sample::mean_s));
        vec![Priced {
            blocks: Blocks(u32::MAX),
            price: Price(libm::round(reuse * 1e6) as i64),
            until: Time::NEVER,
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_categories_are_less_likely_to_return_in_time() {
        let wild = Wild {
            life: Nanos::from_millis(60_000),
            waits: Waits::new(10),
        };
        // 1 - e^-1 = 0.63212 for a mean of 60 s; 1 - e^-0.1 = 0.09516 for 600 s.
        assert!((wild.reuse(Some(60.0)) - 0.632_120_6).abs() < 1e-7);
        assert!((wild.reuse(Some(600.0)) - 0.095_162_6).abs() < 1e-7);
        assert!((wild.reuse(None) - 1.0).abs() < 1e-12);
    }
}
