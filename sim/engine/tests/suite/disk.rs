//! Timelines of the disk behind the host, summed by hand. A block takes 1 ms over the link, 4 ms to be written and 2 ms to be read; a chunk
//! is a block; two chunks are in a lane. A step takes 10 ms, and 1 ms more per prefill token.
//!
//! A session of 30 + 3 tokens holds 2 blocks when its turn ends, 60 ms after it began; one of 62 + 3 holds 4, and its turn takes
//! 10 + 62 + 2 x 10 = 92 ms.

use crate::common::{Log, MS, Rig, session};
use crate::scripted::{Scripted, run};
use engine::record::{Part, PrefetchOutcome};
use model::Direction::{D2h, DiskRead, DiskWrite, H2d};
use model::{
    Blocks, Bytes, Direction, DiskMove, Fetch, HostRelease, Nanos, Phase, Plan, Residence,
    Retention, SessionId, SessionView, SwapOut, Time, Tokens, View,
};

const A: SessionId = SessionId(0);

/// Out when a turn ends; every session whose KV rests on the host alone is demoted.
fn demoting() -> Scripted {
    Scripted {
        on_idle: |_, _| Retention::SwapOut(SwapOut::IfRoom),
        plan: |view| Plan {
            disk: all(DiskMove::Demote, resting(view, on_host_alone)),
            ..Plan::default()
        },
        ..Scripted::default()
    }
}

fn all(wish: DiskMove, sessions: Vec<SessionId>) -> Vec<(SessionId, DiskMove)> {
    sessions
        .into_iter()
        .map(|session| (session, wish))
        .collect()
}

fn on_host(seen: &SessionView) -> bool {
    seen.residence == Residence::Host
}

fn on_disk_alone(seen: &SessionView) -> bool {
    seen.residence == Residence::Disk
}

fn on_host_alone(seen: &SessionView) -> bool {
    seen.residence == Residence::Host && seen.disk_blocks == Blocks::ZERO
}

/// Sessions between turns of which this holds, and of which nothing moves between host and disk.
fn resting(view: &View<'_>, holds: fn(&SessionView) -> bool) -> Vec<SessionId> {
    let ids = (0..view.sessions.len() as u32).map(SessionId);
    ids.filter(|&id| {
        let seen = view.session(id);
        seen.phase == Phase::Idle && seen.disk_copy.is_none() && holds(seen)
    })
    .collect()
}

/// When the plan promotes, after the turn's end.
fn idle_for(view: &View<'_>, ms: u64) -> bool {
    let seen = view.session(A);
    view.now.since(seen.idle_since) >= Nanos(ms * MS)
}

fn copies(log: &Log) -> Vec<(Direction, u32, &'static str, u64, u64, u64)> {
    log.copies(Bytes(MS))
}

fn a(gap_ms: u64) -> model::Session {
    session("a", 0, &[(0, 30, 3), (gap_ms, 10, 2)])
}

#[test]
fn a_turn_waits_for_the_read_and_then_for_the_link() {
    let log = run(&Rig::new(20, 20, vec![a(100)]).with_disk(20), demoting());
    // Out 60..62, written 62..70. Ready at 160: read 160..164, back 164..166.
    assert_eq!(
        copies(&log),
        [
            (D2h, 0, "write-back", 2, 60, 62),
            (DiskWrite, 0, "write-back", 2, 62, 70),
            (DiskRead, 0, "demand", 2, 160, 164),
            (H2d, 0, "demand", 2, 164, 166),
        ]
    );
    assert_eq!(
        log.lines("s0 t0 d"),
        [
            "0.060000000 s0 t0 done",
            "0.062000000 s0 t0 demote done 2",
            "0.070000000 s0 t0 drop-host done 2",
        ]
    );
    assert_eq!(log.summary.disk_moved, [2, 2]);
    // 43 tokens, 32 of them brought back: 10 + 11 = 21 ms after both copies, to 187.
    let turn = log.turn(0, 1);
    assert_eq!((turn.hit, turn.recomputed), (Tokens(32), Tokens(0)));
    assert_eq!(turn.parts[Part::Copy as usize], Nanos(6 * MS));
    assert_eq!(turn.parts[Part::Prefill as usize], Nanos(21 * MS));
    assert_eq!(log.times_ms(0, 1), (187, 197));
}

