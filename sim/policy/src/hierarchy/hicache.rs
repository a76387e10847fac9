//! HiCache: SGLang's host tier and the storage behind it, by when it writes and by when a turn stops waiting for its load.
//!
//! | write | what goes to the host |
//! |---|---|
//! | through | every context, when its turn ends |
//! | through, selective | those that have been hit at least twice |
//! | back | those that HBM evicts |
//!
//! ```text
//!   HBM ──► host ── as soon as it is there ──► storage     the host gives up what storage has, longest stored first
//!    ▲       ▲                                    │
//!    └───────┴── stop rule, from 256 tokens on ───┘        by a turn that is ready
//! ```

use crate::parts::{Stored, oldest_first, take_until};
use crate::{Entry, Family, Needs, Param, Params, Policy, Provenance};
use model::{
    Action, Blocks, Direction, DiskMove, Event, Fetch, HostRelease, Nanos, Need, Outcome, Phase,
    Plan, Release, Residence, Restore, Retention, SessionId, SessionView, SwapOut, Then, Time,
    Tokens, View,
};
use std::collections::BTreeSet;

const SOURCE: &str = "SGLang HiCache (Apache-2.0): write policies, storage behind the host and its threshold from code; timeout of pull request 23309.";
const CAVEATS: &str = "Writing through needs `memory.host = \"inclusive\"`: with an exclusive tier a stored session leaves HBM. As in SGLang, the stop rules govern loads from storage to the host where there is storage (`memory.disk_gib`): what has been read \
     when a turn stops waiting is used, and KV on the host is always loaded. Without it (the default), where the host is the last tier, they govern the load from the host, and are decided when the turn becomes ready, from \
     what the link has queued. Best effort stops as soon as no other turn is queued and the batch has a place. SGLang writes to storage behind every write to the host, and so it is here; what the host gives up before \
     it has been stored is written then. Whole sessions stand for radix nodes. The host is LRU by session; SGLang sizes it at twice HBM by default.";
const FORMULA: &str = "stop = 0 (best effort): load only while the turn could not run anyway; 1: wait for the load\n\
     2 (timeout): load if it takes at most min(cap_s, base_s + per_ki_s x tokens/1024)\n\
     with storage: read from it if it has at least threshold_tokens, for so long";
const PARAMS: &[Param] = &[
    Param {
        key: "stop",
        default: 2.0,
        min: 0.0,
        max: 2.0,
        help: "0 best effort, 1 wait until complete, 2 timeout",
    },
    Param {
        key: "base_s",
        default: 2.0,
        min: 0.0,
        max: 3600.0,
        help: "timeout of an empty load; SGLang's",
    },
    Param {
        key: "per_ki_s",
        default: 0.1,
        min: 0.0,
        max: 3600.0,
        help: "timeout added per 1,024 tokens; SGLang's",
    },
    Param {
        key: "cap_s",
        default: 30.0,
        min: 0.0,
        max: 3600.0,
        help: "longest timeout; SGLang's",
    },
    Param {
        key: "threshold_tokens",
        default: 256.0,
        min: 0.0,
        max: 1_048_576.0,
        help: "fewest tokens that are read from storage; SGLang's",
    },
];

pub(crate) const WRITE_THROUGH: Entry = Entry {
    name: "hicache-wt",
    summary: "SGLang HiCache, write-through: every context to the host at the end of its turn",
    family: Family::Hierarchy,
    about: "When a turn ends its context is written to the host, while its blocks stay in HBM as cache. A turn that finds KV on the host loads it, waits for it as long as the stop rule says, and computes the rest. When the host lacks \
            room for another context, the one stored longest ago is given up. With storage behind the host, every context goes on to it, and what the host gives up is read back from there.",
    formula: FORMULA,
    source: SOURCE,
    caveats: CAVEATS,
    grows: "",
    provenance: Provenance::Release,
    needs: Needs::Nothing,
    listens: true,
    params: PARAMS,
    build: |params, _| Box::new(HiCache::new(params, Write::Through { hits_min: 0 })),
};

pub(crate) const SELECTIVE: Entry = Entry {
    name: "hicache-wts",
    summary: "SGLang HiCache, selective write-through: contexts hit at least twice",
    about: "As hicache-wt, but a context is written to the host only if its session has found it at least twice: from its third turn on. Before that it is left to HBM's prefix cache.",
    build: |params, _| Box::new(HiCache::new(params, Write::Through { hits_min: 2 })),
    ..WRITE_THROUGH
};

pub(crate) const WRITE_BACK: Entry = Entry {
    name: "hicache-wb",
    summary: "SGLang HiCache, write-back: contexts go to the host when HBM evicts them",
    about: "Contexts stay in HBM until somebody needs the room; then those idle longest are written to the host, where those stored longest ago make room. A turn that finds KV on the host loads it, and waits for it as long as the stop rule says.",
    build: |params, _| Box::new(HiCache::new(params, Write::Back)),
    ..WRITE_THROUGH
};

