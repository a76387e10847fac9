//! HiCache: SGLang's host tier, by when it writes and by when a turn stops waiting for its load.
//!
//! | write | what goes to the host |
//! |---|---|
//! | through | every context, when its turn ends |
//! | through, selective | those that have been hit at least twice |
//! | back | those that HBM evicts |

use crate::parts::{Stored, oldest_first, take_until};
use crate::{Entry, Family, Needs, Param, Params, Policy, Provenance};
use model::{
    Blocks, Direction, Event, HostRelease, Nanos, Need, Release, Restore, Retention, SessionId,
    SwapOut, Then, View,
};

const SOURCE: &str =
    "SGLang HiCache (Apache-2.0): write policies from code; timeout of pull request 23309.";
const CAVEATS: &str = "Writing through needs `memory.host = \"inclusive\"`: with an exclusive tier a stored session leaves HBM. In SGLang the stop rules govern loads from storage to the host; here, where the host is the last tier, they govern the \
     load from the host, and are decided when the turn becomes ready, from what the link has queued. Whole sessions stand for radix nodes. The host is LRU by session; SGLang sizes it at twice HBM by default.";
const FORMULA: &str = "stop = 0 (best effort): load only while the turn could not run anyway; 1: wait for the load\n\
     2 (timeout): load if it takes at most min(cap_s, base_s + per_ki_s x tokens/1024)";
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
];

pub(crate) const WRITE_THROUGH: Entry = Entry {
    name: "hicache-wt",
    summary: "SGLang HiCache, write-through: every context to the host at the end of its turn",
    family: Family::Hierarchy,
    about: "When a turn ends its context is written to the host, while its blocks stay in HBM as cache. A turn that finds KV on the host loads it, waits for it as long as the stop rule says, and computes the rest. When the host lacks \
            room for another context, the one stored longest ago is given up.",
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
    stored: Stored,
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
            stored: Stored::default(),
        }
    }
}

impl Stop {
    /// Whether a load of `tokens` that takes `load` is waited for, by a turn that could run at once or not.
    fn waits(self, tokens: u32, load: Nanos, could_run: bool) -> bool {
        match self {
            Self::BestEffort => !could_run,
            Self::Complete => true,
            Self::Timeout {
                base_s,
                per_ki_s,
                cap_s,
            } => {
                let limit = (base_s + per_ki_s * f64::from(tokens) / 1024.0).min(cap_s);
                load <= Nanos::from_secs_f64(limit)
            }
        }
    }
}

impl Policy for HiCache {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        self.stored.observe(view, event, |_| 0);
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

    fn restore(&self, view: &View<'_>, session: SessionId) -> Restore {
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
        self.stored.give_up(view, need)
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
    fn best_effort_loads_only_while_the_turn_would_wait_anyway() {
        assert!(!Stop::BestEffort.waits(16, Nanos(1), true));
        assert!(Stop::BestEffort.waits(16, Nanos(u64::MAX), false));
        assert!(Stop::Complete.waits(16, Nanos(u64::MAX), true));
    }
}
