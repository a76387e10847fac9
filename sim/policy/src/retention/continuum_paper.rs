//! Continuum as its paper has it: the time to live that maximises the probability of a return, times what residency saves, less the time held.

use crate::parts::{Benefit, Sample, Waits, by_class_then_arrival, eq2, hold_for};
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{Blocks, Event, Nanos, OrderKey, Retention, SessionId, Then, Tokens, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "continuum-paper",
    summary: "hold for argmax F(tau)·B - tau over the tool's past durations (Eq. 2)",
    family: Family::Retention,
    about: "When a turn ends, B estimates how many seconds it would save to find the KV again: the mean queueing delay of turns that came back to \
            find theirs evicted, times eta, and the time to compute the context again. eta says how well the number of turns so far foretells the number \
            to come. The session is pinned for the observed duration of its tool that maximises F(tau)·B - tau. With few samples of the tool all tools count; \
            with few samples at all, durations are taken as exponential with mean 1 s, so that tau = ln B. Preempted turns run first, then those with a \
            pin, then by arrival of the session. A pin does not expire while its session's next turn is queued. If pins block everybody, the latest session's is broken.",
    formula: "B = Tq eta + T_fwd(C), eta = -Corr(k, N - k)\n\
              tau = argmax over 0 and the observed durations of F(tau) B - tau\n\
              all samples <= K: tau = ln B if B > 1, else 0; samples of the tool <= K: F of all tools",
    source: "Continuum (CacheTTL), arXiv 2511.02230 v6; the code that was released differs (continuum-release).",
    caveats: "Known here through notes on the paper. Over how many delays Tq is averaged is not said there: queue_window is chosen. Eq. 2 charges all of \
              tau even when the tool returns early, so that it holds shorter than the expected cost would have it (hazard-ttl). A turn with rewritten history counts as \
              evicted. Its cost grows with the samples kept, not with the sessions.",
    grows: "",
    provenance: Provenance::Paper,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        Param {
            key: "samples_min",
            default: 100.0,
            min: 0.0,
            max: 1e6,
            help: "K: up to so many samples a distribution counts as unknown; the paper's",
        },
        Param {
            key: "queue_window",
            default: 200.0,
            min: 1.0,
            max: 1e6,
            help: "evicted turns over which Tq is averaged; the port's, unspecified in the paper",
        },
        Param {
            key: "samples_max",
            default: 1000.0,
            min: 1.0,
            max: 1e6,
            help: "durations kept per tool; chosen, unbounded in the paper",
        },
    ],
    build: |params, _| {
        Box::new(Continuum {
            samples_min: params.get("samples_min") as usize,
            waits: Waits::new(params.get("samples_max") as usize),
            benefit: Benefit::new(params.get("queue_window") as usize),
        })
    },
};

struct Continuum {
    samples_min: usize,
    waits: Waits,
    benefit: Benefit,
}

impl Continuum {
    /// `past`: durations of the tool that is waited for, if it is known.
    fn ttl(&self, past: Option<&Sample>, benefit_s: f64) -> Nanos {
        let all = self.waits.all();
        if all.len() <= self.samples_min {
            // F = 1 - e^-tau: the reward's derivative B e^-tau - 1 vanishes at ln B.
            return Nanos::from_secs_f64(libm::log(benefit_s));
        }
        let known = past.filter(|past| past.len() > self.samples_min);
        eq2(known.unwrap_or(all).sorted(), benefit_s)
    }
}

impl Policy for Continuum {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        self.waits.observe(view, event);
        self.benefit.observe(view, event);
    }

    fn on_idle(&self, view: &View<'_>, session: SessionId) -> Retention {
        let seen = view.session(session);
        let reload = view.prefill_time(seen.context, Tokens::ZERO);
        let benefit = self.benefit.seconds(reload.as_secs_f64());
        let past = seen.signalled.then(|| self.waits.of(seen.tool)).flatten();
        hold_for(view, session, self.ttl(past, benefit), Then::Release)
    }

    fn order(&self, view: &View<'_>, session: SessionId) -> OrderKey {
        let seen = view.session(session);
        let class = match (seen.preempted, seen.hbm_blocks) {
            (true, _) => 0,
            (false, Blocks(1..)) => 1,
            (false, Blocks(0)) => 2,
        };
        by_class_then_arrival(view, session, class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ToolClass;

    fn policy(samples_min: usize) -> Continuum {
        let mut waits = Waits::new(1_000);
        for ms in [500, 500, 1_000, 2_000, 8_000] {
            waits.learn(Some(ToolClass(0)), Nanos::from_millis(ms));
        }
        Continuum {
            samples_min,
            waits,
            benefit: Benefit::new(10),
        }
    }

    #[test]
    fn the_reward_is_largest_at_one_second() {
        // B = 4: rewards 0, 1.1, 1.4, 1.2, -4 at 0, 0.5, 1, 2, 8 s.
        let policy = policy(0);
        let past = policy.waits.of(ToolClass(0));
        assert_eq!(policy.ttl(past, 4.0), Nanos::from_millis(1_000));
        // A tool without samples of its own counts as any.
        assert_eq!(policy.ttl(None, 4.0), Nanos::from_millis(1_000));
    }

    #[test]
    fn a_cold_start_takes_durations_for_exponential() {
        // ln 4 = 1.386294361 s.
        assert_eq!(policy(100).ttl(None, 4.0), Nanos(1_386_294_361));
        assert_eq!(policy(100).ttl(None, 1.0), Nanos::ZERO);
        assert_eq!(policy(100).ttl(None, 0.0), Nanos::ZERO);
    }
}
