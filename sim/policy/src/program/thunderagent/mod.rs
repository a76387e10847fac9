//! ThunderAgent: whole programs are paused when their tokens exceed the GPU's, and resumed when there is room.
//!
//! ```text
//!   every 5 s:  resume (who has a request, then new ones, then who acts)  ──►  pause (who acts, then who reasons)
//! ```
//!
//! A pause withholds the next request; it moves and frees nothing. vLLM's LRU does the rest.

mod tick;

use crate::{Entry, Family, Needs, Param, Params, Policy, Provenance};
use model::{Action, Admission, Cadence, Event, Nanos, Outcome, Phase, Plan, SessionId, View};
use std::collections::BTreeMap;
use tick::{Active, Group, Paused, Rules, tick};

const ABOUT: &str = "Sessions are programs that reason (a turn is queued or runs) or act (a tool runs). Every five seconds the tokens of all active programs, with 100 more for each, are \
     compared with the tokens that HBM holds. While there is room, paused programs are resumed: first those with a withheld request, then new ones, then those that act, each the \
     shortest context first, and who does not fit is passed over. If there is less than none, programs are paused until there is: those that act, shortest first; if that is not enough, those that reason are marked, to be paused when their \
     call returns. A new program enters at once only if nobody is paused and it fits. Whoever has been withheld for half an hour is resumed.";
const SOURCE: &str = "ThunderAgent-org/ThunderAgent at a7eef77, router.py (MIT), resuming and admission checked at 30ae41a; paper: arXiv 2602.13692.";
const PARAMS: &[Param] = &[
    Param {
        key: "tick_s",
        default: 5.0,
        min: 0.001,
        max: 3600.0,
        help: "how often the router looks; its polling delay is part of its results",
    },
    Param {
        key: "overhead_tokens",
        default: 100.0,
        min: 0.0,
        max: 1e6,
        help: "tokens set aside for each active program; the router's constant",
    },
    Param {
        key: "forced_s",
        default: 1800.0,
        min: 0.0,
        max: 1e6,
        help: "a request withheld for so long is resumed, room or not",
    },
];

pub(crate) const RELEASE: Entry = Entry {
    name: "thunderagent-release",
    summary: "pause whole programs every 5 s when their tokens exceed HBM, shortest first",
    family: Family::Program,
    about: ABOUT,
    formula: "remaining = capacity - sum over active programs of (tokens + 100)\n\
              resume whoever fits: tokens + 100 <= remaining - (tokens + 100 of those before); pause while remaining < 0",
    source: SOURCE,
    caveats: "A program that acts counts in full for as long as it acts, and a prefix that programs share counts for each: the router has a term for it, which nothing sets. With waits of minutes behind one system prompt the \
              sum reaches the capacity while nearly all of HBM is cached or empty, and new programs wait until they are forced (docs/comparison.md). A program whose first tool runs counts as new when it is resumed, and a mark does not change `remaining`, so that once \
              nobody acts everybody who reasons is marked: quirks of the release, kept. There is one backend here, so nothing migrates. If the end of sessions is not told, finished programs count for ever.",
    grows: "Looks at every program at every tick; an admission does not.",
    provenance: Provenance::Release,
    needs: Needs::Nothing,
    listens: true,
    params: PARAMS,
    build: |params, _| Box::new(ThunderAgent::new(params, None)),
};

pub(crate) const DECAY: Entry = Entry {
    name: "thunderagent-decay",
    summary: "the same, with acting programs' tokens halved every second when resuming",
    family: Family::Program,
    about: ABOUT,
    formula: "for resuming: tokens of a program that has acted for t seconds count 2^(-t/half_life_s)\n\
              for pausing: in full",
    source: "The same, with the router's decay switched on (it is off by default).",
    caveats: "Decay is used for resuming only, so that one tick can resume a program and pause it again: then nothing happens to one that acts, and one with a withheld request proceeds and is looked at \
              again at the next tick. Otherwise as thunderagent-release.",
    grows: "Looks at every program at every tick; an admission does not.",
    provenance: Provenance::Release,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        PARAMS[0],
        PARAMS[1],
        PARAMS[2],
        Param {
            key: "half_life_s",
            default: 1.0,
            min: 0.001,
            max: 1e6,
            help: "time in which the tokens of a program that acts lose half of their weight",
        },
    ],
    build: |params, _| Box::new(ThunderAgent::new(params, Some(params.get("half_life_s")))),
};

struct ThunderAgent {
    tick: Nanos,
    forced: Nanos,
    half_life_s: Option<f64>,
    overhead: u64,
    /// Tokens of programs that are neither paused nor withheld.
    active: BTreeMap<SessionId, u64>,
    /// Their sum, with the overhead of each.
    charged: u64,
}

