//! Hints, ends of sessions, and soft pins.

use crate::common::{MS, Rig, session};
use crate::metamorphic::busy;
use crate::scripted::Scripted;
use engine::record::Part;
use engine::{EndSignal, HintKind, HintNoise};
use model::{Nanos, Retention, SwapOut, Then, Time};

fn noisy(noise: HintNoise) -> Rig {
    Rig::new(14, 30, busy()).with(|c| c.hints.noise = noise)
}

#[test]
fn a_lost_signal_is_logged_and_nothing_is_said() {
    let drop_all = HintNoise {
        drop: 1.0,
        ..HintNoise::default()
    };
    let log = noisy(drop_all).run("djinn");
    // Six sessions of three turns: two waits each.
    assert_eq!(log.lines("signal-lost").len(), 12);
    assert_eq!(log.lines("io-wait").len(), 0);
    assert_eq!(log.lines("prefetch-at").len(), 0, "nothing says when");
}

#[test]
fn some_signals_are_lost_for_every_policy_alike() {
    let noise = HintNoise {
        drop: 0.5,
        ..HintNoise::default()
    };
    let lost = |policy| {
        let log = noisy(noise).run(policy);
        let mut who: Vec<_> = log
            .lines("signal-lost")
            .iter()
            .map(|line| line.split_once(' ').expect("a time").1.to_owned())
            .collect();
        who.sort();
        who
    };
    assert_eq!(lost("djinn"), lost("keep-always"));
    assert!((1..12).contains(&lost("djinn").len()));
}

#[test]
fn a_delay_holds_up_both_signals_and_counts_as_such() {
    let noise = HintNoise {
        delay: Nanos(7 * MS),
        ..HintNoise::default()
    };
    let a = session("a", 0, &[(0, 30, 3), (100, 10, 2)]);
    let rig = Rig::new(20, 0, vec![a]).with(|c| c.hints.noise = noise);
    let log = rig.run("keep-always");
    // Start at 7; 10 + 30 + 2 x 10: end at 67; ready at 167, delivered at 174.
    let turn = log.turn(0, 1);
    assert_eq!((turn.ready, turn.signal), (Time(167 * MS), Time(174 * MS)));
    assert_eq!(turn.parts[Part::Signal as usize], Nanos(7 * MS));
    assert_eq!(
        log.lines("io-wait"),
        ["0.074000000 s0 t0 io-wait expected=0.167000000"]
    );
}

#[test]
fn a_hint_that_comes_after_the_swap_out_still_plans_the_prefetch() {
    let noise = HintNoise {
        delay: Nanos(10 * MS),
        ..HintNoise::default()
    };
    let a = session("a", 0, &[(0, 30, 3), (100, 10, 2)]);
    let policy = Scripted {
        on_idle: |_, _| Retention::SwapOut(SwapOut::IfRoom),
        prefetch_at: |view, s| view.session(s).hint.map(|hint| hint.returns_at),
        ..Scripted::default()
    };
    let rig = Rig::new(20, 20, vec![a]).with(|c| c.hints.noise = noise);
    let log = rig.run_own(policy).expect("the run ends");
    // Start at 10, end at 70, out by 72; the signal comes at 80 and says 170.
    assert_eq!(
        log.lines("prefetch-at"),
        ["0.080000000 s0 t0 prefetch-at 0.170000000"]
    );
}

#[test]
fn bias_moves_the_expected_return() {
    let noise = HintNoise {
        bias: 1.5,
        ..HintNoise::default()
    };
    let a = session("a", 0, &[(0, 30, 3), (100, 10, 2)]);
    let rig = Rig::new(20, 0, vec![a]).with(|c| c.hints.noise = noise);
    // The wait begins at 60: 60 + 1.5 x 100.
    assert_eq!(
        rig.run("keep-always").lines("io-wait"),
        ["0.060000000 s0 t0 io-wait expected=0.210000000"]
    );
}

#[test]
fn history_says_nothing_until_it_has_seen_five_waits() {
    let turns: Vec<_> = (0..8)
        .map(|i| (if i == 0 { 0 } else { 100 }, 10, 2))
        .collect();
    let rig = Rig::new(20, 0, vec![session("a", 0, &turns)]);
    let rig = rig.with(|c| c.hints.kind = HintKind::History);
    let log = rig.run("keep-always");
    let said: Vec<_> = log
        .lines("io-wait")
        .iter()
        .map(|line| line.contains("expected="))
        .collect();
    assert_eq!(said, [false, false, false, false, false, true, true]);
    let silent = rig
        .clone()
        .with(|c| c.hints.kind = HintKind::None)
        .run("keep-always");
    assert!(silent.lines("expected=").is_empty());
}

#[test]
fn lost_signals_teach_nothing() {
    let turns: Vec<_> = (0..8)
        .map(|i| (if i == 0 { 0 } else { 100 }, 10, 2))
        .collect();
    let rig = Rig::new(20, 0, vec![session("a", 0, &turns)]).with(|c| {
        c.hints.kind = HintKind::History;
        c.faults.signal_lost = true;
    });
    assert!(rig.run("keep-always").lines("expected=").is_empty());
}

/// Block-milliseconds that a session of one turn (2 blocks, over at 60) holds while another runs to 1,000.
fn held_after_its_end(end: EndSignal) -> u128 {
    let a = session("a", 0, &[(0, 30, 3)]);
    let b = session("b", 900, &[(0, 70, 3)]);
    let rig = Rig::new(20, 0, vec![a, b]).with(|c| c.end = end);
    rig.run("keep-always").session(0).idle_block_ns / u128::from(MS)
}

#[test]
fn a_finished_session_is_let_go_when_its_end_is_known() {
    assert_eq!(held_after_its_end(EndSignal::Told), 0);
    let after = EndSignal::Timeout(Nanos(100 * MS));
    assert_eq!(held_after_its_end(after), 2 * 100);
    assert_eq!(held_after_its_end(EndSignal::Never), 2 * 940, "60..1,000");
}

#[test]
fn a_pin_ends_when_its_time_is_over() {
    let a = session("a", 0, &[(0, 30, 3), (100, 10, 2)]);
    let policy = Scripted {
        on_idle: |view, _| Retention::keep_until(view.now + Nanos(20 * MS)).then(Then::SwapOut),
        ..Scripted::default()
    };
    let log = Rig::new(20, 20, vec![a])
        .run_own(policy)
        .expect("the run ends");
    assert_eq!(log.lines("swap-out"), ["0.080000000 s0 t0 swap-out done 2"]);
}

#[test]
fn a_later_answer_replaces_the_end_of_the_pin() {
    let noise = HintNoise {
        delay: Nanos(10 * MS),
        ..HintNoise::default()
    };
    let a = session("a", 0, &[(0, 30, 3), (100, 10, 2)]);
    let policy = Scripted {
        on_idle: |view, s| {
            if view.session(s).signalled {
                Retention::keep()
            } else {
                Retention::keep_until(view.now + Nanos(20 * MS)).then(Then::Discard)
            }
        },
        ..Scripted::default()
    };
    let rig = Rig::new(20, 20, vec![a]).with(|c| c.hints.noise = noise);
    let log = rig.run_own(policy).expect("the run ends");
    assert_eq!(log.turn(0, 1).hit.0, 32, "nothing was discarded at 90 ms");
}