#[test]
fn what_is_promoted_ahead_of_the_turn_waits_for_the_link_alone() {
    let policy = Scripted {
        plan: |view| Plan {
            disk: [
                all(DiskMove::Demote, resting(view, on_host_alone)),
                all(DiskMove::Promote, resting(view, on_disk_alone))
                    .into_iter()
                    .filter(|_| idle_for(view, 40))
                    .collect(),
            ]
            .concat(),
            ..Plan::default()
        },
        cadence: model::Cadence::Every(Nanos(25 * MS)),
        ..demoting()
    };
    let log = run(&Rig::new(20, 20, vec![a(100)]).with_disk(20), policy);
    // At 75 the plan demotes: written 75..83. At 100, 40 ms idle, it promotes: read 100..104. The turn is ready at 160.
    assert_eq!(
        copies(&log)[1..],
        [
            (DiskWrite, 0, "write-back", 2, 75, 83),
            (DiskRead, 0, "prefetch", 2, 100, 104),
            (H2d, 0, "demand", 2, 160, 162),
        ]
    );
    assert_eq!(
        log.turn(0, 1).parts[Part::Copy as usize],
        Nanos(2 * MS),
        "the read was over"
    );
    // The disk has its copy until the turn takes the KV.
    assert_eq!(
        log.lines("drop-disk"),
        ["0.160000000 s0 t1 drop-disk done 2"]
    );
}

#[test]
fn a_prefetch_of_what_the_disk_has_reads_and_then_restores() {
    let policy = Scripted {
        prefetch_at: |view, session| {
            let hint = view.session(session).hint?;
            Some(hint.returns_at.before(Nanos(50 * MS)))
        },
        ..demoting()
    };
    let log = run(&Rig::new(20, 20, vec![a(100)]).with_disk(20), policy);
    // From 110 on: read to 114, in HBM at 116.
    assert_eq!(
        copies(&log)[2..],
        [
            (DiskRead, 0, "prefetch", 2, 110, 114),
            (H2d, 0, "prefetch", 2, 114, 116),
        ]
    );
    let turn = log.turn(0, 1);
    assert_eq!(turn.prefetch, Some(PrefetchOutcome::InTime));
    assert_eq!(turn.parts[Part::Copy as usize], Nanos::ZERO);
}

#[test]
fn a_turn_that_is_ready_during_the_write_takes_its_kv_from_the_host() {
    let log = run(
        &Rig::new(20, 20, vec![session("a", 0, &[(0, 62, 3), (9, 10, 2)])]).with_disk(20),
        demoting(),
    );
    // Four blocks out 92..96, written from 96 on. Ready at 101, when the first is on the disk: the second and the third are in the lane, the
    // fourth never leaves. The host has its copy: back 101..105, while the write goes on to 108.
    assert_eq!(
        copies(&log),
        [
            (D2h, 0, "write-back", 4, 92, 96),
            (H2d, 0, "demand", 4, 101, 105),
            (DiskWrite, 0, "write-back", 3, 96, 108),
        ]
    );
    assert_eq!(
        log.lines("stop-disk"),
        ["0.101000000 s0 t1 stop-disk deferred"]
    );
    assert_eq!(log.turn(0, 1).parts[Part::Copy as usize], Nanos(4 * MS));
    assert_eq!(log.turn(0, 1).hit, Tokens(64));
}

#[test]
fn a_session_may_end_while_its_kv_is_being_written() {
    let rig = Rig::new(20, 20, vec![session("a", 0, &[(0, 62, 3)])])
        .with_disk(20)
        .with(|c| c.end = engine::EndSignal::Timeout(Nanos(9 * MS)));
    let log = run(&rig, demoting());
    // Ends at 92; taken for over at 101, with one block on the disk and two in the lane.
    let writes: Vec<_> = copies(&log)
        .into_iter()
        .filter(|c| c.0 == DiskWrite)
        .collect();
    assert_eq!(writes, [(DiskWrite, 0, "write-back", 3, 96, 108)]);
    // At the end of the run every block of every tier is free: the engine checks.
    assert_eq!(log.sessions.len(), 1);
}

