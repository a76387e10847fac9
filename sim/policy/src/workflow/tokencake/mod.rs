//! TokenCake: offload a waiting session if the queue can use its blocks and the wait outlasts the transfers.
//!
//! Two variants: the port brings KV back when the next turn is ready; the paper uploads ahead of the predicted return.

mod score;

use crate::parts::{Ewma, Waiting, full_blocks, oldest_first, take_until, utilisation};
use crate::{Entry, Family, Needs, Param, Params, Policy, Provenance};
use model::{
    Blocks, Cadence, Event, Nanos, Need, Plan, Release, Retention, SessionId, SwapOut, Then, Time,
    View,
};
use score::Offer;
use std::num::NonZeroU32;

const ABOUT: &str = "When a tool begins, and again every few steps, a waiting session is offered to the host. Its wait is predicted by the client's estimate and by the moving average of its tool, \
     or their mean. The offer is refused if it frees nothing, if no queued turn could run in what it frees, if the host is full, if the wait does not outlast two transfers with a margin, if memory is not short, or if the session is \
     important and back soon; then a score of pressure, fit, margin, safety and importance must reach 1. In an emergency (85 % in use, and a wait of seconds beyond the transfers) the later gates \
     are open. What is not offloaded stays, and the longest idle goes to the prefix cache when memory is short.";
const FORMULA: &str = "score = pressure + fit + stall + safety + host - 0.35 importance - 2 near_completion - churn >= 1\n\
     pressure = max(0, 6(u - 0.6)) + min(2, W/(b + 1)); fit = min(2, F/b); stall = min(6, (D - Tx)/max(0.25, Tx))\n\
     safety = +1 if D >= 2 Tx else -1; host = +1 if it fits else -4\n\
     D predicted wait, Tx both transfers [s]; b blocks freed, W wanted by the queue, F of those that would fit, at most the window";
const PARAMS: &[Param] = &[
    Param {
        key: "link_gb_per_s",
        default: 12.0,
        min: 0.001,
        max: 1e4,
        help: "rate assumed for each transfer, whatever the link; the port's default",
    },
    Param {
        key: "importance",
        default: 0.0,
        min: 0.0,
        max: 10.0,
        help: "declared importance of every session, 0 to 10; traces declare none",
    },
    Param {
        key: "window_blocks",
        default: 128.0,
        min: 1.0,
        max: 1e9,
        help: "most blocks that F counts: the port's eviction window",
    },
    Param {
        key: "ema_alpha",
        default: 0.5,
        min: 0.001,
        max: 1.0,
        help: "weight of the latest duration of a tool; the port's",
    },
    Param {
        key: "wait_s",
        default: 1.0,
        min: 0.0,
        max: 86_400.0,
        help: "predicted wait where nothing is known; the port's",
    },
    Param {
        key: "back_off_steps",
        default: 8.0,
        min: 1.0,
        max: 1e6,
        help: "steps until a refused session is offered again; the port's",
    },
];

pub(crate) const PORT: Entry = Entry {
    name: "tokencake-port",
    summary: "offload a wait that outlasts its transfers if the queue can use the room; load on demand",
    family: Family::Workflow,
    about: ABOUT,
    formula: FORMULA,
    source: "pku-lemonade/TokenCake, port to vLLM 0.22 (Apache-2.0); paper: arXiv 2510.18586 v4 (EuroSys 2027).",
    caveats: "The temporal half only: the spatial one reserves blocks for critical agents of a declared graph, which traces here do not have, and neither importance nor near completion is known. Churn is left out: \
              its weights were not noted. As soon as the margin exceeds 1.5 s the stall term is saturated, so that the gates decide and the score is nearly inert. The transfers' rate is a constant, not \
              the link's. Decode runs end at every offer.",
    grows: "Offers every waiting session in HBM, every few steps while a turn is queued.",
    provenance: Provenance::Release,
    needs: Needs::Nothing,
    listens: true,
    params: PARAMS,
    build: |params, _| Box::new(TokenCake::new(params, None)),
};

pub(crate) const PAPER: Entry = Entry {
    name: "tokencake-paper",
    summary: "the same, and uploads ahead of the predicted return",
    family: Family::Workflow,
    about: ABOUT,
    formula: "as tokencake-port, and\n\
              upload at: predicted return - max(lead_ms, 1.25 x transfer back)",
    source: "TokenCake, arXiv 2510.18586 v4 (EuroSys 2027): predictive upload is in the paper, not in the port.",
    caveats: "Offloading is the port's; the lead of the upload is the one that the port uses to reserve blocks for a resume. Otherwise as tokencake-port.",
    grows: "Offers every waiting session in HBM, every few steps while a turn is queued.",
    provenance: Provenance::Paper,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        PARAMS[0],
        PARAMS[1],
        PARAMS[2],
        PARAMS[3],
        PARAMS[4],
        PARAMS[5],
        Param {
            key: "lead_ms",
            default: 100.0,
            min: 0.0,
            max: 1e6,
            help: "an upload begins at least this long before the predicted return; the port's resume lead",
        },
    ],
    build: |params, _| Box::new(TokenCake::new(params, Some(params.millis("lead_ms")))),
};

