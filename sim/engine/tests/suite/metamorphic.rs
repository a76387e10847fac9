//! What a change of the input may change, and what it may not.

use crate::common::{Log, MS, Rig, session};
use devices::{LaneCost, LinkCost, StepCost};
use engine::Batching;
use model::{Bytes, Nanos, Session, Time, Tokens};
use policy::REGISTRY;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::num::NonZeroU64;

/// Six sessions that overlap, of a few turns each.
pub fn busy() -> Vec<Session> {
    let turns = |gap, new| [(0, new, 5), (gap, new / 2, 9), (gap / 3, 20, 4)];
    (0..6)
        .map(|i| {
            session(
                &format!("a{i}"),
                70 * i,
                &turns(150 + 40 * i, 40 + 10 * i as u32),
            )
        })
        .collect()
}

/// Steps of equal length, whatever they compute: hits change no times.
fn even_steps(rig: &mut Rig) {
    rig.steps = StepCost::linear(10_000_000_000, 0, 0, 0);
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(5),
        failure_persistence: None,
        ..ProptestConfig::with_cases(60)
    })]

    /// With one turn at a time, and steps whose length does not depend on hits, turns come in the same order whatever the memory.
    /// The free queue is then a least-recently-used stack: what a pool holds, a larger one holds too.
    #[test]
    fn more_memory_never_makes_a_hit_smaller(
        shapes in prop::collection::vec(prop::collection::vec((0_u64..500, 1_u32..90, 1_u32..30), 1..5), 1..7),
        more in 1_u32..40,
    ) {
        let sessions: Vec<_> = shapes
            .iter()
            .enumerate()
            .map(|(i, turns)| session(&format!("a{i}"), 13 * i as u64, turns))
            .collect();
        let needed = sessions.iter().map(|s| s.context_max().blocks_ceil(16).0).max().expect("one");
        let run = |hbm| {
            let mut rig = Rig::new(hbm, 0, sessions.clone()).with(|c| c.batching = Batching::serial());
            even_steps(&mut rig);
            rig.run("vllm-recompute")
        };
        let (small, large) = (run(needed), run(needed + more));
        for (a, b) in small.turns.iter().zip(&large.turns) {
            prop_assert_eq!((a.session, a.turn, a.end), (b.session, b.turn, b.end));
            prop_assert!(a.hit <= b.hit, "{:?} {:?}", a, b);
        }
    }
}

#[test]
fn with_ample_memory_policies_that_act_only_on_need_agree() {
    let served = |policy: &str| -> Vec<_> {
        let log = Rig::new(500, 500, busy()).run(policy);
        let row = |t: &engine::record::TurnRecord| {
            (t.session, t.turn, t.signal, t.first_token, t.end, t.hit)
        };
        log.turns.iter().map(row).collect()
    };
    let reference = served("vllm-recompute");
    for policy in ["keep-always", "swap-on-demand", "djinn", "clairvoyant"] {
        assert_eq!(served(policy), reference, "{policy}");
    }
}

#[test]
fn without_waits_what_was_kept_is_hit() {
    let turns = [(0, 40, 5), (0, 20, 9), (0, 20, 4)];
    for entry in REGISTRY {
        let rig = Rig::new(
            60,
            60,
            vec![session("a", 0, &turns), session("b", 3, &turns)],
        );
        let log = rig.run(entry.name);
        let hits: u32 = log.turns.iter().map(|turn| turn.hit.0).sum();
        // Turns 1 and 2 find 44 and 73 tokens with KV: 2 and 4 blocks; both sessions.
        let all = 2 * (2 + 4) * 16;
        let expected = if entry.name == "drop-always" { 0 } else { all };
        assert_eq!(hits, expected, "{}", entry.name);
    }
}

/// `rig` in a world where everything takes twice as long.
fn slower(rig: &Rig) -> Rig {
    let rate = NonZeroU64::new(500_000_000).expect("not zero");
    let lane = LaneCost {
        copy_ns: 0,
        block_ns: 0,
        bytes_per_s: rate,
        bytes_per_s_shared: rate,
        slowdown_ppm: 0,
        beside_steps_ppm: 0,
    };
    let mut slow = rig.clone().with(|c| {
        c.batching.idle_poll = Nanos(2 * MS);
        for lane in &mut c.link {
            lane.bytes_per_s /= 2;
        }
    });
    slow.link = LinkCost::new(lane, lane);
    slow.steps = StepCost::linear(20_000_000_000, 2_000_000_000, 0, 0);
    for session in &mut slow.sessions {
        session.start = Time(2 * session.start.0);
        for turn in &mut session.turns {
            turn.gap = Nanos(2 * turn.gap.0);
        }
    }
    slow
}

#[test]
fn twice_as_slow_everything_happens_twice_as_late() {
    // Parameters that are times are doubled with the rest.
    for (policy, slow_policy) in [
        ("vllm-recompute", "vllm-recompute"),
        ("keep-always", "keep-always"),
        ("drop-always", "drop-always"),
        ("swap-on-demand", "swap-on-demand"),
        ("djinn[margin_ms=10]", "djinn[margin_ms=20]"),
        (
            "djinn-as-run[margin_ms=10,linger_s=1]",
            "djinn-as-run[margin_ms=20,linger_s=2]",
        ),
        ("clairvoyant[margin_ms=10]", "clairvoyant[margin_ms=20]"),
    ] {
        let rig = Rig::new(14, 30, busy());
        let (fast, slow) = (rig.run(policy), slower(&rig).run(slow_policy));
        let doubled: Vec<_> = fast
            .turns
            .iter()
            .map(|t| (t.session, t.turn, t.hit, 2 * t.end.0))
            .collect();
        let late: Vec<_> = slow
            .turns
            .iter()
            .map(|t| (t.session, t.turn, t.hit, t.end.0))
            .collect();
        assert_eq!(doubled, late, "{policy}");
        assert_eq!(
            fast.text.lines().count(),
            slow.text.lines().count(),
            "{policy}"
        );
    }
}

#[test]
fn the_order_in_which_sessions_are_listed_changes_nothing_but_their_numbers() {
    let listed = Rig::new(14, 30, busy());
    let mut reversed = listed.clone();
    reversed.sessions.reverse();
    for entry in REGISTRY {
        let rows = |log: Log| -> Vec<_> {
            log.sessions
                .into_iter()
                .map(|s| (s.name, s.end, s.swaps, s.moved))
                .collect()
        };
        assert_eq!(
            rows(listed.run(entry.name)),
            rows(reversed.run(entry.name)),
            "{}",
            entry.name
        );
    }
}

#[test]
fn without_a_host_pool_nothing_is_copied() {
    for entry in REGISTRY {
        let log = Rig::new(14, 0, busy()).run(entry.name);
        assert!(
            log.sessions.iter().all(|s| s.moved == [Bytes(0); 2]),
            "{}",
            entry.name
        );
        assert!(
            log.turns.iter().all(|t| t.restored == Tokens(0)),
            "{}",
            entry.name
        );
    }
}