#[test]
fn a_session_may_end_while_its_kv_is_being_read() {
    let policy = Scripted {
        plan: |view| Plan {
            disk: [
                all(DiskMove::Demote, resting(view, on_host_alone)),
                all(DiskMove::Promote, resting(view, on_disk_alone)),
            ]
            .concat(),
            ..Plan::default()
        },
        ..demoting()
    };
    let rig = Rig::new(20, 20, vec![session("a", 0, &[(0, 62, 3)])])
        .with_disk(20)
        .with(|c| c.end = engine::EndSignal::Timeout(Nanos(23 * MS)));
    let log = run(&rig, policy);
    // Out 92..96, written 96..112, read from 112 on; over at 115, when the first block has come: the second and third are in the lane.
    let reads: Vec<_> = copies(&log)
        .into_iter()
        .filter(|c| c.0 == DiskRead)
        .collect();
    assert_eq!(reads, [(DiskRead, 0, "prefetch", 3, 112, 118)]);
}

#[test]
fn host_pressure_demotes_and_the_next_swap_out_finds_room() {
    // a's two blocks fill the host when b ends at 130: they are demoted, and b's swap-out is clipped until that is done.
    let b = session("b", 70, &[(0, 30, 3), (100, 10, 2)]);
    let policy = Scripted {
        host_victims: &[HostRelease::Demote(A)],
        plan: |view| Plan {
            retain: resting(view, |seen| seen.residence == Residence::Hbm)
                .into_iter()
                .filter(|_| view.host.free > Blocks::ZERO)
                .map(|s| (s, Retention::SwapOut(SwapOut::IfRoom)))
                .collect(),
            ..Plan::default()
        },
        ..demoting()
    };
    let log = run(&Rig::new(20, 2, vec![a(300), b]).with_disk(20), policy);
    assert_eq!(
        copies(&log)[..3],
        [
            (D2h, 0, "write-back", 2, 60, 62),
            (DiskWrite, 0, "write-back", 2, 130, 138),
            (D2h, 1, "write-back", 2, 138, 140),
        ]
    );
    assert_eq!(
        log.lines("swap-out"),
        [
            "0.060000000 s0 t0 swap-out done 2",
            "0.130000000 s1 t0 swap-out clipped 0",
            "0.138000000 s1 t0 swap-out done 2",
        ]
    );
}

#[test]
fn a_read_waits_for_room_that_is_being_written_free() {
    // a is on the disk when b, on the host, fills it; a is ready at 260, and b is demoted for it: written 260..268.
    let b = session("b", 70, &[(0, 30, 3), (500, 10, 2)]);
    let policy = Scripted {
        host_victims: &[HostRelease::Demote(A), HostRelease::Demote(SessionId(1))],
        plan: |view| Plan {
            disk: all(DiskMove::Demote, resting(view, on_host))
                .into_iter()
                .filter(|&(s, _)| s == A)
                .collect(),
            ..Plan::default()
        },
        ..demoting()
    };
    let log = run(&Rig::new(20, 2, vec![a(200), b]).with_disk(20), policy);
    let of = |direction| {
        let copies = copies(&log).into_iter();
        copies
            .filter(|c| c.0 == direction)
            .map(|c| (c.1, c.4, c.5))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(DiskWrite), [(0, 62, 70), (1, 260, 268)]);
    assert_eq!(of(DiskRead)[0], (0, 268, 272));
    assert_eq!(log.turn(0, 1).parts[Part::Copy as usize], Nanos(14 * MS));
}

