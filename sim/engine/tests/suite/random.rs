//! Random workloads on random machines: however a run is carried out, it is the same run, and its accounts close.

use crate::accounts;
use crate::common::{Log, Rig, session};
use crate::scripted::Whim;
use devices::{DiskCost, LaneCost, LinkCost, StepCost};
use engine::{EndSignal, Faults, HintKind, HintNoise};
use model::{Nanos, Session, SharedPrefix, Spawn, Time, Tokens, ToolClass, TurnIndex};
use policy::REGISTRY;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::num::{NonZeroU32, NonZeroU64};

/// A turn: wait before it \[ns\], tokens appended, tokens generated, quarters of the history that survive.
type TurnSketch = (u64, u32, u32, u32);

fn sessions() -> impl Strategy<Value = Vec<Session>> {
    let keep = prop_oneof![8 => Just(4_u32), 1 => 0..4_u32];
    let turn = (0_u64..300_000_000, 1_u32..100, 1_u32..40, keep);
    let sketch = (
        0_u64..300_000_000,
        prop::option::of((0_u64..2, 1_u32..80)),
        prop::collection::vec(turn, 1..5),
        prop::option::weighted(0.3, (any::<usize>(), any::<bool>(), any::<bool>())),
    );
    prop::collection::vec(sketch, 1..8).prop_map(|sketches| {
        let mut sessions: Vec<Session> = Vec::new();
        for (i, (start, prefix, turns, tie)) in sketches.into_iter().enumerate() {
            let session = build_session(&format!("a{i}"), start, prefix, turns);
            match (tie, sessions.last_mut()) {
                (Some(tie), Some(parent)) => start_child(parent, session, tie),
                _ => sessions.push(session),
            }
        }
        sessions
    })
}

/// Makes `session` a sub-agent of a turn of `parent`, joined or not, on a recorded timeline (with the turn after it) or not.
fn start_child(
    parent: &mut Session,
    session: Session,
    (turn, joins, recorded): (usize, bool, bool),
) {
    let turns = parent.turns.len();
    let turn = turn % turns;
    let after = Nanos(session.start.0 / 3);
    let join = (joins && turn + 1 < turns).then_some(TurnIndex(turns as u32 - 1));
    if recorded && turn + 1 < turns {
        parent.turns[turn + 1].at = Some(Nanos(2 * after.0));
    }
    parent.turns[turn].spawns.push(Spawn {
        after,
        at: recorded.then_some(after),
        join,
        session,
    });
}

fn build_session(
    name: &str,
    start: u64,
    prefix: Option<(u64, u32)>,
    turns: Vec<TurnSketch>,
) -> Session {
    let shapes: Vec<_> = turns
        .iter()
        .map(|&(_, new, out, _)| (0, new, out))
        .collect();
    let mut session = session(name, 0, &shapes);
    session.start = Time(start);
    // Its first half is common to all that have one.
    if let Some((id, tokens)) = prefix {
        let tokens = tokens.min(session.turns[0].input.0);
        session.shared_prefixes = [(u64::MAX, tokens / 2), (id, tokens)]
            .map(|(id, tokens)| SharedPrefix {
                id,
                tokens: Tokens(tokens),
            })
            .into();
    }
    for (i, (turn, (gap, _, _, keep))) in session.turns.iter_mut().zip(turns).enumerate() {
        turn.gap = Nanos(if i == 0 { 0 } else { gap });
        turn.keep = Tokens(turn.keep.0 * keep / 4);
        turn.tool = ToolClass((i % 2) as u16);
    }
    session
}

/// Nobody waits for a sub-agent.
fn forget_joins(session: &mut Session) {
    for spawn in session.turns.iter_mut().flat_map(|turn| &mut turn.spawns) {
        spawn.join = None;
        forget_joins(&mut spawn.session);
    }
}