struct TokenCake {
    bytes_per_s: f64,
    importance: f64,
    window: u32,
    /// Predicted wait where nothing is known \[s\].
    unknown_s: f64,
    back_off: NonZeroU32,
    /// Least lead of an upload, if there are any ahead of the turn.
    lead: Option<Nanos>,
    tools: Ewma,
    waiting: Waiting,
}

impl TokenCake {
    fn new(params: &Params, lead: Option<Nanos>) -> Self {
        Self {
            bytes_per_s: params.get("link_gb_per_s") * 1e9,
            importance: params.get("importance"),
            window: params.get("window_blocks") as u32,
            unknown_s: params.get("wait_s"),
            back_off: NonZeroU32::new(params.get("back_off_steps") as u32)
                .expect("at least one step"),
            lead,
            tools: Ewma::new(params.get("ema_alpha")),
            waiting: Waiting::default(),
        }
    }

    /// When the session is predicted back.
    fn back(&self, view: &View<'_>, session: SessionId) -> Time {
        let seen = view.session(session);
        let said = seen
            .hint
            .map(|hint| hint.returns_at.since(seen.idle_since).as_secs_f64());
        let learned = seen.signalled.then(|| self.tools.of(seen.tool)).flatten();
        let wait_s = match (said, learned) {
            (Some(said), Some(learned)) => f64::midpoint(said, learned),
            (Some(wait), None) | (None, Some(wait)) => wait,
            (None, None) => self.unknown_s,
        };
        seen.idle_since + Nanos::from_secs_f64(wait_s)
    }

    /// Seconds that one transfer of `blocks` is taken to need.
    fn transfer_s(&self, view: &View<'_>, blocks: Blocks) -> f64 {
        (u64::from(blocks.0) * view.block_bytes.0) as f64 / self.bytes_per_s
    }

    /// Blocks that those queued turns need, in order, that could run if `freed` blocks were free.
    fn fits(&self, view: &View<'_>, freed: Blocks) -> u32 {
        let mut slots = view.running_max.saturating_sub(view.running);
        let mut room = view.hbm.free.0 + freed.0;
        let mut fits = 0;
        for &session in view.queue.values() {
            let need = view
                .session(session)
                .prompt
                .blocks_ceil(view.block_tokens)
                .0;
            if slots == 0 || need > room || fits >= self.window {
                break;
            }
            slots -= 1;
            room -= need;
            fits += need;
        }
        fits.min(self.window)
    }

    fn offer(&self, view: &View<'_>, session: SessionId, host_free: u32) -> Offer {
        let seen = view.session(session);
        let blocks = match seen.hbm_blocks {
            Blocks(0) => full_blocks(view, session),
            held => held,
        };
        Offer {
            wait_s: self.back(view, session).since(view.now).as_secs_f64(),
            transfer_s: 2.0 * self.transfer_s(view, blocks),
            used: utilisation(view),
            blocks: f64::from(blocks.0),
            wanted: (view.queue_tokens / u64::from(view.block_tokens)) as f64,
            fits: f64::from(self.fits(view, blocks)),
            free: f64::from(view.hbm.free.0),
            host_fits: blocks.0 <= host_free,
            importance: self.importance,
            near_completion: false,
            churn: 0.0,
        }
    }
}

impl Policy for TokenCake {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        let tool = self.waiting.observe(view, event);
        if let (Some(tool), Event::Compute(_, waited)) = (tool, event) {
            self.tools.push(tool, waited.as_secs_f64());
        }
    }

    fn cadence(&self) -> Cadence {
        Cadence::Steps(self.back_off)
    }

    fn on_idle(&self, view: &View<'_>, session: SessionId) -> Retention {
        if self.offer(view, session, view.host.free.0).decide().is_ok() {
            Retention::SwapOut(SwapOut::IfRoom)
        } else {
            Retention::keep()
        }
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }

    fn plan(&self, view: &View<'_>) -> Plan {
        let mut host_free = view.host.free.0;
        let mut retain = Vec::new();
        if view.queue.is_empty() {
            return Plan::default();
        }
        for session in oldest_first(view) {
            if self.offer(view, session, host_free).decide().is_ok() {
                host_free -= view.session(session).hbm_blocks.0;
                retain.push((session, Retention::SwapOut(SwapOut::IfRoom)));
            }
        }
        Plan {
            retain,
            ..Plan::default()
        }
    }

    fn victims(&self, view: &View<'_>, need: Blocks, _: Need) -> Vec<Release> {
        take_until(view, oldest_first(view), need, |_, _| Some(Then::Release))
    }

    fn prefetch_at(&self, view: &View<'_>, session: SessionId) -> Option<Time> {
        let back = self.transfer_s(view, view.session(session).host_blocks);
        let lead = self.lead?.max(Nanos::from_secs_f64(1.25 * back));
        Some(self.back(view, session).before(lead))
    }
}