#[test]
fn a_ready_turn_reads_what_the_host_has_room_for_and_computes_the_rest() {
    // a's four blocks are on the disk; b holds three of the host's four when a is ready, and nobody gives any.
    let a = session("a", 0, &[(0, 62, 3), (300, 10, 2)]);
    let b = session("b", 100, &[(0, 50, 3), (900, 10, 2)]);
    let policy = Scripted {
        plan: |view| Plan {
            disk: all(DiskMove::Demote, resting(view, on_host))
                .into_iter()
                .filter(|&(s, _)| s == A)
                .collect(),
            ..Plan::default()
        },
        ..demoting()
    };
    let log = run(&Rig::new(20, 4, vec![a, b]).with_disk(20), policy);
    assert_eq!(
        log.lines("promote"),
        ["0.392000000 s0 t1 promote clipped 1"]
    );
    // One block read 392..394 and back 394..395; 75 - 16 tokens are computed, 48 of them again.
    let turn = log.turn(0, 1);
    assert_eq!(turn.parts[Part::Copy as usize], Nanos(3 * MS));
    assert_eq!((turn.hit, turn.recomputed), (Tokens(16), Tokens(48)));
}

#[test]
fn what_finds_no_room_on_the_disk_is_given_up_from_the_end() {
    // Four blocks, and a disk of three.
    let a = session("a", 0, &[(0, 62, 3), (300, 10, 2)]);
    let log = run(&Rig::new(20, 20, vec![a]).with_disk(3), demoting());
    assert_eq!(log.lines("demote"), ["0.096000000 s0 t0 demote clipped 3"]);
    assert_eq!(
        log.lines("drop-host"),
        [
            "0.096000000 s0 t0 drop-host done 1",
            "0.108000000 s0 t0 drop-host done 3"
        ]
    );
    assert_eq!(log.turn(0, 1).hit, Tokens(48));
}

#[test]
fn a_full_disk_gives_up_whom_the_policy_names() {
    // a is on the disk, which has two blocks, when b is demoted: a is given up and computes its prompt again.
    let b = session("b", 70, &[(0, 30, 3), (500, 10, 2)]);
    let policy = Scripted {
        disk_victims: &[A, SessionId(9)],
        ..demoting()
    };
    let log = run(&Rig::new(20, 20, vec![a(300), b]).with_disk(2), policy);
    assert_eq!(
        log.lines("drop-disk")[0],
        "0.132000000 s0 t0 drop-disk done 2"
    );
    assert_eq!(log.turn(0, 1).hit, Tokens(0));
    assert_eq!(log.turn(1, 1).hit, Tokens(32));
}

#[test]
fn a_copy_on_the_disk_frees_the_host_at_once() {
    // a is stored behind its swap-out: written 62..70, while the host keeps it. b ends at 130 and needs the host's two blocks: a's are free at
    // once. So are b's, which is stored likewise, when a's turn reads from the disk at 360.
    let b = session("b", 70, &[(0, 30, 3), (500, 10, 2)]);
    let policy = Scripted {
        plan: |view| Plan {
            disk: all(DiskMove::Store, resting(view, on_host_alone)),
            ..Plan::default()
        },
        host_victims: &[HostRelease::Demote(A), HostRelease::Demote(SessionId(1))],
        ..demoting()
    };
    let log = run(&Rig::new(20, 2, vec![a(300), b]).with_disk(20), policy);
    assert_eq!(
        log.lines("s0 t0 ")[5..],
        [
            "0.060000000 s0 t0 swap-out done 2",
            "0.060000000 s0 t0 copy-start D2H write-back 2",
            "0.062000000 s0 t0 copy-end D2H 2",
            "0.062000000 s0 t0 store done 2",
            "0.062000000 s0 t0 copy-start disk-write write-back 2",
            "0.070000000 s0 t0 copy-end disk-write 2",
            "0.130000000 s0 t0 demote done 2",
            "0.130000000 s0 t0 drop-host done 2",
        ][..]
    );
    assert!(copies(&log).contains(&(D2h, 1, "write-back", 2, 130, 132)));
    assert!(copies(&log).contains(&(DiskRead, 0, "demand", 2, 360, 364)));
}

