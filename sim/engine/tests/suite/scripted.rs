//! Policies that are not in the registry: one that does as it is told, and one that answers anything.

use crate::common::{Log, Rig};
use model::{
    Admission, Blocks, Bytes, Cadence, DiskMove, End, Fetch, HostRelease, Nanos, Need, OrderKey,
    Part, Plan, Price, Priced, Queueing, Release, Restore, Retention, SessionId, StepBudget,
    SwapOut, Then, Time, Tokens, View, Way,
};
use policy::Policy;
use std::num::NonZeroU32;

/// Runs `policy` on the simulated device, and once more in single steps and on host memory, which must not differ.
pub fn run(rig: &Rig, policy: Scripted) -> Log {
    let log = rig.run_own(policy);
    let log = log.unwrap_or_else(|failure| panic!("{failure}"));
    let single = rig.clone().with(|c| c.stepwise = true).run_own(policy);
    let single = single.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(log.essence(), single.essence(), "single steps");
    let host = rig.run_own_on_host_memory(policy);
    let host = host.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(log.essence(), host.essence(), "host memory");
    log
}

/// Answers from a script: what is not said is vLLM's answer, but KV is kept and ended sessions discarded.
#[derive(Clone, Copy)]
pub struct Scripted {
    pub on_idle: fn(&View<'_>, SessionId) -> Retention,
    pub victims: fn(&View<'_>, Blocks, Need) -> Vec<Release>,
    pub prefetch_at: fn(&View<'_>, SessionId) -> Option<Time>,
    pub restore: Restore,
    pub cadence: Cadence,
    pub admit: fn(&View<'_>, SessionId) -> Admission,
    pub order: fn(&View<'_>, SessionId) -> OrderKey,
    pub plan: fn(&View<'_>) -> Plan,
    pub budget: StepBudget,
    pub chunk: fn(&View<'_>, SessionId) -> Tokens,
    pub preempt: Option<SessionId>,
    pub break_pin: Option<SessionId>,
    pub host_victims: &'static [HostRelease],
    pub mid_sequence: bool,
    pub price: fn(&View<'_>, SessionId) -> Vec<Priced>,
    pub fetch: fn(&View<'_>, SessionId) -> Fetch,
    pub disk_victims: &'static [SessionId],
}

impl Default for Scripted {
    fn default() -> Self {
        Self {
            on_idle: |_, _| Retention::keep(),
            victims: |_, _, _| Vec::new(),
            prefetch_at: |_, _| None,
            restore: Restore::Load,
            cadence: Cadence::OnChange,
            admit: |_, _| Admission::Enter,
            order: |_, _| OrderKey::FCFS,
            plan: |_| Plan::default(),
            budget: StepBudget::UNLIMITED,
            chunk: |_, _| Tokens(u32::MAX),
            preempt: None,
            break_pin: None,
            host_victims: &[],
            mid_sequence: false,
            price: |_, _| Vec::new(),
            fetch: |_, _| Fetch::Read { until: Time::NEVER },
            disk_victims: &[],
        }
    }
}

impl Policy for Scripted {
    fn on_idle(&self, view: &View<'_>, session: SessionId) -> Retention {
        (self.on_idle)(view, session)
    }
    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }
    fn victims(&self, view: &View<'_>, need: Blocks, why: Need) -> Vec<Release> {
        (self.victims)(view, need, why)
    }
    fn prefetch_at(&self, view: &View<'_>, session: SessionId) -> Option<Time> {
        (self.prefetch_at)(view, session)
    }
    fn restore(&self, _: &View<'_>, _: SessionId) -> Restore {
        self.restore
    }
    fn cadence(&self) -> Cadence {
        self.cadence
    }
    fn admit(&self, view: &View<'_>, session: SessionId) -> Admission {
        (self.admit)(view, session)
    }
    fn order(&self, view: &View<'_>, session: SessionId) -> OrderKey {
        (self.order)(view, session)
    }
    fn plan(&self, view: &View<'_>) -> Plan {
        (self.plan)(view)
    }
    fn step_budget(&self, _: &View<'_>) -> StepBudget {
        self.budget
    }
    fn chunk(&self, view: &View<'_>, session: SessionId) -> Tokens {
        (self.chunk)(view, session)
    }
    fn preempt(&self, _: &View<'_>, _: SessionId) -> Option<SessionId> {
        self.preempt
    }
    fn break_pin(&self, _: &View<'_>) -> Option<SessionId> {
        self.break_pin
    }
    fn host_victims(&self, _: &View<'_>, _: Blocks, _: SessionId) -> Vec<HostRelease> {
        self.host_victims.to_vec()
    }
    fn fetch(&self, view: &View<'_>, session: SessionId) -> Fetch {
        (self.fetch)(view, session)
    }
    fn disk_victims(&self, _: &View<'_>, _: Blocks, _: SessionId) -> Vec<SessionId> {
        self.disk_victims.to_vec()
    }
    fn computes_mid_sequence(&self) -> bool {
        self.mid_sequence
    }
    fn price(&self, view: &View<'_>, session: SessionId) -> Vec<Priced> {
        (self.price)(view, session)
    }
}

/// Answers every question by a hash of the question and the seed: clipped swap-outs, pins of any length, prefetches at any time,
/// victims that run, have left or never existed, turns withheld and let in, any order, pauses of anybody.
#[derive(Clone, Copy)]
pub struct Whim(pub u64);

impl Whim {
    fn draw(self, question: u64, session: SessionId, view: &View<'_>) -> u64 {
        let turn = view.sessions.get(session).map_or(0, |s| s.turn.0);
        let mut x = self.0 ^ (question << 56) ^ (u64::from(session.0) << 24) ^ u64::from(turn);
        // SplitMix64's finaliser (Steele, Lea, Flood, OOPSLA 2014).
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    fn retention(self, question: u64, session: SessionId, view: &View<'_>) -> Retention {
        let draw = self.draw(question, session, view);
        let until = view.now + model::Nanos((draw >> 32) % 300_000_000);
        match draw % 9 {
            8 => Retention::Part(Self::part(draw >> 16)),
            0 => Retention::Release,
            1 => Retention::Discard,
            2 => Retention::SwapOut(SwapOut::IfRoom),
            3 => Retention::SwapOut(SwapOut::OrDiscard),
            4 => Retention::keep(),
            _ => Retention::keep_until(until).then(Self::then(draw >> 8)),
        }
    }

    fn then(draw: u64) -> Then {
        match draw % 5 {
            0 => Then::Release,
            1 => Then::Discard,
            2 => Then::Part(Self::part(draw >> 8)),
            _ => Then::SwapOut,
        }
    }

    fn part(draw: u64) -> Part {
        let how = match draw % 4 {
            0 => Way::Release,
            1 => Way::Discard,
            _ => Way::SwapOut,
        };
        Part {
            blocks: Blocks((draw >> 8) as u32 % 7),
            end: Self::end(draw >> 16),
            how,
        }
    }

    fn end(draw: u64) -> End {
        if draw.is_multiple_of(2) {
            End::Back
        } else {
            End::Front
        }
    }
}

impl Policy for Whim {
    fn on_idle(&self, view: &View<'_>, session: SessionId) -> Retention {
        let question = 1 + u64::from(view.session(session).signalled);
        self.retention(question, session, view)
    }

    fn on_end(&self, view: &View<'_>, session: SessionId) -> Retention {
        self.retention(3, session, view)
    }

    fn victims(&self, view: &View<'_>, _: Blocks, why: Need) -> Vec<Release> {
        let (question, asker) = match why {
            Need::Admission(session) => (4, session),
            Need::Growth(session) => (5, session),
            Need::Restore(session) => (6, session),
            Need::Prefetch(session) => (7, session),
        };
        let base = self.draw(question, asker, view);
        let anybody = (0..view.sessions.len() as u32 + 2).map(SessionId);
        anybody
            .map(|session| (session, self.draw(8, session, view) ^ base))
            .filter(|(_, draw)| draw % 3 == 0)
            .map(|(session, draw)| Release {
                session,
                how: Self::then(draw >> 8),
            })
            .collect()
    }

    fn prefetch_at(&self, view: &View<'_>, session: SessionId) -> Option<Time> {
        let draw = self.draw(9, session, view);
        let seen = view.session(session);
        match draw % 4 {
            0 => None,
            1 => Some(Time::NEVER),
            _ => Some(seen.idle_since + model::Nanos((draw >> 32) % 300_000_000)),
        }
    }

    fn restore(&self, view: &View<'_>, session: SessionId) -> Restore {
        match self.draw(10, session, view) % 4 {
            0 => Restore::Recompute,
            1 => Restore::Split(Blocks(self.0 as u32 % 4)),
            2 => Restore::Overlap(Blocks((self.0 >> 8) as u32 % 3)),
            _ => Restore::Load,
        }
    }

    fn cadence(&self) -> Cadence {
        let count = NonZeroU32::new(1 + (self.0 >> 8) as u32 % 9).expect("at least 1");
        match self.0 % 3 {
            0 => Cadence::OnChange,
            1 => Cadence::Steps(count),
            _ => Cadence::Every(Nanos(10_000_019 * u64::from(count.get()))),
        }
    }

    fn admit(&self, view: &View<'_>, session: SessionId) -> Admission {
        // Another answer when others are in the batch.
        let busy = u64::from(view.running > 1);
        match self.draw(12 + busy, session, view) % 4 {
            0 => Admission::Hold,
            _ => Admission::Enter,
        }
    }

    fn order(&self, view: &View<'_>, session: SessionId) -> OrderKey {
        let preempted = i64::from(!view.session(session).preempted);
        OrderKey::then(preempted, (self.draw(14, session, view) % 3) as i64)
    }

    fn plan(&self, view: &View<'_>) -> Plan {
        let anybody = (0..view.sessions.len() as u32 + 2).map(SessionId);
        let mut plan = Plan::default();
        for session in anybody {
            let held = view.held.len() as u64;
            match self.draw(16, session, view).wrapping_add(held) % 12 {
                0 => plan.pause.push(session),
                1 | 2 => plan.resume.push(session),
                3 => plan
                    .retain
                    .push((session, self.retention(17, session, view))),
                4 => plan.prefetch.push(session),
                5 => plan.disk.push((session, DiskMove::Store)),
                6 => plan.disk.push((session, DiskMove::Demote)),
                7 => plan.disk.push((session, DiskMove::Promote)),
                8 => plan.disk.push((session, DiskMove::Stop)),
                _ => {}
            }
        }
        plan
    }

    fn step_budget(&self, view: &View<'_>) -> StepBudget {
        match (self.0 >> 16) % 3 {
            0 => StepBudget {
                tokens: Tokens(40 - view.running.min(8)),
                chunk: Tokens(7 * view.queued),
                ..StepBudget::UNLIMITED
            },
            1 => StepBudget {
                copy: [Bytes(2_500_000), Bytes(u64::from(view.queued) * 1_000_000)],
                ..StepBudget::UNLIMITED
            },
            _ => StepBudget::UNLIMITED,
        }
    }

    fn chunk(&self, view: &View<'_>, session: SessionId) -> Tokens {
        match self.draw(18, session, view) % 3 {
            0 => Tokens(11),
            _ => Tokens(u32::MAX),
        }
    }

    fn preempt(&self, view: &View<'_>, session: SessionId) -> Option<SessionId> {
        let draw = self.draw(19, session, view) as usize;
        match draw % 3 {
            0 => view
                .batch
                .get((draw >> 8) % (view.batch.len() + 1))
                .copied(),
            1 => Some(SessionId((draw >> 8) as u32 % 9)),
            _ => None,
        }
    }

    fn break_pin(&self, view: &View<'_>) -> Option<SessionId> {
        let soonest = view.idle_by_pin_end.first()?.1;
        (self.draw(20, soonest, view).is_multiple_of(2)).then_some(soonest)
    }

    fn host_victims(&self, view: &View<'_>, _: Blocks, session: SessionId) -> Vec<HostRelease> {
        let anybody = (0..view.sessions.len() as u32 + 2).map(SessionId);
        let base = self.draw(21, session, view);
        anybody
            .map(|session| (session, self.draw(22, session, view) ^ base))
            .filter(|(_, draw)| draw.is_multiple_of(4))
            .map(|(session, draw)| match draw >> 24 & 1 {
                0 => HostRelease::Demote(session),
                _ => HostRelease::GiveUp {
                    session,
                    blocks: Blocks((draw >> 8) as u32 % 7 + 1),
                    end: Self::end(draw >> 16),
                },
            })
            .collect()
    }

    fn disk_victims(&self, view: &View<'_>, _: Blocks, session: SessionId) -> Vec<SessionId> {
        let anybody = (0..view.sessions.len() as u32 + 2).map(SessionId);
        let base = self.draw(24, session, view);
        anybody
            .filter(|&session| (self.draw(25, session, view) ^ base).is_multiple_of(3))
            .collect()
    }

    fn fetch(&self, view: &View<'_>, session: SessionId) -> Fetch {
        let draw = self.draw(26, session, view);
        let since = view.session(session).ready_since;
        match draw % 6 {
            0 => Fetch::Recompute,
            1 => Fetch::Later,
            2 | 3 => Fetch::Read {
                until: since + Nanos((draw >> 32) % 30_000_000),
            },
            _ => Fetch::Read { until: Time::NEVER },
        }
    }

    fn computes_mid_sequence(&self) -> bool {
        (self.0 >> 20).is_multiple_of(2)
    }

    fn price(&self, view: &View<'_>, session: SessionId) -> Vec<Priced> {
        let part = |draw: u64| Priced {
            blocks: Blocks(draw as u32 % 6),
            price: Price((draw >> 8) as i64 % 4 - 1),
            until: view.now + Nanos((draw >> 16) % 300_000_000),
        };
        let draw = self.draw(23, session, view);
        match draw % 3 {
            0 => Vec::new(),
            1 => vec![part(draw >> 4)],
            _ => vec![part(draw >> 4), part(draw >> 20)],
        }
    }

    fn queueing(&self, view: &View<'_>, session: SessionId) -> Queueing {
        match self.draw(11, session, view) % 4 {
            0 => Queueing::Front,
            _ => Queueing::Back,
        }
    }
}