/// When a context is written to the host.
#[derive(Clone, Copy, Debug)]
enum Write {
    /// At the end of a turn, if it has been hit so often.
    Through { hits_min: u32 },
    /// When HBM evicts it.
    Back,
}

/// How long a turn waits for its load.
#[derive(Clone, Copy, Debug)]
enum Stop {
    BestEffort,
    Complete,
    Timeout {
        base_s: f64,
        per_ki_s: f64,
        cap_s: f64,
    },
}

struct HiCache {
    write: Write,
    stop: Stop,
    threshold: Tokens,
    /// On the host.
    stored: Stored,
    /// In storage.
    storage: Stored,
    /// Written to the host, and not to storage yet.
    fresh: BTreeSet<SessionId>,
    /// Ready turns that have KV in storage and do not run.
    reading: BTreeSet<SessionId>,
}

impl HiCache {
    fn new(params: &Params, write: Write) -> Self {
        let stop = match params.get("stop").round() as u8 {
            0 => Stop::BestEffort,
            1 => Stop::Complete,
            _ => Stop::Timeout {
                base_s: params.get("base_s"),
                per_ki_s: params.get("per_ki_s"),
                cap_s: params.get("cap_s"),
            },
        };
        Self {
            write,
            stop,
            threshold: Tokens(params.get("threshold_tokens") as u32),
            stored: Stored::default(),
            storage: Stored::default(),
            fresh: BTreeSet::new(),
            reading: BTreeSet::new(),
        }
    }
}

impl Stop {
    /// Whether a load of `tokens` that takes `load` is waited for, by a turn that could run at once or not.
    fn waits(self, tokens: u32, load: Nanos, could_run: bool) -> bool {
        match self {
            Self::BestEffort => !could_run,
            Self::Complete => true,
            Self::Timeout { .. } => self.patience(tokens).is_some_and(|limit| load <= limit),
        }
    }

    /// The longest time that a turn waits for a load of `tokens`, if that depends on the time.
    fn patience(self, tokens: u32) -> Option<Nanos> {
        match self {
            Self::BestEffort | Self::Complete => None,
            Self::Timeout {
                base_s,
                per_ki_s,
                cap_s,
            } => {
                let limit = (base_s + per_ki_s * f64::from(tokens) / 1024.0).min(cap_s);
                Some(Nanos::from_secs_f64(limit))
            }
        }
    }
}

/// Blocks that storage has beyond what the host, or the session in HBM, has of the beginning of the context.
fn stored_beyond(seen: &SessionView) -> u32 {
    let end = |from: Blocks, blocks: Blocks| if from.0 == 0 { blocks.0 } else { 0 };
    let near = end(seen.hbm_from, seen.hbm_blocks);
    let host = (seen.host_from + seen.host_blocks).0;
    let near = if seen.host_from.0 <= near {
        near.max(host)
    } else {
        near
    };
    (seen.disk_from + seen.disk_blocks).0.saturating_sub(near)
}

