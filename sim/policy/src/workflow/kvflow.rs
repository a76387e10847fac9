//! KVFlow: who runs next in the workflow stays; who is many steps away leaves, and comes back a step or two ahead.
//!
//! ```text
//!   steps to execution:   1    2    3   ...  hold_steps   unknown
//!   evicted:            last ◄─────────────────────────── first
//!   prefetched:         up to prefetch_steps
//! ```

use crate::parts::to_host_until;
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{
    Blocks, Direction, Event, Need, Plan, Release, Residence, Retention, SessionId, Time, View,
};
use std::cmp::Reverse;
use std::collections::BTreeSet;

pub(crate) const ENTRY: Entry = Entry {
    name: "kvflow",
    summary: "evict by steps to execution in the workflow, farthest first; prefetch the next steps",
    family: Family::Workflow,
    about: "The client declares the graph of its workflow, so that of each agent it is known how many calls come before its next one. KV stays in HBM; when memory is short, the \
            agents that are the most steps away leave for the host, unknown ones first, then down to those that are next. An agent that is at most `prefetch_steps` away and \
            whose KV is on the host is prefetched, if that displaces nobody who is nearer. A turn whose KV is loading waits for it and lets others pass.",
    formula: "priority = min(steps to execution, hold_steps + 1); unknown: hold_steps + 1\n\
              evict max (priority, time idle); prefetch if steps to execution <= prefetch_steps",
    source: "KVFlow, arXiv 2507.07400 (NeurIPS 2025); PanZaifeng/KVFlow, an overlay on SGLang.",
    caveats: "Steps are calls, without time: a tool of minutes counts like one of milliseconds. Here the graph is that of sub-agents: whoever waits for a tool is one step away, and steps are declared with exact hints only, so that on a trace without sub-agents it is LRU \
              offloading that prefetches as soon as there is room. A node's priority is the minimum over the agents that use it; here a session stands for its nodes. Inside a class the release takes leaves in list order: here the longest idle goes first. \
              Published defaults of the two step counts were not noted: chosen.",
    grows: "Ranks every waiting session in HBM when that is short.",
    provenance: Provenance::Release,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        Param {
            key: "hold_steps",
            default: 4.0,
            min: 1.0,
            max: 1e6,
            help: "agents further away than this count as equally far; chosen",
        },
        Param {
            key: "prefetch_steps",
            default: 1.0,
            min: 0.0,
            max: 1e6,
            help: "agents this near are prefetched; chosen",
        },
    ],
    build: |params, _| {
        Box::new(KvFlow {
            hold: params.get("hold_steps") as u32,
            prefetch: params.get("prefetch_steps") as u32,
            due: BTreeSet::new(),
        })
    },
};

struct KvFlow {
    hold: u32,
    prefetch: u32,
    /// Ancestors of sessions that have just made a call: they may have come near.
    due: BTreeSet<SessionId>,
}

impl KvFlow {
    fn priority(&self, steps: Option<u32>) -> u32 {
        let unknown = self.hold + 1;
        steps.map_or(unknown, |steps| steps.min(unknown))
    }

    fn is_near(&self, view: &View<'_>, session: SessionId) -> bool {
        let steps = view.session(session).steps_to_execution;
        steps.is_some_and(|steps| steps <= self.prefetch)
    }
}

impl Policy for KvFlow {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        match *event {
            Event::TurnDone { session, .. } => {
                let mut next = view.session(session).parent;
                while let Some(parent) = next {
                    self.due.insert(parent);
                    next = view.session(parent).parent;
                }
            }
            Event::Compute(session, _)
            | Event::Ended(session)
            | Event::Copied {
                session,
                direction: Direction::H2d,
                ..
            } => {
                self.due.remove(&session);
            }
            _ => {}
        }
    }

    fn on_idle(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::keep()
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }

    fn victims(&self, view: &View<'_>, need: Blocks, why: Need) -> Vec<Release> {
        // A prefetch displaces only who is further away than its own session.
        let beyond = match why {
            Need::Prefetch(s) => self.priority(view.session(s).steps_to_execution),
            _ => 0,
        };
        let mut ranked: Vec<_> = view
            .idle_by_age
            .iter()
            .map(|(since, s)| {
                let steps = view.session(s).steps_to_execution;
                (Reverse(self.priority(steps)), since, s)
            })
            .filter(|&(Reverse(priority), ..)| priority > beyond)
            .collect();
        ranked.sort_unstable();
        to_host_until(view, ranked.into_iter().map(|(.., s)| s), need)
    }

    fn prefetch_at(&self, view: &View<'_>, session: SessionId) -> Option<Time> {
        self.is_near(view, session).then_some(view.now)
    }

    fn plan(&self, view: &View<'_>) -> Plan {
        let ready = |&&session: &&SessionId| {
            let seen = view.session(session);
            seen.residence == Residence::Host && !seen.prefetching && self.is_near(view, session)
        };
        Plan {
            prefetch: self.due.iter().filter(ready).copied().collect(),
            ..Plan::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_and_unknown_agents_are_alike() {
        let policy = KvFlow {
            hold: 4,
            prefetch: 1,
            due: BTreeSet::new(),
        };
        let priorities = [Some(1), Some(4), Some(5), Some(90), None].map(|s| policy.priority(s));
        assert_eq!(priorities, [1, 4, 5, 5, 5]);
    }
}
