//! Broken devices and illegal answers: the checks must catch what they are for.

use crate::common::{MS, Rig, session};
use crate::scripted::Scripted;
use devices::SimDevice;
use engine::RunError;
use engine::device::{Completion, Device, Op};
use model::{Direction, Nanos, OpId, Release, Retention, SessionId, SwapOut, Then, Time};

/// What is wrong with a device.
#[derive(Clone, Copy, PartialEq)]
enum Defect {
    /// The completion of this operation never arrives.
    Loses(OpId),
    /// Copies end when they begin.
    InstantCopies,
    /// The third wait returns an earlier time than the second.
    ClockGoesBack,
    /// This completion arrives again with the next.
    Repeats(OpId),
    /// This completion says that it ends a little after the present.
    Foresees(OpId),
}

struct Broken {
    inner: SimDevice,
    defect: Defect,
    copies: Vec<OpId>,
    in_flight: u32,
    waits: u32,
    now: Time,
    again: Option<Completion>,
}

impl Device for Broken {
    fn submit(&mut self, op: Op) {
        if let Op::Copy(run) = &op {
            self.copies.push(run.id);
        }
        self.in_flight += 1;
        self.inner.submit(op);
    }

    fn cut(&mut self, op: OpId) -> u32 {
        self.inner.cut(op)
    }

    fn progress(&self, op: OpId) -> u32 {
        self.inner.progress(op)
    }

    fn wait(&mut self, until: Option<Time>, done: &mut Vec<Completion>) -> Time {
        if until.is_none() && self.in_flight == 0 {
            return self.now;
        }
        let first = done.len();
        let woke = self.inner.wait(until, done);
        self.in_flight -= (done.len() - first) as u32;
        self.waits += 1;
        done.extend(self.again.take());
        match self.defect {
            Defect::Loses(op) => done.retain(|c| c.op != op),
            Defect::InstantCopies => {
                for completion in done.iter_mut().filter(|c| self.copies.contains(&c.op)) {
                    completion.end = completion.start;
                }
            }
            Defect::Repeats(op) => {
                self.again = done.iter().find(|c| c.op == op).cloned();
            }
            Defect::Foresees(op) => {
                for completion in done.iter_mut().filter(|c| c.op == op) {
                    completion.end = completion.end + Nanos(1);
                }
            }
            Defect::ClockGoesBack if self.waits == 3 => return self.now.before(Nanos(1)),
            Defect::ClockGoesBack => {}
        }
        self.now = woke;
        woke
    }

    fn lane_busy(&self, direction: Direction) -> Nanos {
        self.inner.lane_busy(direction)
    }
}

fn rig() -> Rig {
    let turns = [(0, 30, 3), (100, 10, 2)];
    Rig::new(
        20,
        20,
        vec![session("a", 0, &turns), session("b", 10, &turns)],
    )
}

/// The checker that ends a run on such a device; every idle session is swapped out.
fn caught(rig: &Rig, defect: Defect) -> String {
    let mut device = Broken {
        inner: rig.device(),
        defect,
        copies: Vec::new(),
        in_flight: 0,
        waits: 0,
        now: Time::ZERO,
        again: None,
    };
    match rig.on(&mut device, "djinn-as-run").map_err(|f| f.error) {
        Err(RunError::Check { checker, .. }) => checker.to_owned(),
        other => panic!("not caught: {other:?}"),
    }
}

#[test]
fn a_lost_completion_is_caught() {
    // Operation 0 is the first step. Ahead, the second step is submitted behind it, and is over first.
    assert_eq!(
        caught(&rig(), Defect::Loses(OpId(0))),
        "every operation completes"
    );
    let ahead = rig().with(|c| c.batching.ahead = true);
    assert_eq!(caught(&ahead, Defect::Loses(OpId(0))), "step order");
    let rig = rig().with(|c| c.batching = engine::Batching::serial());
    assert_eq!(
        caught(&rig, Defect::Loses(OpId(0))),
        "every operation completes"
    );
}

#[test]
fn a_lost_copy_is_caught() {
    let copy = rig()
        .run("djinn-as-run")
        .ops
        .into_iter()
        .find(|op| matches!(op.kind, engine::record::OpKind::Copy { .. }));
    let copy = copy.expect("somebody is swapped out").op;
    assert_eq!(
        caught(&rig(), Defect::Loses(copy)),
        "every operation completes"
    );
}

#[test]
fn a_copy_that_takes_no_time_is_caught() {
    assert_eq!(
        caught(&rig(), Defect::InstantCopies),
        "moved bytes cost time"
    );
}

#[test]
fn a_clock_that_goes_back_is_caught() {
    assert_eq!(caught(&rig(), Defect::ClockGoesBack), "time");
}

#[test]
fn a_completion_from_the_future_is_caught() {
    assert_eq!(caught(&rig(), Defect::Foresees(OpId(0))), "time");
}

#[test]
fn a_completion_that_comes_twice_is_caught() {
    assert_eq!(caught(&rig(), Defect::Repeats(OpId(0))), "completions");
}

#[test]
fn illegal_victims_are_void_and_harm_nothing() {
    // b needs 5 blocks at 50 ms, while a runs on 2 of 6 blocks: nobody is idle.
    let a = session("a", 0, &[(0, 30, 3), (1_000, 1, 1)]);
    let b = session("b", 45, &[(0, 75, 1)]);
    let rig = Rig::new(6, 6, vec![a, b]);
    let honest = rig.run_own(Scripted::default()).expect("the run ends");
    let illegal = Scripted {
        victims: |_, _, _| {
            let who = [0, 1, 999].map(SessionId);
            who.map(|session| Release {
                session,
                how: Then::SwapOut,
            })
            .to_vec()
        },
        ..Scripted::default()
    };
    let log = rig.run_own(illegal).expect("the run ends");
    let void: Vec<_> = log
        .lines("release void")
        .iter()
        .take(3)
        .map(|line| line.split(' ').nth(1).expect("a session").to_owned())
        .collect();
    assert_eq!(void, ["s0", "s1", "s999"], "running, waiting, unknown");
    assert_eq!(log.turn(1, 0).hit, honest.turn(1, 0).hit);
    assert_eq!(log.sessions.len(), 2);
}

#[test]
fn what_can_never_be_served_is_an_error_and_not_a_hang() {
    let rig = Rig::new(3, 0, vec![session("big", 0, &[(0, 60, 1)])]);
    let error = rig
        .run_own(Scripted::default())
        .expect_err("4 blocks of 3")
        .error;
    let expected = RunError::TooLong {
        session: "big".to_owned(),
        needed: 4,
        capacity: 3,
    };
    assert_eq!(error, expected);
}

#[test]
fn a_device_may_not_be_asked_to_swap_what_is_not_there() {
    // A turn of less than a block has nothing to swap: no copy, no count.
    let rig = Rig::new(6, 6, vec![session("a", 0, &[(0, 3, 2), (50, 3, 2)])]);
    let policy = Scripted {
        on_idle: |_, _| Retention::SwapOut(SwapOut::OrDiscard),
        ..Scripted::default()
    };
    let log = rig.run_own(policy).expect("the run ends");
    assert_eq!(
        (log.session(0).swaps, log.copies(model::Bytes(MS)).len()),
        (0, 0)
    );
}
