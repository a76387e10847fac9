//! What a policy is told and asked, in groups that cost alike.

use super::crowd::{ASKED, AWAY, HELD, QUEUED, RUNS, admitted, turn_done};
use model::{Action, Blocks, Cadence, Direction, Event, Nanos, Need, Outcome, Report, Time, View};
use policy::Policy;
use std::hint::black_box;

/// A group of questions.
#[derive(Clone, Copy)]
pub struct Group {
    pub name: &'static str,
    pub ask: fn(&mut dyn Policy, &View<'_>),
}

/// Every question of the `Policy` trait that is asked during a run is in one of them.
pub const GROUPS: [Group; 5] = [
    Group {
        name: "observe",
        ask: observe,
    },
    Group {
        name: "turn",
        ask: turn,
    },
    Group {
        name: "shortage",
        ask: shortage,
    },
    Group {
        name: "host full",
        ask: host_full,
    },
    Group {
        name: "step",
        ask: step,
    },
];

/// One session's round: it is ready, let in, done, waits, and leaves for the host and comes back.
fn observe(policy: &mut dyn Policy, view: &View<'_>) {
    let out = Outcome::Done(Blocks(64));
    let copied = |direction| Event::Copied {
        session: ASKED,
        direction,
        blocks: Blocks(64),
        asked: Time(1),
    };
    for event in [
        Event::Compute(ASKED, Nanos::from_millis(500)),
        admitted(ASKED),
        turn_done(ASKED),
        Event::IoWait(ASKED),
        Event::Short(Need::Admission(QUEUED), Blocks(64)),
        Event::Acted(ASKED, Action::SwapOut, out),
        copied(Direction::D2h),
        Event::Acted(ASKED, Action::Prefetch, out),
        copied(Direction::H2d),
    ] {
        policy.observe(view, &event);
    }
}

/// About one session: its turn ends, its KV is cached or away, the next turn is ready, let in and computed.
fn turn(policy: &mut dyn Policy, view: &View<'_>) {
    black_box(policy.on_idle(view, ASKED));
    black_box(policy.on_end(view, ASKED));
    black_box(policy.price(view, ASKED));
    black_box(policy.prefetch_at(view, AWAY));
    black_box(policy.admit(view, ASKED));
    black_box(policy.admit(view, HELD));
    black_box(policy.queueing(view, QUEUED));
    black_box(policy.order(view, QUEUED));
    black_box(policy.fetch(view, QUEUED));
    black_box(policy.restore(view, QUEUED));
    black_box(policy.chunk(view, RUNS));
}

/// HBM lacks a session's blocks, for each of the four that may want them, and then a pin must break or a turn be preempted.
fn shortage(policy: &mut dyn Policy, view: &View<'_>) {
    for why in [
        Need::Admission(QUEUED),
        Need::Growth(RUNS),
        Need::Restore(QUEUED),
        Need::Prefetch(AWAY),
    ] {
        black_box(policy.victims(view, Blocks(64), why));
    }
    black_box(policy.preempt(view, RUNS));
    black_box(policy.break_pin(view));
}

/// The host, or the disk behind it, lacks a session's blocks.
fn host_full(policy: &mut dyn Policy, view: &View<'_>) {
    black_box(policy.host_victims(view, Blocks(64), ASKED));
    black_box(policy.disk_victims(view, Blocks(64), ASKED));
}

/// A step is put together: what is to be done, all things considered, and the tick that precedes it.
fn step(policy: &mut dyn Policy, view: &View<'_>) {
    if policy.cadence() != Cadence::OnChange {
        policy.observe(view, &Event::Tick(Report::default()));
    }
    black_box(policy.plan(view));
    black_box(policy.step_budget(view));
}