#[test]
fn a_turn_stops_waiting_when_its_time_is_over_and_uses_what_has_come() {
    // Four blocks, ready at 392: the time is over at 395, with one block read and two in the lane, which come until 398. Three go back to HBM
    // until 401, and the fourth is computed: 75 - 48 = 27 tokens.
    let a = session("a", 0, &[(0, 62, 3), (300, 10, 2)]);
    let policy = Scripted {
        fetch: |view, session| Fetch::Read {
            until: view.session(session).ready_since + Nanos(3 * MS),
        },
        ..demoting()
    };
    let log = run(&Rig::new(20, 20, vec![a]).with_disk(20), policy);
    assert_eq!(
        copies(&log)[2..],
        [
            (DiskRead, 0, "demand", 3, 392, 398),
            (H2d, 0, "demand", 3, 398, 401),
        ]
    );
    let turn = log.turn(0, 1);
    assert_eq!((turn.hit, turn.recomputed), (Tokens(48), Tokens(16)));
    assert_eq!(log.times_ms(0, 1).0, 401 + 10 + 27);
}

#[test]
fn a_turn_that_does_not_wait_for_the_disk_computes_at_once() {
    let policy = Scripted {
        fetch: |_, _| Fetch::Recompute,
        ..demoting()
    };
    let log = run(&Rig::new(20, 20, vec![a(100)]).with_disk(20), policy);
    assert!(copies(&log).iter().all(|copy| copy.0 != DiskRead));
    let turn = log.turn(0, 1);
    assert_eq!((turn.hit, turn.recomputed), (Tokens(0), Tokens(32)));
    assert_eq!(log.times_ms(0, 1).0, 160 + 10 + 43);
}

#[test]
fn a_turn_that_may_not_read_yet_is_let_when_nothing_else_can_happen() {
    let policy = Scripted {
        fetch: |_, _| Fetch::Later,
        ..demoting()
    };
    // b runs 150..210 and a, ready at 160, waits; then nothing else can happen.
    let b = session("b", 150, &[(0, 30, 3)]);
    let log = run(&Rig::new(20, 20, vec![a(100), b]).with_disk(20), policy);
    assert!(copies(&log).contains(&(DiskRead, 0, "demand", 2, 210, 214)));
    assert_eq!(log.turn(0, 1).parts[Part::Copy as usize], Nanos(56 * MS));
}

#[test]
fn what_the_disk_still_has_is_clean_the_next_time() {
    // An inclusive disk keeps its copy as cache: of 2 + 1 blocks the second time only the last is written.
    let a = session("a", 0, &[(0, 30, 3), (100, 16, 2), (100, 10, 2)]);
    let rig = Rig::new(20, 20, vec![a]).with_disk(20);
    let written = |inclusive| {
        let rig = rig.clone().with(|c| c.memory.inclusive = inclusive);
        let log = run(&rig, demoting());
        let writes = copies(&log).into_iter().filter(|c| c.0 == DiskWrite);
        writes.map(|c| c.3).collect::<Vec<_>>()
    };
    assert_eq!(written(true), [2, 1]);
    assert_eq!(written(false), [2, 3]);
}

#[test]
fn a_demand_overtakes_a_promotion_at_a_chunk_boundary() {
    // Both on the disk. a's four blocks are promoted from 300 on; b is ready at 303: a's second and third block are in the lane to 306.
    let a = session("a", 0, &[(0, 62, 3), (900, 10, 2)]);
    let b = session("b", 100, &[(0, 30, 3), (143, 10, 2)]);
    let policy = Scripted {
        prefetch_at: |view, session| (session == A).then(|| Time(300 * MS).max(view.now)),
        ..demoting()
    };
    let log = run(&Rig::new(40, 40, vec![a, b]).with_disk(20), policy);
    let reads: Vec<_> = copies(&log)
        .into_iter()
        .filter(|c| c.0 == DiskRead)
        .collect();
    assert_eq!(
        reads[..3],
        [
            (DiskRead, 0, "prefetch", 3, 300, 306),
            (DiskRead, 1, "demand", 2, 306, 310),
            (DiskRead, 0, "prefetch", 1, 310, 312),
        ]
    );
}
