//! The decision log of a run that a reader can follow, one per policy. `INSTA_UPDATE=always` blesses a change.

use crate::common::{Rig, session};
use policy::REGISTRY;

/// Three sessions, 7 blocks of HBM, 8 of host memory. a and b hold 2 blocks each when c, which needs 5, arrives at 200 ms.
fn short_of_memory() -> Rig {
    let a = session("a", 0, &[(0, 30, 3), (300, 10, 2)]);
    let b = session("b", 70, &[(0, 30, 3), (400, 10, 2)]);
    let c = session("c", 200, &[(0, 70, 3)]);
    Rig::new(7, 8, vec![a, b, c])
}

/// 5 blocks of HBM. p holds 2 and waits for its sub-agent, which has two calls to make, when x needs 4 at 100 ms.
fn workflow() -> Rig {
    let mut p = session("p", 0, &[(0, 30, 3), (0, 10, 2)]);
    p.turns[0].spawns.push(model::Spawn {
        after: model::Nanos::ZERO,
        at: None,
        join: Some(model::TurnIndex(1)),
        session: session("p/a", 0, &[(0, 10, 2), (150, 1, 2), (50, 1, 2)]),
    });
    Rig::new(5, 8, vec![p, session("x", 100, &[(0, 60, 3)])])
}

/// 5 blocks of HBM. a holds 2 and b runs with 2 when c, which needs 3, is queued at 100 ms.
fn crowded() -> Rig {
    let a = session("a", 0, &[(0, 30, 3), (300, 10, 2)]);
    let b = session("b", 70, &[(0, 30, 3), (400, 10, 2)]);
    let c = session("c", 100, &[(0, 40, 3)]);
    Rig::new(5, 8, vec![a, b, c])
}

/// One turn at a time: a's second turn and c, which is new, wait for the end of b's.
fn one_slot() -> Rig {
    let a = session("a", 0, &[(0, 30, 3), (20, 10, 2)]);
    let b = session("b", 65, &[(0, 30, 3)]);
    let c = session("c", 100, &[(0, 10, 2)]);
    Rig::new(12, 8, vec![a, b, c]).with(|c| c.batching.max_seqs = 1)
}

/// 3 blocks of host memory that keep their copies: the second context to be stored displaces the first.
fn small_host() -> Rig {
    let mut rig = short_of_memory().with(|c| c.memory.inclusive = true);
    rig.config.memory.host_blocks = 3;
    rig
}

/// 5 blocks of HBM; a and b begin with the same 20 tokens, and c needs all. Both are on the host when a returns, and b does a millisecond later.
fn shared_prefix() -> Rig {
    let prefix = model::SharedPrefix {
        id: 1,
        tokens: model::Tokens(20),
    };
    let mut a = session("a", 0, &[(0, 30, 3), (300, 10, 2)]);
    let mut b = session("b", 70, &[(0, 30, 3), (247, 10, 2)]);
    a.shared_prefixes = vec![prefix];
    b.shared_prefixes = vec![prefix];
    Rig::new(5, 8, vec![a, b, session("c", 200, &[(0, 70, 3)])])
}

/// One block of host memory. When c needs two blocks of a and b, their first blocks are cheapest to compute again.
fn leading_chunks() -> Rig {
    let mut rig = short_of_memory().with(|c| c.prefill.pair_ps = 200_000_000);
    rig.config.memory.host_blocks = 1;
    rig
}

/// 7 blocks. b is expected back sooner than a, so that the price of its two blocks ends before c needs two at 200 ms.
fn price_ends() -> Rig {
    let a = session("a", 0, &[(0, 30, 3), (600, 10, 2)]);
    let b = session("b", 70, &[(0, 30, 3), (100, 10, 2)]);
    Rig::new(7, 0, vec![a, b, session("c", 200, &[(0, 70, 3)])])
}

/// The server takes a prompt token for 50 us of work, so that one of two blocks is computed sooner than both are copied.
fn quick_prefill() -> Rig {
    short_of_memory().with(|c| c.prefill.token_ps = 50_000_000)
}

/// 3 blocks of host memory and a disk behind it: a and b hold 2 blocks each, and both return.
fn small_host_and_disk() -> Rig {
    small_host().with_disk(8)
}

/// One session of four turns, on a host that keeps its copies.
fn many_turns() -> Rig {
    let turns = [(0, 30, 3), (50, 10, 2), (50, 10, 2), (50, 10, 2)];
    Rig::new(7, 8, vec![session("a", 0, &turns)]).with(|c| c.memory.inclusive = true)
}

/// Name, parameters, run.
type Shown = (&'static str, &'static str, fn() -> Rig);

/// Policies whose defaults are too slow, too cold or too wide for half a second: the parameters and the run that show their rule.
const SHOWN: &[Shown] = &[
    ("cached-attention", "", small_host),
    (
        "concur",
        "period_s=0.1,window=1,increase=0.5",
        short_of_memory,
    ),
    ("continuum-paper", "samples_min=0", short_of_memory),
    ("hicache-wt", "", small_host),
    ("hicache-wts", "", many_turns),
    ("kvflow", "prefetch_steps=2", workflow),
    ("mori", "tick_s=0.1", short_of_memory),
    ("pensieve", "chunk_tokens=16", leading_chunks),
    ("plas", "level_1_tokens=16", one_slot),
    ("strata-defer", "", shared_prefix),
    ("swap-overlap", "", quick_prefill),
    ("t-lru", "budget_tokens=20", short_of_memory),
    (
        "thunderagent-release",
        "tick_s=0.05,overhead_tokens=1",
        short_of_memory,
    ),
    (
        "thunderagent-decay",
        "tick_s=0.05,overhead_tokens=1,half_life_s=0.05",
        short_of_memory,
    ),
    ("tokencake-paper", "lead_ms=10,back_off_steps=1", crowded),
    ("tokencake-port", "back_off_steps=1", crowded),
    ("trtllm-retention", "slack=0.6", price_ends),
    ("uni-agent", "", small_host),
];

/// Policies that use a disk, where there is one.
const WITH_DISK: &[(&str, &str)] = &[
    ("cached-attention", "host_buffer=0"),
    ("hicache-wt", "threshold_tokens=16"),
];

#[test]
fn decision_logs_with_a_disk_are_as_blessed() {
    for (name, params) in WITH_DISK {
        let policy = format!("{name}[{params}]");
        let log = small_host_and_disk().run(&policy);
        assert!(log.text.lines().count() < 60, "{name}");
        assert!(log.text.contains("disk-read"), "{name}");
        insta::assert_snapshot!(format!("{name}-disk"), log.text, &policy);
    }
}

#[test]
fn decision_logs_are_as_blessed() {
    for entry in REGISTRY {
        let shown = SHOWN.iter().find(|(name, ..)| *name == entry.name);
        let (policy, rig) = shown.map_or_else(
            || (entry.name.to_owned(), short_of_memory()),
            |(name, params, rig)| (format!("{name}[{params}]"), rig()),
        );
        let log = rig.run(&policy);
        assert!(log.text.lines().count() < 60, "{}", entry.name);
        insta::assert_snapshot!(entry.name, log.text, &policy);
    }
}

#[test]
fn every_run_that_shows_a_policy_is_of_one_that_exists() {
    for (name, ..) in SHOWN {
        assert!(REGISTRY.iter().any(|entry| entry.name == *name), "{name}");
    }
}
