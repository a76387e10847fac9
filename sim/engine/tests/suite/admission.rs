//! Who enters, who goes first, and how much a step does, as the policy wants it: timelines summed by hand. A step takes 10 ms and 1 ms per
//! prefill token; a block is 16 tokens.

use crate::common::{Log, MS, Rig, session};
use crate::scripted::{Scripted, run};
use engine::record::Part;
use model::{
    Admission, Cadence, Nanos, OrderKey, Plan, Retention, SessionId, StepBudget, Then, Tokens, View,
};
use std::num::NonZeroU32;

/// a runs 0..30, 30..40, 40..50 if nothing disturbs it; b arrives at 5.
fn two() -> Rig {
    let a = session("a", 0, &[(0, 20, 3)]);
    let b = session("b", 5, &[(0, 10, 2)]);
    Rig::new(20, 20, vec![a, b])
}

fn one_at_a_time(view: &View<'_>, _: SessionId) -> Admission {
    if view.running + view.queued > 0 {
        Admission::Hold
    } else {
        Admission::Enter
    }
}

fn part_ms(log: &Log, session: u32, turn: u32, part: Part) -> u64 {
    log.turn(session, turn).parts[part as usize].0 / MS
}

#[test]
fn a_turn_that_is_withheld_enters_when_the_answer_changes() {
    let policy = Scripted {
        admit: one_at_a_time,
        ..Scripted::default()
    };
    let log = run(&two(), policy);
    // b is held from 5 to the end of a at 50; then 10 + 10, and a decode step.
    assert_eq!(log.times_ms(0, 0), (30, 50));
    assert_eq!(log.times_ms(1, 0), (70, 80));
    assert_eq!(part_ms(&log, 1, 0, Part::Hold), 45);
    assert_eq!(part_ms(&log, 1, 0, Part::Prefill), 20);
    let lines = log.lines("s1 t0");
    assert_eq!(
        lines[2..5],
        [
            "0.005000000 s1 t0 hold done 0",
            "0.050000000 s1 t0 enter done 0",
            "0.050000000 s1 t0 admit hit=0 compute=10",
        ]
    );
}

#[test]
fn a_policy_that_polls_lets_nobody_in_between_its_ticks() {
    let policy = Scripted {
        admit: one_at_a_time,
        cadence: Cadence::Every(Nanos(100 * MS)),
        ..Scripted::default()
    };
    let log = run(&two(), policy);
    // As above, but the next tick is at 100.
    assert_eq!(log.times_ms(1, 0), (120, 130));
    assert_eq!(part_ms(&log, 1, 0, Part::Hold), 95);
}

#[test]
fn a_policy_that_counts_steps_is_asked_after_every_so_many() {
    let a = session("a", 0, &[(0, 20, 8)]);
    let b = session("b", 5, &[(0, 10, 2)]);
    let policy = Scripted {
        // From its fourth token on, a gives no reason to wait.
        admit: |view, session| match session {
            SessionId(1) if view.session(SessionId(0)).computed < Tokens(23) => Admission::Hold,
            _ => Admission::Enter,
        },
        cadence: Cadence::Steps(NonZeroU32::new(4).expect("not zero")),
        ..Scripted::default()
    };
    let log = run(&Rig::new(20, 0, vec![a, b]), policy);
    // a: 30, 40, 50, 60: four steps, 23 tokens with KV. b enters then: 10 + 10 to 80.
    assert_eq!(log.times_ms(1, 0), (80, 90));
    assert_eq!(part_ms(&log, 1, 0, Part::Hold), 55);
}

#[test]
fn a_paused_session_keeps_its_kv_and_waits_for_its_resumption() {
    let a = session("a", 0, &[(0, 30, 3), (100, 10, 2)]);
    let policy = Scripted {
        cadence: Cadence::Every(Nanos(100 * MS)),
        plan: |view| Plan {
            pause: (view.now.0 == 100 * MS)
                .then_some(SessionId(0))
                .into_iter()
                .collect(),
            resume: (view.now.0 == 300 * MS)
                .then_some(SessionId(0))
                .into_iter()
                .collect(),
            ..Plan::default()
        },
        ..Scripted::default()
    };
    // Of a second session the engine knows, or it would see that nothing else can happen.
    let b = session("b", 1_000, &[(0, 10, 1)]);
    let log = run(&Rig::new(20, 0, vec![a, b]), policy);
    // Paused at 100 while it waits; ready at 160, resumed at 300: 43 tokens, 32 of them held, 10 + 11.
    assert_eq!(log.times_ms(0, 1), (321, 331));
    assert_eq!(part_ms(&log, 0, 1, Part::Hold), 140);
    assert_eq!(log.turn(0, 1).hit, Tokens(32));
    let lines: Vec<_> = log
        .lines("s0")
        .into_iter()
        .map(|line| &line[12..])
        .collect();
    assert_eq!(
        lines[6..11],
        [
            "s0 t0 pause done 2",
            "s0 t1 ready",
            "s0 t1 hold done 2",
            "s0 t1 resume done 2",
            "s0 t1 admit hit=32 compute=11",
        ]
    );
}