/// Odd rates, so that events seldom coincide; each way slows the other and the steps.
fn machine() -> (StepCost, LinkCost, DiskCost) {
    let lane = |rate, shared| LaneCost {
        copy_ns: 10_007,
        block_ns: 101,
        bytes_per_s: NonZeroU64::new(rate).expect("not zero"),
        bytes_per_s_shared: NonZeroU64::new(shared).expect("not zero"),
        slowdown_ppm: 70_001,
        beside_steps_ppm: 0,
    };
    let link = LinkCost::new(
        lane(1_000_000_007, 700_000_001),
        lane(900_000_011, 800_000_003),
    );
    let steps = StepCost::linear(3_137_011_007, 211_003_001, 50_021_003, 1_009_007);
    let rate = |bytes_per_s| NonZeroU64::new(bytes_per_s).expect("not zero");
    let disk = DiskCost {
        copy_ns: 20_011,
        write_bytes_per_s: rate(150_000_001),
        read_bytes_per_s: rate(310_000_027),
        lane_depth: NonZeroU32::new(2).expect("not zero"),
    };
    (steps, link, disk)
}

fn hints() -> impl Strategy<Value = (HintKind, HintNoise)> {
    let kind = prop_oneof![
        3 => Just(HintKind::Oracle),
        1 => Just(HintKind::None),
        1 => Just(HintKind::History),
    ];
    let delay = prop_oneof![3 => Just(0), 1 => 0_u64..50_000_000];
    let bias = prop_oneof![Just(1.0), Just(0.4), Just(2.5)];
    let noise = (
        bias,
        prop_oneof![Just(0.0), Just(0.7)],
        prop_oneof![Just(0.0), Just(0.3)],
        delay,
    );
    (kind, noise).prop_map(|(kind, (bias, sigma, drop, delay))| {
        let noise = HintNoise {
            bias,
            sigma,
            drop,
            delay: Nanos(delay),
        };
        (kind, noise)
    })
}

fn rigs() -> impl Strategy<Value = Rig> {
    let end = prop_oneof![
        2 => Just(EndSignal::Told),
        1 => Just(EndSignal::Never),
        1 => Just(EndSignal::Timeout(Nanos(90_000_017))),
    ];
    let memory = (
        prop_oneof![3 => 0_u32..12, 1 => 60_u32..200],
        prop_oneof![Just(0_u32), 1_u32..20, Just(500)],
        prop_oneof![2 => Just(0_u32), 2 => 1_u32..12, 1 => Just(500)],
        any::<bool>(),
        1_u32..5,
    );
    let batch = (
        any::<bool>(),
        1_u32..6,
        prop_oneof![Just(40_u32), Just(100), Just(2048)],
        any::<bool>(),
        0_u32..2,
        prop_oneof![3 => Just(0_u32), 1 => Just(30)],
    );
    (sessions(), memory, batch, hints(), end).prop_map(|(sessions, memory, batch, hints, end)| {
        let (extra, host, disk, inclusive, chunk) = memory;
        let (ahead, max_seqs, budget, reserve, watermark, chunk_tokens) = batch;
        let largest = sessions
            .iter()
            .flat_map(Session::with_subagents)
            .map(|s| s.context_max().0.div_ceil(16))
            .max();
        let mut rig = Rig::new(largest.unwrap_or(1) + extra, host, sessions);
        (rig.steps, rig.link, rig.disk) = machine();
        rig.with(|c| {
            c.memory.disk_blocks = disk;
            c.memory.inclusive = inclusive;
            c.chunk_blocks = chunk;
            c.batching.ahead = ahead;
            c.batching.max_seqs = max_seqs;
            c.batching.max_batched_tokens = budget;
            c.batching.reserve_full = reserve;
            c.batching.watermark_blocks = watermark;
            c.batching.long_prefill_tokens = chunk_tokens;
            (c.hints.kind, c.hints.noise) = hints;
            c.end = end;
        })
    })
}

/// A fixed seed, so that a run of the suite can be repeated; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` explore further. A failure
/// prints the smallest rig that fails.
fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_RNG_SEED").ok();
    let seed = asked.and_then(|text| text.parse().ok()).unwrap_or(2);
    ProptestConfig {
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..ProptestConfig::with_cases(cases())
    }
}

fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(120)
}