impl Policy for HiCache {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        self.stored.observe(view, event, |_| 0);
        if view.disk.is_none() {
            return;
        }
        self.storage.observe_disk(view, event);
        match *event {
            Event::Acted(session, Action::SwapOut, Outcome::Done(_) | Outcome::Clipped(_)) => {
                self.fresh.insert(session);
            }
            Event::Acted(session, Action::Store | Action::Demote | Action::DropHost, _)
            | Event::Ended(session) => {
                self.fresh.remove(&session);
            }
            Event::Compute(session, _) => {
                self.fresh.remove(&session);
                if view.session(session).disk_blocks > Blocks::ZERO {
                    self.reading.insert(session);
                }
            }
            Event::Admitted { session, .. } => {
                self.reading.remove(&session);
            }
            _ => {}
        }
    }

    fn on_idle(&self, view: &View<'_>, session: SessionId) -> Retention {
        match self.write {
            Write::Through { hits_min } if view.session(session).turn.0 < hits_min => {
                Retention::Release
            }
            Write::Through { .. } => Retention::SwapOut(SwapOut::IfRoom),
            Write::Back => Retention::keep(),
        }
    }

    fn victims(&self, view: &View<'_>, need: Blocks, _: Need) -> Vec<Release> {
        take_until(view, oldest_first(view), need, |seen, _| {
            Some(match self.write {
                Write::Back if seen.hbm_blocks <= view.host.capacity => Then::SwapOut,
                _ => Then::Release,
            })
        })
    }

    fn plan(&self, view: &View<'_>) -> Plan {
        let mut plan = Plan::default();
        if view.disk.is_none() {
            return plan;
        }
        let is_there = |session: &SessionId| {
            let seen = view.session(*session);
            matches!(seen.residence, Residence::Hbm | Residence::Host)
                && seen.host_blocks > Blocks::ZERO
                && seen.disk_copy.is_none()
        };
        let stored = self.fresh.iter().copied().filter(is_there);
        plan.disk = stored.map(|s| (s, DiskMove::Store)).collect();
        if matches!(self.stop, Stop::BestEffort) && view.queue.is_empty() {
            let places = view.running_max.saturating_sub(view.running) as usize;
            let reads = |session: &SessionId| {
                let seen = view.session(*session);
                seen.phase == Phase::Queued && seen.disk_copy == Some(Direction::DiskRead)
            };
            let reading = self.reading.iter().copied().filter(reads);
            let stopped = reading.take(places);
            plan.disk.extend(stopped.map(|s| (s, DiskMove::Stop)));
        }
        plan
    }

    fn fetch(&self, view: &View<'_>, session: SessionId) -> Fetch {
        let seen = view.session(session);
        let tokens = stored_beyond(seen) * view.block_tokens;
        if tokens < self.threshold.0 {
            return Fetch::Recompute;
        }
        let patience = self.stop.patience(tokens);
        Fetch::Read {
            until: patience.map_or(Time::NEVER, |patience| seen.ready_since + patience),
        }
    }

    fn disk_victims(&self, view: &View<'_>, need: Blocks, _: SessionId) -> Vec<SessionId> {
        self.storage.give_up_disk(view, need)
    }

    fn restore(&self, view: &View<'_>, session: SessionId) -> Restore {
        if view.disk.is_some() {
            return Restore::Load;
        }
        let blocks = view.session(session).host_blocks;
        let load = view.copy_time(Direction::H2d, blocks);
        let could_run = view.queued <= 1 && view.running < view.running_max;
        if self
            .stop
            .waits(blocks.0 * view.block_tokens, load, could_run)
        {
            Restore::Load
        } else {
            Restore::Recompute
        }
    }

    fn host_victims(&self, view: &View<'_>, need: Blocks, _: SessionId) -> Vec<HostRelease> {
        if view.disk.is_some() {
            let demoted = self.stored.demote(view, need);
            demoted.into_iter().map(HostRelease::Demote).collect()
        } else {
            self.stored.give_up(view, need)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_grows_with_the_load_up_to_a_cap() {
        let stop = Stop::Timeout {
            base_s: 2.0,
            per_ki_s: 0.1,
            cap_s: 30.0,
        };
        // 10,240 tokens: 2.0 + 0.1·10 = 3 s.
        assert!(stop.waits(10_240, Nanos::from_millis(3_000), true));
        assert!(!stop.waits(10_240, Nanos::from_millis(3_001), true));
        // 1,024,000 tokens: 2 + 100 s, capped at 30.
        assert!(stop.waits(1_024_000, Nanos::from_millis(30_000), true));
        assert!(!stop.waits(1_024_000, Nanos::from_millis(30_001), true));
    }

    #[test]
    fn the_wait_for_storage_is_as_long_as_the_timeout() {
        let stop = Stop::Timeout {
            base_s: 2.0,
            per_ki_s: 0.1,
            cap_s: 30.0,
        };
        // 4,096 tokens: 2.0 + 0.1·4 = 2.4 s.
        assert_eq!(stop.patience(4_096), Some(Nanos::from_millis(2_400)));
        assert_eq!(stop.patience(1_024_000), Some(Nanos::from_millis(30_000)));
        assert_eq!(Stop::Complete.patience(4_096), None);
    }

    #[test]
    fn what_the_host_has_of_the_beginning_is_not_read_from_storage() {
        let seen = |hbm, (from, host), disk| {
            stored_beyond(&SessionView {
                hbm_blocks: Blocks(hbm),
                host_from: Blocks(from),
                host_blocks: Blocks(host),
                disk_blocks: Blocks(disk),
                ..SessionView::default()
            })
        };
        assert_eq!(seen(0, (0, 0), 20), 20);
        assert_eq!(seen(0, (0, 12), 20), 8);
        assert_eq!(seen(12, (12, 4), 20), 4);
        // What the host has behind a hole is no beginning.
        assert_eq!(seen(0, (12, 4), 20), 20);
        assert_eq!(seen(0, (0, 20), 20), 0);
    }

    #[test]
    fn best_effort_loads_only_while_the_turn_would_wait_anyway() {
        assert!(!Stop::BestEffort.waits(16, Nanos(1), true));
        assert!(Stop::BestEffort.waits(16, Nanos(u64::MAX), false));
        assert!(Stop::Complete.waits(16, Nanos(u64::MAX), true));
    }
}