impl ThunderAgent {
    fn new(params: &Params, half_life_s: Option<f64>) -> Self {
        Self {
            tick: params.secs("tick_s"),
            forced: params.secs("forced_s"),
            half_life_s,
            overhead: params.get("overhead_tokens") as u64,
            active: BTreeMap::new(),
            charged: 0,
        }
    }

    fn capacity(view: &View<'_>) -> u64 {
        u64::from(view.hbm.capacity.0) * u64::from(view.block_tokens)
    }

    fn tokens(view: &View<'_>, session: SessionId) -> u64 {
        let seen = view.session(session);
        u64::from(seen.context.max(seen.prompt).0)
    }

    /// Nobody is paused: neither with a request that is withheld, nor while its tool runs. Programs that are only marked do not count.
    fn queue_is_empty(view: &View<'_>) -> bool {
        let acts = |&id: &SessionId| view.session(id).phase == Phase::Idle;
        view.held.is_empty() && !view.paused.iter().any(acts)
    }

    fn count(&mut self, view: &View<'_>, session: SessionId) {
        let tokens = Self::tokens(view, session);
        self.forget(session);
        self.active.insert(session, tokens);
        self.charged += tokens + self.overhead;
    }

    fn forget(&mut self, session: SessionId) {
        if let Some(tokens) = self.active.remove(&session) {
            self.charged -= tokens + self.overhead;
        }
    }

    fn active(&self, view: &View<'_>) -> Vec<Active> {
        let program = |(&id, &tokens): (&SessionId, &u64)| {
            let seen = view.session(id);
            let acts = seen.phase == Phase::Idle;
            Active {
                id,
                tokens,
                acting_s: acts.then(|| view.now.since(seen.idle_since).as_secs_f64()),
                marked: seen.paused,
            }
        };
        self.active.iter().map(program).collect()
    }

    fn paused(view: &View<'_>) -> Vec<Paused> {
        let program = |id, acts| Paused {
            id,
            tokens: Self::tokens(view, id),
            group: match (view.session(id).turn.0, acts) {
                (0, _) => Group::New,
                (_, false) => Group::Pending,
                (_, true) => Group::Acting,
            },
            acts,
        };
        let held = view.held.iter().map(|&(_, id)| program(id, false));
        let acting = view.paused.iter().copied();
        let acting = acting.filter(|&id| view.session(id).phase == Phase::Idle);
        held.chain(acting.map(|id| program(id, true))).collect()
    }
}

impl Policy for ThunderAgent {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        match *event {
            // At `COMPUTE` it is counted; if it is withheld, no longer.
            Event::Compute(session, _)
            | Event::Acted(
                session,
                Action::Resume | Action::Enter | Action::BreakHold,
                Outcome::Done(_),
            ) => self.count(view, session),
            Event::TurnDone { session, .. } if !view.session(session).paused => {
                self.count(view, session);
            }
            Event::TurnDone { session, .. }
            | Event::Ended(session)
            | Event::Acted(session, Action::Hold, _) => self.forget(session),
            Event::Acted(session, Action::Pause, Outcome::Done(_))
                if view.session(session).phase == Phase::Idle =>
            {
                self.forget(session);
            }
            _ => {}
        }
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every(self.tick)
    }

    fn admit(&self, view: &View<'_>, session: SessionId) -> Admission {
        let seen = view.session(session);
        let later_turn = seen.turn.0 > 0;
        // Whoever is withheld is resumed by a tick, or not at all. The session itself is counted already.
        let fits = || Self::queue_is_empty(view) && self.charged <= Self::capacity(view);
        if seen.phase != Phase::Held && (later_turn || fits()) {
            Admission::Enter
        } else {
            Admission::Hold
        }
    }

    fn plan(&self, view: &View<'_>) -> Plan {
        let paused = Self::paused(view);
        let rules = Rules {
            capacity: Self::capacity(view),
            overhead: self.overhead,
            half_life_s: self.half_life_s,
        };
        let outcome = tick(&rules, &self.active(view), &paused);
        let late = view
            .held
            .iter()
            .take_while(|&&(since, _)| view.now.since(since) >= self.forced);
        let mut resume: Vec<SessionId> = late.map(|&(_, session)| session).collect();
        for session in outcome.resume {
            if !resume.contains(&session) && !outcome.pause.contains(&session) {
                resume.push(session);
            }
        }
        let was_active = |session: &SessionId| self.active.contains_key(session);
        let pause = outcome.pause.into_iter().filter(was_active);
        Plan {
            pause: pause.chain(outcome.mark).collect(),
            resume,
            ..Plan::default()
        }
    }
}
