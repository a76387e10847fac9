//! KVCache in the wild: evict what its category's past says is least likely to be used again while it would live.
//!
//! Source: "KVCache Cache in the Wild", USENIX ATC 2025.

use crate::parts::{Waits, take_until};
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{Blocks, Event, Nanos, Need, Release, Retention, SessionId, Then, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "wild",
    summary: "evict by probability of reuse within the expected life, fitted per tool class",
    family: Family::Hierarchy,
    about: "The time until content is used again is taken for exponential within each category of work, with the mean of its past. When memory is short, waiting sessions are ranked by the \
            probability that they return within a given life, the least likely first, and of equals the longest idle; they go to the prefix cache, whose free queue gives up tails before heads. \
            A category without a past ranks last, as if it returned at once.",
    formula: "P(reuse) = 1 - exp(-life_s / mean(category)); evict min (P, idle since)",
    source: "KVCache Cache in the Wild, USENIX ATC 2025, arXiv 2506.02634, known here through notes.",
    caveats: "Categories are tool classes here. The expected life of a block is a parameter, where the paper measures it. The exponential has no memory, so that a session's own idle time does not change its rank. Whether the \
              paper's gain in hits is in points or per cent was not re-checked. Ranks every held session when memory is short: its cost grows with their number.",
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

    fn on_idle(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::keep()
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }

    fn victims(&self, view: &View<'_>, need: Blocks, _: Need) -> Vec<Release> {
        let rank = |&(since, session): &(_, SessionId)| {
            let seen = view.session(session);
            let past = seen.signalled.then(|| self.waits.of(seen.tool)).flatten();
            let mean = past.and_then(crate::parts::Sample::mean_s);
            (self.reuse(mean), since, session)
        };
        let mut ranked: Vec<_> = view.idle_by_age.iter().map(rank).collect();
        ranked.sort_by(|(p, a, s), (q, b, t)| p.total_cmp(q).then((a, s).cmp(&(b, t))));
        take_until(view, ranked.into_iter().map(|(_, _, s)| s), need, |_, _| {
            Some(Then::Release)
        })
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
