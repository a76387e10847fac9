//! The policies that use a disk, on runs summed by hand. A block takes 1 ms over the link, 4 ms to be written and 2 ms to be read.
//!
//! A session of 30 + 3 tokens holds 2 blocks when its turn ends, 60 ms after it began.

use crate::common::{Log, MS, Rig, session};
use engine::record::Part;
use model::Direction::{D2h, DiskRead, DiskWrite, H2d};
use model::{Bytes, Direction, Nanos, Session, Tokens};

/// (session, start, end) of copies in one direction.
fn of(log: &Log, direction: Direction) -> Vec<(u32, u64, u64)> {
    let copies = log.copies(Bytes(MS)).into_iter();
    copies
        .filter(|copy| copy.0 == direction)
        .map(|copy| (copy.1, copy.4, copy.5))
        .collect()
}

/// One after the other, of 2 blocks each; all return at the same time.
fn three() -> Vec<Session> {
    let of = |name, start: u64| session(name, start, &[(0, 30, 3), (1_000 - start - 60, 10, 2)]);
    vec![of("a", 0), of("b", 100), of("c", 200)]
}

#[test]
fn cached_attention_demotes_what_was_stored_longest_and_reads_it_back_for_the_queue() {
    // The host has 2 blocks. a: out 60..62. b ends at 160 and finds it full: a is written 160..168, and b follows at 168..170. c ends at 260:
    // b is written 260..268, and c out 268..270.
    let log = Rig::new(40, 2, three())
        .with_disk(20)
        .run("cached-attention[host_buffer=0]");
    assert_eq!(
        of(&log, D2h)[..3],
        [(0, 60, 62), (1, 168, 170), (2, 268, 270)]
    );
    assert_eq!(of(&log, DiskWrite)[..2], [(0, 160, 168), (1, 260, 268)]);
    // All are ready at 1,000. The mean context has 2 blocks, and so has the host: the window is one turn. a is inside and finds the host full of
    // c, whose turn is ready too and goes back 1,000..1,002. Then a is read to 1,006 and back at 1,008. c runs 1,002..1,023 (10 + 11); a is
    // admitted then, and b is inside.
    assert_eq!(of(&log, H2d)[..2], [(2, 1_000, 1_002), (0, 1_006, 1_008)]);
    assert_eq!(of(&log, DiskRead), [(0, 1_002, 1_006), (1, 1_023, 1_027)]);
    assert!(log.turns.iter().skip(3).all(|turn| turn.hit == Tokens(32)));
}

#[test]
fn the_prefetch_window_is_as_many_turns_as_the_host_holds() {
    // As above with a host of 4 blocks and a buffer of all of it, so that every context goes on to the disk: written 62..70, 162..170, 262..270.
    let log = Rig::new(40, 4, three())
        .with_disk(20)
        .run("cached-attention[host_buffer=1]");
    assert_eq!(
        of(&log, DiskWrite),
        [(0, 62, 70), (1, 162, 170), (2, 262, 270)]
    );
    // 4 / 2 = 2 turns: a and b are read 1,000..1,004..1,008, c when a has been admitted: a is back in HBM at 1,006.
    let reads = of(&log, DiskRead);
    assert_eq!(reads[..2], [(0, 1_000, 1_004), (1, 1_004, 1_008)]);
    assert_eq!(of(&log, H2d)[0], (0, 1_004, 1_006));
    assert_eq!(reads[2], (2, 1_008, 1_012));
    assert!(log.turns.iter().skip(3).all(|turn| turn.hit == Tokens(32)));
    assert_eq!(log.turn(0, 1).parts[Part::Copy as usize], Nanos(6 * MS));
}

#[test]
fn hicache_stores_behind_the_host_and_gives_up_what_is_stored() {
    // a: out 60..62, stored 62..70. b: out 160.., for which a leaves the host at once; stored 162..170. Likewise c.
    let rig = Rig::new(40, 2, three()).with_disk(20);
    let log = rig.run("hicache-wt[threshold_tokens=16,stop=1]");
    assert_eq!(
        of(&log, D2h)[..3],
        [(0, 60, 62), (1, 160, 162), (2, 260, 262)]
    );
    assert_eq!(
        of(&log, DiskWrite)[..3],
        [(0, 62, 70), (1, 162, 170), (2, 262, 270)]
    );
    assert_eq!(
        log.lines("drop-host")[..2],
        [
            "0.160000000 s0 t0 drop-host done 2",
            "0.260000000 s1 t0 drop-host done 2"
        ]
    );
}

/// One session of 128 tokens and more, 8 blocks on the disk alone when it returns at 500: b has taken the host.
fn on_disk_alone() -> Rig {
    let a = session("a", 0, &[(0, 126, 3), (344, 10, 2)]);
    let b = session("b", 200, &[(0, 126, 3), (900, 10, 2)]);
    Rig::new(40, 8, vec![a, b]).with_disk(40)
}

#[test]
fn the_stop_rules_govern_the_read_from_storage() {
    // a: 10 + 126 + 20 = 156. Ready at 500, with 8 blocks in storage: 16 ms to read and 8 over the link.
    let read = |params: &str| {
        let log = on_disk_alone().run(&format!("hicache-wt[threshold_tokens=16,{params}]"));
        let first = of(&log, DiskRead).first().copied();
        (first, log.turn(0, 1).hit)
    };
    assert_eq!(read("stop=1"), (Some((0, 500, 516)), Tokens(128)));
    // Best effort: nothing else is queued, so the turn could run at once.
    assert_eq!(read("stop=0"), (None, Tokens(0)));
    // 5 ms: two blocks are there, and two more in the lane.
    let timeout = "stop=2,base_s=0.005,per_ki_s=0";
    assert_eq!(read(timeout), (Some((0, 500, 508)), Tokens(64)));
    // Under the threshold of SGLang nothing is read: 128 tokens of 256.
    let log = on_disk_alone().run("hicache-wt[stop=1]");
    assert_eq!(of(&log, DiskRead), []);
}
