//! vLLM's host tier: hand-summed timelines. A block of 16 tokens takes 1 ms over the link; a step 10 ms, and 1 ms per prefill token.

use crate::common::{BLOCK, MS, Rig, session};
use crate::metamorphic::busy;
use engine::OffloadSummary;
use engine::record::Part;
use model::{Direction, Nanos, Tokens};

#[test]
fn blocks_of_a_prompt_are_copied_by_the_step_after_the_one_that_fills_them() {
    // Prefill of 32 tokens: 0 to 10 + 32 = 42 ms. The store is submitted with the next step, at 42, and takes 2 ms.
    let rig = Rig::new(10, 10, vec![session("a", 0, &[(0, 32, 3)])]);
    let log = rig.run("vllm-offload");
    let copies = log.copies(rig.config.block_bytes);
    assert_eq!(copies, [(Direction::D2h, 0, "write-back", 2, 42, 44)]);
    assert_eq!(log.times_ms(0, 0), (42, 62));
}

#[test]
fn generated_tokens_are_offered_as_they_come_only_if_asked_for() {
    // 30 tokens fill block 0 in the first step, 0 to 40. Steps 2 and 3, to 60, bring tokens 31 and 32: block 1. It leaves with step 4.
    let rig = Rig::new(10, 10, vec![session("a", 0, &[(0, 30, 5)])]);
    let copied = |policy: &str| -> Vec<_> {
        let copies = rig.run(policy).copies(rig.config.block_bytes);
        copies
            .iter()
            .map(|&(_, _, _, n, start, end)| (n, start, end))
            .collect()
    };
    assert_eq!(copied("vllm-offload"), [(1, 40, 41)]);
    assert_eq!(
        copied("vllm-offload[prompt_only=no]"),
        [(1, 40, 41), (1, 60, 61)]
    );
}

#[test]
fn what_the_prefix_cache_has_lost_is_loaded_and_the_turn_waits_for_the_next_poll() {
    // a: 32 tokens, to 42 ms, copied to the host until 44. b at 100 takes 4 of 5 blocks: the 3 that are empty, and a's block 1.
    let a = session("a", 0, &[(0, 32, 1), (300, 16, 1)]);
    let b = session("b", 100, &[(0, 64, 1)]);
    let rig = Rig::new(5, 10, vec![a, b]);
    let log = rig.run("vllm-offload");
    let copies = log.copies(rig.config.block_bytes);
    // b's step: 100 to 174. a is back at 342: block 0 is in HBM, block 1 on the host, block 2 is new.
    let expected = [
        (Direction::D2h, 0, "write-back", 2, 42, 44),
        (Direction::D2h, 1, "write-back", 4, 174, 178),
        (Direction::H2d, 0, "demand", 1, 342, 343),
    ];
    assert_eq!(copies[..3], expected);
    // The poll of 343 finds it, that of 344 admits: 49 - 32 tokens, 27 ms.
    let turn = log.turn(0, 1);
    assert_eq!(turn.scheduled.0, 344 * MS);
    assert_eq!(turn.first_token.0, 371 * MS);
    assert_eq!((turn.hit, turn.hit_hbm), (Tokens(2 * BLOCK), Tokens(BLOCK)));
    assert_eq!(
        (turn.restored, turn.host_loads.tokens),
        (Tokens(BLOCK), Tokens(BLOCK))
    );
    let part = |part: Part| turn.parts[part as usize];
    assert_eq!(
        (part(Part::Copy), part(Part::Queue)),
        (Nanos(MS), Nanos(MS))
    );
    assert_eq!(
        (part(Part::Recompute), part(Part::Prefill)),
        (Nanos(0), Nanos(27 * MS))
    );
}

#[test]
fn a_prompt_that_the_host_has_in_full_computes_its_last_token_alone() {
    // a has 32 tokens of KV at 42. b comes at 200 with the same 32 tokens, after c has taken all 4 blocks (110 to 110 + 73 = 183).
    let mut sessions = vec![
        session("a", 0, &[(0, 32, 1)]),
        session("c", 110, &[(0, 63, 1)]),
        session("b", 200, &[(0, 32, 1)]),
    ];
    for i in [0, 2] {
        sessions[i].shared_prefixes = vec![model::SharedPrefix {
            id: 1,
            tokens: Tokens(32),
        }];
    }
    let rig = Rig::new(4, 10, sessions);
    let log = rig.run("vllm-offload");
    // The load: 200 to 202, polled at 202, admitted at 203. The last token of the prompt is prefill: 10 + 1 ms.
    let turn = log.turn(2, 0);
    assert_eq!((turn.scheduled.0, turn.first_token.0), (203 * MS, 214 * MS));
    assert_eq!((turn.hit, turn.host_loads.hit), (Tokens(31), Tokens(32)));
}

#[test]
fn a_step_that_would_overwrite_what_a_store_reads_waits_for_it() {
    // a's 4 blocks are full at 74 and its turn is over; the store takes from 74 to 78. b needs 4 of 5 blocks, so 3 of a's, at once.
    let a = session("a", 0, &[(0, 64, 1)]);
    let b = session("b", 5, &[(0, 64, 1)]);
    let rig = Rig::new(5, 10, vec![a, b]);
    let log = rig.run("vllm-offload");
    let turn = log.turn(1, 0);
    assert_eq!((turn.scheduled.0, turn.first_token.0), (78 * MS, 152 * MS));
    let summary = log.summary.offload.expect("there is a host tier");
    let expected = OffloadSummary {
        capacity: 10,
        held: 8,
        jobs: [2, 0],
        blocks: [8, 0],
        busy: [Nanos(8 * MS), Nanos(0)],
        flush_waits: 1,
        flush_wait: Nanos(4 * MS),
    };
    assert_eq!(summary, expected);
    // Real bytes agree: nothing of a is overwritten before it has left.
    assert_eq!(
        rig.run_on_host_memory("vllm-offload").essence(),
        log.essence()
    );
}

#[test]
fn a_full_host_keeps_what_lru_or_arc_says() {
    // Every session fills two blocks and all of HBM, so that nothing of an earlier one survives there; the host has room for two sessions.
    let mut sessions: Vec<_> = ["a", "b", "a again", "c", "b again", "a once more"]
        .into_iter()
        .zip(0..)
        .map(|(name, i)| session(name, 100 * i, &[(0, 33, 1)]))
        .collect();
    for (i, id) in [(0, 1), (1, 2), (2, 1), (4, 2), (5, 1)] {
        sessions[i].shared_prefixes = vec![model::SharedPrefix {
            id,
            tokens: Tokens(32),
        }];
    }
    let rig = Rig::new(3, 4, sessions);
    for (policy, last) in [("vllm-offload", 0), ("vllm-offload[eviction=arc]", 16)] {
        let log = rig.run(policy);
        let loaded = |session| log.turn(session, 0).host_loads.tokens;
        // Both: `a again` finds a and renews it, so that c evicts b.
        assert_eq!(loaded(2), Tokens(32), "{policy}");
        assert_eq!(loaded(4), Tokens(0), "{policy}");
        // Then b is stored again. LRU: a is less recent than c, and goes. ARC: b's two ghosts move the target to 2; c has two chunks in
        // the first list and gives one, then a, in the second, gives its tail. a's head is still there.
        assert_eq!(loaded(5), Tokens(last), "{policy}");
    }
}

#[test]
fn without_host_memory_it_is_vllm_recompute() {
    let rig = Rig::new(14, 0, busy());
    assert_eq!(
        rig.run("vllm-offload").essence(),
        rig.run("vllm-recompute").essence()
    );
}