#[test]
fn a_running_session_finishes_its_turn_before_it_pauses() {
    let a = session("a", 0, &[(0, 20, 3), (10, 10, 1)]);
    let policy = Scripted {
        plan: |view| Plan {
            // b arrives at 5: a runs. c arrives at 200.
            pause: (view.sessions.len() == 2)
                .then_some(SessionId(0))
                .into_iter()
                .collect(),
            resume: (view.sessions.len() == 3)
                .then_some(SessionId(0))
                .into_iter()
                .collect(),
            ..Plan::default()
        },
        ..Scripted::default()
    };
    let b = session("b", 5, &[(0, 10, 1)]);
    let c = session("c", 200, &[(0, 10, 1)]);
    let log = run(&Rig::new(20, 0, vec![a, b, c]), policy);
    // 0..30 a, 30..50 a with b, 50..60 a. Ready at 70, held to 200. Then 33 - 16 = 17 tokens of a and 10 of c: 10 + 27.
    assert_eq!(log.times_ms(0, 0), (30, 60));
    assert_eq!(log.times_ms(0, 1), (237, 237));
    assert_eq!(part_ms(&log, 0, 1, Part::Hold), 130);
}

#[test]
fn a_policy_that_lets_nobody_in_is_overruled() {
    let never = |_: &View<'_>, _: SessionId| Admission::Hold;
    for (cadence, enters) in [(Cadence::OnChange, 5), (Cadence::Every(Nanos(40 * MS)), 40)] {
        let policy = Scripted {
            admit: never,
            cadence,
            ..Scripted::default()
        };
        let log = run(&two(), policy);
        // As long as b may still come, a waits. Then the longest held enters: a to its end, 50 later, and b; periodically at a tick.
        assert_eq!(log.summary.holds_broken, 2);
        assert_eq!(log.times_ms(0, 0), (enters + 30, enters + 50));
        assert_eq!(log.lines("break-hold").len(), 2);
        let second = if enters == 5 { 55 } else { 120 };
        assert_eq!(log.times_ms(1, 0).0, second + 20);
    }
}

#[test]
fn kv_of_a_session_that_is_held_may_be_chosen_as_a_victim() {
    let a = session("a", 0, &[(0, 30, 3), (100, 10, 2)]);
    let b = session("b", 170, &[(0, 60, 1)]);
    let policy = Scripted {
        admit: |view, session| match view.session(session).turn.0 {
            1 if view.sessions.len() == 1 || view.running + view.queued > 0 => Admission::Hold,
            _ => Admission::Enter,
        },
        victims: |view, _, _| {
            let idle = view.idle_by_age.iter();
            idle.map(|(_, session)| model::Release {
                session,
                how: Then::SwapOut,
            })
            .collect()
        },
        ..Scripted::default()
    };
    let log = run(&Rig::new(4, 4, vec![a, b]), policy);
    // a is held from 160 with 2 blocks; b needs all 4 at 170: a leaves 170..172, and the next poll, 1 ms after the first, finds room.
    assert_eq!(log.lines("swap-out"), ["0.170000000 s0 t1 swap-out done 2"]);
    assert_eq!(log.turn(1, 0).preemptions, 0);
    // b runs 10 + 60 from 172 at the latest; a comes in at its end, waits for its copy of 2 ms, and computes 11 tokens.
    let b_ends = log.times_ms(1, 0).1;
    assert_eq!(log.times_ms(0, 1).0, b_ends + 2 + 21);
    assert_eq!(part_ms(&log, 0, 1, Part::Hold), b_ends - 160);
    assert_eq!(part_ms(&log, 0, 1, Part::Copy), 2);
}

