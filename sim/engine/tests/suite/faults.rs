//! Each injected defect changes what it should, and nothing else. The base run is one session of 30 + 3 tokens (2 blocks, over at 60 ms)
//! that leaves for the host, returns at 160 and adds 10 tokens.

use crate::common::{Log, MS, Rig, session};
use crate::scripted::Scripted;
use engine::Faults;
use model::{Bytes, Nanos, Retention, SwapOut, Time, Tokens};

fn swap() -> Scripted {
    Scripted {
        on_idle: |_, _| Retention::SwapOut(SwapOut::IfRoom),
        ..Scripted::default()
    }
}

fn run(policy: Scripted, faults: Faults) -> Log {
    let a = session("a", 0, &[(0, 30, 3), (100, 10, 2)]);
    let rig = Rig::new(20, 20, vec![a]).with(|c| {
        c.faults = faults;
        c.sample_every = Some(Nanos(100 * MS));
    });
    rig.run_own(policy)
        .unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn a_dropped_restore_costs_its_copy_and_then_a_recomputation() {
    let faults = Faults {
        restore_drops_copy: true,
        ..Faults::default()
    };
    let (good, bad) = (run(swap(), Faults::default()), run(swap(), faults));
    assert_eq!(
        good.copies(Bytes(MS)),
        bad.copies(Bytes(MS)),
        "the counters look right"
    );
    // After the copy, 43 tokens in place of 11: 162 + 10 + 43.
    assert_eq!(good.times_ms(0, 1).0, 183);
    assert_eq!(bad.times_ms(0, 1).0, 215);
    let turn = bad.turn(0, 1);
    assert_eq!(
        (turn.hit, turn.restored, turn.recomputed),
        (Tokens(0), Tokens(0), Tokens(32))
    );
}

#[test]
fn an_eviction_that_frees_nothing_holds_both_copies_until_the_return() {
    let faults = Faults {
        evict_frees_nothing: true,
        ..Faults::default()
    };
    let (good, bad) = (run(swap(), Faults::default()), run(swap(), faults));
    // At 100 ms the KV is on the host: 2 blocks there, and with the fault 2 in HBM as well.
    let held = |log: &Log| (log.samples[1].hbm_idle, log.samples[1].host_used);
    assert_eq!((held(&good), held(&bad)), ((0, 2), (2, 2)));
    assert_eq!(
        bad.session(0).moved,
        [Bytes(2 * MS), Bytes(0)],
        "nothing has to come back"
    );
    assert_eq!(bad.times_ms(0, 1).0, 181);
}

#[test]
fn a_prefetch_that_races_the_turn_moves_its_bytes_twice() {
    let faults = Faults {
        prefetch_races_compute: true,
        ..Faults::default()
    };
    let policy = Scripted {
        prefetch_at: |view, s| view.session(s).hint.map(|h| h.returns_at.before(Nanos(MS))),
        ..swap()
    };
    let (good, bad) = (run(policy, Faults::default()), run(policy, faults));
    // 159..161, and again 161..163.
    assert_eq!(good.session(0).moved[1], Bytes(2 * MS));
    assert_eq!(bad.session(0).moved[1], Bytes(4 * MS));
    assert_eq!(good.times_ms(0, 1).0, 182);
    assert_eq!(bad.times_ms(0, 1).0, 184);
    assert_eq!(bad.turn(0, 1).hit, Tokens(32));
}

#[test]
fn io_on_the_hot_path_holds_up_the_scheduler() {
    let faults = Faults {
        io_on_hot_path: Nanos(5 * MS),
        ..Faults::default()
    };
    let bad = run(swap(), faults);
    // The request is ready at 0 and scheduled at 5: 45, 65. IO_WAIT at 65 finds nothing to hold up. Ready at 165; restored by 167, held
    // up until 170: 170 + 21.
    assert_eq!(bad.times_ms(0, 0), (45, 65));
    assert_eq!(bad.turn(0, 1).ready, Time(165 * MS));
    assert_eq!(bad.times_ms(0, 1).0, 191);
}

#[test]
fn a_lost_signal_is_noticed_by_nobody_but_the_policy() {
    let faults = Faults {
        signal_lost: true,
        ..Faults::default()
    };
    let (good, bad) = (run(swap(), Faults::default()), run(swap(), faults));
    assert_eq!(
        (good.lines("io-wait").len(), bad.lines("io-wait").len()),
        (1, 0)
    );
    assert_eq!(bad.lines("signal-lost").len(), 1);
    assert_eq!(good.turns, bad.turns, "this policy does not listen");
}

#[test]
fn every_fault_has_a_name_and_an_unknown_name_none() {
    for name in Faults::NAMES {
        let mut faults = Faults::default();
        assert!(faults.add(name), "{name}");
        assert_ne!(faults, Faults::default(), "{name}");
    }
    assert!(!Faults::default().add("cosmic-rays"));
}