/// Fails with the first line of the decision logs that differs.
fn same(what: &str, a: &Log, b: &Log) -> Result<(), TestCaseError> {
    if a.text != b.text {
        let at = a.text.lines().zip(b.text.lines()).position(|(x, y)| x != y);
        let at = at.unwrap_or_else(|| a.text.lines().count().min(b.text.lines().count()));
        let window = |log: &Log| {
            let lines = log.text.lines().skip(at.saturating_sub(6)).take(9);
            lines.collect::<Vec<_>>().join("\n  ")
        };
        let (a, b) = (window(a), window(b));
        let text = format!("{what}: decision logs differ at line {at}\n  {a}\n---\n  {b}");
        return Err(TestCaseError::fail(text));
    }
    prop_assert_eq!(a.essence(), b.essence(), "{}", what);
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn decode_runs_and_single_steps_agree(rig in rigs()) {
        for entry in REGISTRY {
            let runs = rig.run(entry.name);
            let single = rig.clone().with(|c| c.stepwise = true).run(entry.name);
            same(entry.name, &runs, &single)?;
            let (a, b) = (runs.summary, single.summary);
            prop_assert_eq!((a.steps, a.stalls, a.preemptions), (b.steps, b.stalls, b.preemptions));
        }
    }

    #[test]
    fn accounts_close_and_a_run_done_twice_is_the_same(rig in rigs()) {
        for entry in REGISTRY {
            let log = rig.run(entry.name);
            accounts::check(&rig, &log);
            prop_assert_eq!(&log, &rig.run(entry.name), "{}", entry.name);
        }
    }

    #[test]
    fn being_watched_changes_nothing(rig in rigs(), period in 1_000_003_u64..20_000_003) {
        for entry in REGISTRY {
            let log = rig.run(entry.name);
            let watched = rig.clone().with(|c| c.sample_every = Some(Nanos(period))).run(entry.name);
            same(entry.name, &log, &watched)?;
            accounts::check(&rig, &watched);
        }
    }

    #[test]
    fn no_answer_of_a_policy_does_harm(rig in rigs(), seed: u64) {
        let single = rig.clone().with(|c| c.stepwise = true);
        let watched = rig.clone().with(|c| c.sample_every = Some(Nanos(3_000_017)));
        let [log, single, watched] = [&rig, &single, &watched].map(|rig| rig.run_own(Whim(seed)));
        let log = log.map_err(|failure| TestCaseError::fail(failure.to_string()))?;
        accounts::check(&rig, &log);
        same("single steps", &log, &single.expect("the other run ended well"))?;
        same("watched", &log, &watched.expect("the other run ended well"))?;
        let moved = rig.run_own_on_host_memory(Whim(seed));
        same("host memory", &log, &moved.expect("the other run ended well"))?;
        let serial = rig.with(|c| c.batching = engine::Batching::serial());
        let log = serial.run_own(Whim(seed));
        let log = log.map_err(|failure| TestCaseError::fail(failure.to_string()))?;
        accounts::check(&serial, &log);
    }

    #[test]
    fn accounts_close_with_every_injected_defect(rig in rigs()) {
        // A session whose end is never known would never give back what an eviction has leaked; nor would a parent, until the sub-agent
        // that it waits for, and that lacks these very blocks, has ended.
        let mut rig = rig.with(|c| c.end = EndSignal::Told);
        rig.sessions.iter_mut().for_each(forget_joins);
        for name in Faults::NAMES {
            let rig = rig.clone().with(|c| assert!(c.faults.add(name)));
            for policy in ["djinn", "djinn-as-run"] {
                let log = rig.run(policy);
                accounts::check(&rig, &log);
                let single = rig.clone().with(|c| c.stepwise = true).run(policy);
                same(&format!("{policy} with {name}"), &log, &single)?;
            }
        }
    }

    #[test]
    fn one_turn_at_a_time_closes_its_accounts_too(rig in rigs()) {
        let rig = rig.with(|c| c.batching = engine::Batching::serial());
        for entry in REGISTRY {
            accounts::check(&rig, &rig.run(entry.name));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases() / 4, ..config() })]

    #[test]
    fn simulation_and_host_memory_agree(rig in rigs()) {
        for entry in REGISTRY {
            same(entry.name, &rig.run(entry.name), &rig.run_on_host_memory(entry.name))?;
        }
        let races = rig.with(|c| c.faults.prefetch_races_compute = true);
        same("djinn, racing", &races.run("djinn"), &races.run_on_host_memory("djinn"))?;
    }
}