#[test]
fn a_plan_brings_back_the_kv_of_a_session_that_is_held() {
    let a = session("a", 0, &[(0, 30, 3), (100, 10, 2)]);
    let policy = Scripted {
        on_idle: |_, _| Retention::SwapOut(model::SwapOut::IfRoom),
        admit: |view, session| match view.session(session).turn.0 {
            1 if view.now.0 < 300 * MS => Admission::Hold,
            _ => Admission::Enter,
        },
        cadence: Cadence::Every(Nanos(100 * MS)),
        plan: |view| Plan {
            prefetch: (view.now.0 == 200 * MS)
                .then_some(SessionId(0))
                .into_iter()
                .collect(),
            ..Plan::default()
        },
        ..Scripted::default()
    };
    let b = session("b", 1_000, &[(0, 10, 1)]);
    let log = run(&Rig::new(20, 20, vec![a, b]), policy);
    // Ready at 160, fetched 200..202, let in at 300.
    assert_eq!(log.times_ms(0, 1), (321, 331));
    assert_eq!(part_ms(&log, 0, 1, Part::Copy), 0);
    assert_eq!(log.session(0).prefetches, 1);
}

#[test]
fn a_plan_changes_what_becomes_of_kv_that_is_held() {
    let a = session("a", 0, &[(0, 30, 3), (500, 10, 2)]);
    let b = session("b", 100, &[(0, 10, 1)]);
    let policy = Scripted {
        plan: |view| Plan {
            retain: (view.sessions.len() == 2)
                .then_some((SessionId(0), Retention::Discard))
                .into_iter()
                .collect(),
            ..Plan::default()
        },
        ..Scripted::default()
    };
    let log = run(&Rig::new(20, 0, vec![a, b]), policy);
    // Kept from 60 on, discarded when b has entered; asked for again at every change, in vain.
    assert_eq!(
        log.lines("s0 t0 discard"),
        ["0.100000000 s0 t0 discard done 2"]
    );
    assert!(!log.lines("release void").is_empty());
    assert_eq!(log.turn(0, 1).hit, Tokens(0));
}

#[test]
fn smaller_keys_go_first_and_equal_keys_keep_their_order() {
    let sessions = ["a", "b", "c", "d"].iter().enumerate();
    let sessions = sessions.map(|(i, name)| session(name, i as u64, &[(0, 10, 1)]));
    let rig = Rig::new(20, 0, sessions.collect()).with(|c| c.batching.max_seqs = 1);
    let policy = Scripted {
        order: |_, session| OrderKey::by(i64::from(session.0 != 3)),
        ..Scripted::default()
    };
    let log = run(&rig, policy);
    // Each takes 20 ms. a is alone at 0; then d, whose key is smaller; b and c as they came.
    let ends: Vec<_> = (0..4).map(|s| log.times_ms(s, 0).1).collect();
    assert_eq!(ends, [20, 60, 80, 40]);
}

#[test]
fn keys_that_age_are_asked_again_at_ticks() {
    let sessions = ["a", "b", "c"].iter().enumerate();
    let sessions = sessions.map(|(i, name)| session(name, i as u64, &[(0, 90, 3)]));
    let rig = Rig::new(20, 0, sessions.collect()).with(|c| c.batching.max_seqs = 1);
    let age = |view: &View<'_>, session: SessionId| {
        let turned = view.now.0 >= 105 * MS;
        OrderKey::by(i64::from(session.0) * if turned { -1 } else { 1 })
    };
    let ends = |cadence| {
        let policy = Scripted {
            order: age,
            cadence,
            ..Scripted::default()
        };
        let log = run(&rig, policy);
        [0, 1, 2].map(|s| log.times_ms(s, 0).1)
    };
    // Each takes 100 + 20 ms; from 105 on the order of b and c is another, which only a tick (at 110) tells.
    assert_eq!(ends(Cadence::OnChange), [120, 240, 360]);
    assert_eq!(ends(Cadence::Every(Nanos(55 * MS))), [120, 360, 240]);
}

