//! Continuum as released: a pin of two seconds for tools that are fast on average.
//!
//! Source: Hanchenli/vllm-continuum at 316a587, a fork of vLLM 0.10.2 (Apache-2.0).

use crate::parts::{Means, by_class_then_arrival, hold_for};
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{
    Blocks, Event, Nanos, Need, OrderKey, Release, Retention, SessionId, Then, Time, View,
};

pub(crate) const ENTRY: Entry = Entry {
    name: "continuum-release",
    summary: "pin for 2 s if the tool's mean is at most 2 s or unknown; pinned sessions run first",
    family: Family::Retention,
    about: "A session that waits is pinned for two seconds, provided that its tool has taken no more than two seconds on average, or nothing is known \
            of it; any other is released at once. A pin lasts until it expires or the session's next turn runs. Turns of pinned sessions go \
            first, then those of sessions that came first. A turn that cannot grow preempts the session that entered last. While no more than one turn runs, \
            the pin that would end last is given up to whoever lacks memory.",
    formula: "tau = 2 s if mean(tool) <= 2 s or unknown, else 0",
    source: "Hanchenli/vllm-continuum at 316a587 (fork of vLLM 0.10.2, Apache-2.0); paper: Continuum, arXiv 2511.02230.",
    caveats: "Not the paper's Eq. 2: no duration is ever weighed against a benefit. The release spares a job on its last step from preemption; a server \
              here is not told which step is the last.",
    grows: "",
    provenance: Provenance::Release,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        Param {
            key: "pin_s",
            default: 2.0,
            min: 0.0,
            max: 86_400.0,
            help: "length of a pin; the release's constant",
        },
        Param {
            key: "mean_max_s",
            default: 2.0,
            min: 0.0,
            max: 86_400.0,
            help: "tools that are slower on average are not pinned for; the release's constant",
        },
        Param {
            key: "session_order",
            default: 1.0,
            min: 0.0,
            max: 1.0,
            help: "whether pinned sessions go first, then those that came first, as in the release; `no` leaves turns in the order in which they \
                   become ready, as vLLM does, to tell what the pin does from what the order does",
        },
    ],
    build: |params, _| {
        Box::new(Continuum {
            pin: params.secs("pin_s"),
            mean_max_s: params.get("mean_max_s"),
            session_order: params.get("session_order") >= 0.5,
            means: Means::default(),
        })
    },
};

struct Continuum {
    pin: Nanos,
    mean_max_s: f64,
    session_order: bool,
    means: Means,
}

impl Continuum {
    /// `mean_s`: of the tool that is waited for, if known.
    fn ttl(&self, mean_s: Option<f64>) -> Nanos {
        match mean_s {
            Some(mean) if mean > self.mean_max_s => Nanos::ZERO,
            _ => self.pin,
        }
    }
}

impl Policy for Continuum {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        self.means.observe(view, event);
    }

    fn on_idle(&self, view: &View<'_>, session: SessionId) -> Retention {
        let seen = view.session(session);
        let mean = seen.signalled.then(|| self.means.of(seen.tool)).flatten();
        let ttl = self.ttl(mean);
        hold_for(view, session, ttl, Then::Release)
    }

    fn order(&self, view: &View<'_>, session: SessionId) -> OrderKey {
        if !self.session_order {
            return OrderKey::FCFS;
        }
        let pinned = view.session(session).hbm_blocks > Blocks::ZERO;
        by_class_then_arrival(view, session, i64::from(!pinned))
    }

    fn preempt(&self, view: &View<'_>, _: SessionId) -> Option<SessionId> {
        let latest = |&s: &SessionId| (view.session(s).arrived, s);
        view.batch.iter().copied().max_by_key(latest)
    }

    fn victims(&self, view: &View<'_>, _: Blocks, _: Need) -> Vec<Release> {
        if view.running > 1 {
            return Vec::new();
        }
        let last = view
            .idle_by_pin_end
            .last()
            .filter(|&(end, _)| end != Time::NEVER);
        let release = |(_, session)| Release {
            session,
            how: Then::Release,
        };
        last.map(release).into_iter().collect()
    }

    fn break_pin(&self, view: &View<'_>) -> Option<SessionId> {
        view.idle_by_pin_end.last().map(|(_, session)| session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ToolClass;

    #[test]
    fn tools_that_are_slow_on_average_get_no_pin() {
        let mut policy = Continuum {
            pin: Nanos::from_millis(2_000),
            mean_max_s: 2.0,
            session_order: true,
            means: Means::default(),
        };
        let tool = ToolClass(0);
        assert_eq!(policy.ttl(policy.means.of(tool)), Nanos::from_millis(2_000));
        for ms in [500, 500, 1_000, 2_000] {
            policy.means.learn(tool, Nanos::from_millis(ms));
        }
        // 4 / 4 = 1 s.
        assert_eq!(policy.ttl(policy.means.of(tool)), Nanos::from_millis(2_000));
        policy.means.learn(tool, Nanos::from_millis(8_000));
        // 12 / 5 = 2.4 s, more than 2.
        assert_eq!(policy.ttl(policy.means.of(tool)), Nanos::ZERO);
    }
}
