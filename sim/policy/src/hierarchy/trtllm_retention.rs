//! TensorRT-LLM's retention configuration as a client for agents would set it: the context of a session that waits is worth more, until
//! it is expected back.

use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{Blocks, Nanos, Price, Priced, SessionId, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "trtllm-retention",
    summary: "cached blocks of a waiting session keep a raised priority until its expected return",
    family: Family::Hierarchy,
    about: "Blocks in the prefix cache have a priority between 0 and 100; eviction takes the lowest first, and of equals the least recently used. A client can give its tokens another priority than the usual 35, for \
            a limited time. Here the client is an agent that has just called a tool: its whole context is worth `priority` until it expects to be back, and as much as anything else from then on, as if it had just \
            been released. Nothing is pinned: what is worth most is overwritten too when nothing else is left.",
    formula: "evict min (priority, last use); priority = `priority` until now + slack x (expected return - now), then 35",
    source: "TensorRT-LLM, KvCacheRetentionConfig (per token range: priority 0 to 100, optional duration), also behind Dynamo's agent hints; known here through issues and notes.",
    caveats: "Reconstructed: the mechanism is the release's, the configuration is chosen, for it is the client's. The late quantile of a hint is taken for the expected return; without a hint nothing is raised. Priorities of \
              decoded tokens apart, and the offload of high-priority prefixes to a second tier (Dynamo KVBM), are left out. A raised priority lowers everybody else's: an experiment with a perfect duration is known to have lost by it.",
    grows: "",
    provenance: Provenance::Reconstructed,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        Param {
            key: "priority",
            default: 80.0,
            min: 0.0,
            max: 100.0,
            help: "of the context of a session that waits; chosen (the release's default for all is 35)",
        },
        Param {
            key: "slack",
            default: 1.0,
            min: 0.0,
            max: 1e6,
            help: "duration, as a multiple of the expected wait; chosen",
        },
    ],
    build: |params, _| {
        Box::new(Retention {
            priority: params.get("priority") as i64,
            slack: params.get("slack"),
        })
    },
};

/// What everything is worth by default.
const DEFAULT: i64 = 35;

struct Retention {
    priority: i64,
    slack: f64,
}

impl Policy for Retention {
    fn price(&self, view: &View<'_>, session: SessionId) -> Vec<Priced> {
        let Some(hint) = view.session(session).hint else {
            return Vec::new();
        };
        let wait = hint.late.since(view.now).0 as f64 * self.slack;
        vec![Priced {
            blocks: Blocks(u32::MAX),
            price: Price(self.priority - DEFAULT),
            until: view.now + Nanos(libm::round(wait) as u64),
        }]
    }
}