#[test]
fn a_step_computes_no_more_than_the_budget() {
    let a = session("a", 0, &[(0, 20, 1)]);
    let budget = |tokens, chunk| Scripted {
        budget: StepBudget {
            tokens: Tokens(tokens),
            chunk: Tokens(chunk),
            ..StepBudget::UNLIMITED
        },
        ..Scripted::default()
    };
    let b = session("b", 0, &[(0, 20, 1)]);
    let rig = Rig::new(20, 0, vec![a, b]);
    // Tokens: 8 at a time, a first: 8, 8, 4 + 4, 8, 8: five steps of 18 ms. a ends with the third.
    let log = run(&rig, budget(8, u32::MAX));
    assert_eq!((log.times_ms(0, 0).1, log.times_ms(1, 0).1), (54, 90));
    // Chunk: 8 of each at a time: 16, 16, 8: 26 + 26 + 18 ms.
    let log = run(&rig, budget(u32::MAX, 8));
    assert_eq!((log.times_ms(0, 0).1, log.times_ms(1, 0).1), (70, 70));
    // By turn: 8 of a at a time, b whole: 28, 8, 4: 38 + 18 + 14 ms.
    let policy = Scripted {
        chunk: |_, session| Tokens(if session.0 == 0 { 8 } else { 100 }),
        ..Scripted::default()
    };
    let log = run(&rig, policy);
    assert_eq!((log.times_ms(0, 0).1, log.times_ms(1, 0).1), (70, 38));
}

#[test]
fn the_turn_that_the_policy_names_gives_way_even_if_the_step_includes_it() {
    // b's 33rd token needs a third block when a, which is earlier in the batch, is in the step already.
    let a = session("a", 0, &[(0, 31, 3)]);
    let b = session("b", 0, &[(0, 32, 3)]);
    let policy = Scripted {
        preempt: Some(SessionId(0)),
        ..Scripted::default()
    };
    let log = run(&Rig::new(4, 0, vec![a, b]), policy);
    // Both prefilled at 10 + 63 = 73; b alone to 83 and 93. a had 31 tokens with KV: its first block survives, its second does not hold
    // what the step would have written. It computes 32 - 16 tokens, 15 of them again: 10 + 16 to 119, and one more step.
    assert_eq!(log.summary.preemptions, 1);
    assert_eq!(log.times_ms(0, 0), (73, 129));
    assert_eq!(log.times_ms(1, 0), (73, 93));
    let turn = log.turn(0, 0);
    assert_eq!((turn.resumed, turn.recomputed), (Tokens(16), Tokens(15)));
}

#[test]
fn the_pin_that_the_policy_names_is_broken() {
    let a = session("a", 0, &[(0, 30, 3), (1_000, 1, 1)]);
    let b = session("b", 100, &[(0, 30, 3), (1_000, 1, 1)]);
    let c = session("c", 500, &[(0, 40, 1)]);
    let policy = Scripted {
        break_pin: Some(SessionId(0)),
        ..Scripted::default()
    };
    let log = run(&Rig::new(6, 0, vec![a, b, c]), policy);
    // The engine's own rule would break b's, which arrived later.
    assert_eq!(
        log.lines("break-pin"),
        ["0.500000000 s0 t0 break-pin done 2"]
    );
}

#[test]
fn thunderagents_queue_holds_programs_that_are_paused_while_their_tools_run() {
    // HBM holds 192 tokens. a and b come to 62 and 144 of them, 206 in all: the tick at 1 s pauses a, the shorter one. c, of 20, would fit into
    // the 48 that are left, but goes straight in only if nobody is paused: the next tick lets it in.
    let a = session("a", 0, &[(0, 60, 2), (10_000, 5, 1)]);
    let b = session("b", 300, &[(0, 100, 2), (500, 40, 2), (10_000, 5, 1)]);
    let c = session("c", 1_200, &[(0, 20, 1)]);
    let rig = Rig::new(12, 0, vec![a, b, c]);
    let log = rig.run("thunderagent-release[tick_s=1,overhead_tokens=0]");
    assert_eq!(log.lines("pause"), ["1.000000000 s0 t0 pause done 0"]);
    let held = [
        "1.200000000 s2 t0 hold done 0",
        "10.080000000 s0 t1 hold done 0",
    ];
    assert_eq!(log.lines(" hold"), held);
    // a's next turn finds b in its way until that has ended, soon after 11 s.
    let resumed = [
        "2.000000000 s2 t0 resume done 0",
        "12.000000000 s0 t1 resume done 0",
    ];
    assert_eq!(log.lines("resume"), resumed);
}
