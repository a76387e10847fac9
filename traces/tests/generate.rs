//! Generators: the published workloads, and draws that nothing else can move.

mod common;

use std::path::PathBuf;

use common::trace_with;
use model::{GapKind, Nanos, Session, Time, Tokens, Workload};
use proptest::prelude::*;
use trace::generate::{Distribution, PlainAgents, PlainArrivals, SharedPrefixSpec, WaitKind};
use trace::workload::{TraceWorkload, WorkloadOptions};

fn preset(name: &str) -> PlainAgents {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../configs/workloads");
    toml::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
}

fn sessions(mut workload: impl Workload) -> Vec<Session> {
    std::iter::from_fn(|| workload.next_session().unwrap()).collect()
}

fn spec() -> PlainAgents {
    PlainAgents {
        arrivals: PlainArrivals::PoissonAgents,
        agents: 20,
        rate: Some(0.5),
        ramp_s: None,
        turns: Distribution::uniform(1.0, 6.0),
        first_prompt: None,
        append: Distribution::uniform(0.0, 900.0),
        output: Distribution::uniform(1.0, 300.0),
        gap_s: Distribution::uniform(0.0, 40.0),
        gap_kind: WaitKind::Tool,
        tool: "shell".to_owned(),
        shared_prefix: None,
    }
}

#[test]
fn workloads_d_and_e_are_a_thousand_agents_of_ten_turns() {
    for (name, gap_s, rate) in [("d-5s-gaps.toml", 5, 0.2), ("e-60s-gaps.toml", 60, 0.3)] {
        let sessions = sessions(
            preset(name)
                .workload(1, WorkloadOptions::default())
                .unwrap(),
        );
        assert_eq!(sessions.len(), 1_000);
        assert!(sessions.is_sorted_by_key(|session| session.start));
        for session in &sessions {
            let shape: Vec<(u32, u32, u32)> = session
                .turns
                .iter()
                .map(|t| (t.input.0, t.keep.0, t.output.0))
                .collect();
            // Turn k resubmits k * 1,700 tokens and adds 1,500.
            let expected: Vec<_> = (0..10)
                .map(|k| (k * 1_700 + 1_500, k * 1_700, 200))
                .collect();
            assert_eq!(shape, expected);
            assert!(
                session.turns[1..]
                    .iter()
                    .all(|t| t.gap == Nanos(gap_s * 1_000_000_000))
            );
        }
        // The last of 1,000 arrivals: mean 1,000 / rate, standard deviation 3.2 % of it; four are allowed.
        let last = sessions
            .last()
            .unwrap()
            .start
            .since(Time::ZERO)
            .as_secs_f64();
        assert!((last * rate / 1_000.0 - 1.0).abs() < 0.13, "{last}");
    }
}

#[test]
fn the_seed_script_appends_nothing_and_keeps_1074_tokens() {
    let sessions = sessions(
        preset("seed.toml")
            .workload(1, WorkloadOptions::default())
            .unwrap(),
    );
    assert_eq!(sessions.len(), 80);
    for session in &sessions {
        let [reason, reflect] = &session.turns[..] else {
            panic!("two turns")
        };
        assert_eq!(
            (reason.input, reason.keep, reason.output),
            (Tokens(1_024), Tokens(0), Tokens(50))
        );
        // 1,024 + 50; 1,073 of them have KV, so one token is prefilled.
        assert_eq!(
            (reflect.input, reflect.keep, reflect.output),
            (Tokens(1_074), Tokens(1_074), Tokens(50))
        );
        assert_eq!(reflect.gap_kind, GapKind::Tool);
        assert!((10.0..20.0).contains(&reflect.gap.as_secs_f64()));
        assert!(session.shared_prefixes.is_empty());
    }
}

#[test]
fn the_first_agents_of_the_seed_script_are_frozen() {
    // By an independent implementation: waits of -ln(u) / 0.2 = 9.454667074, 0.734978519 and 3.663219371 s, each rounded
    // and then added up; gaps of 10 + 10 u.
    let sessions = sessions(
        preset("seed.toml")
            .workload(1, WorkloadOptions::default())
            .unwrap(),
    );
    let starts: Vec<u64> = sessions.iter().take(3).map(|s| s.start.0).collect();
    let gaps: Vec<u64> = sessions.iter().take(3).map(|s| s.turns[1].gap.0).collect();
    assert_eq!(starts, [9_454_667_074, 10_189_645_593, 13_852_864_964]);
    assert_eq!(gaps, [16_276_893_915, 18_450_679_051, 13_000_693_683]);
}

#[test]
fn more_agents_or_another_parameter_move_no_other_draw() {
    let few = sessions(spec().workload(3, WorkloadOptions::default()).unwrap());
    let more = sessions(
        PlainAgents {
            agents: 50,
            ..spec()
        }
        .workload(3, WorkloadOptions::default())
        .unwrap(),
    );
    assert_eq!(few[..], more[..20]);
    let slower = PlainAgents {
        gap_s: Distribution::Constant(9.0),
        ..spec()
    };
    let slower = sessions(slower.workload(3, WorkloadOptions::default()).unwrap());
    for (a, b) in few.iter().zip(&slower) {
        assert_eq!(a.start, b.start);
        let tokens = |s: &Session| {
            s.turns
                .iter()
                .map(|t| (t.input, t.output))
                .collect::<Vec<_>>()
        };
        assert_eq!(tokens(a), tokens(b));
    }
    assert_ne!(
        few,
        sessions(spec().workload(4, WorkloadOptions::default()).unwrap())
    );
}

#[test]
fn closed_loop_agents_start_within_the_ramp_one_per_part_of_it() {
    let spec = PlainAgents {
        arrivals: PlainArrivals::ClosedLoopAgents,
        rate: None,
        ramp_s: Some(40.0),
        ..spec()
    };
    let sessions = sessions(spec.workload(1, WorkloadOptions::default()).unwrap());
    for (index, session) in sessions.iter().enumerate() {
        // 20 agents in 40 s: agent i in second 2 i to 2 i + 2.
        let start = session.start.since(Time::ZERO).as_secs_f64();
        assert!(
            (2.0 * index as f64..2.0 * index as f64 + 2.0).contains(&start),
            "{index}: {start}"
        );
    }
}

#[test]
fn a_shared_prefix_leads_every_prompt() {
    let shared = SharedPrefixSpec {
        id: "tools".to_owned(),
        tokens: 5_000,
    };
    let spec = PlainAgents {
        shared_prefix: Some(shared),
        first_prompt: Some(Distribution::Constant(100.0)),
        ..spec()
    };
    let sessions = sessions(spec.workload(1, WorkloadOptions::default()).unwrap());
    let prefixes = &sessions[0].shared_prefixes;
    assert_eq!(prefixes.last().unwrap().tokens, Tokens(5_000));
    assert!(
        sessions
            .iter()
            .all(|s| s.shared_prefixes == *prefixes && s.turns[0].input == Tokens(5_100))
    );
}

#[test]
fn waits_for_people_have_a_class_of_their_own() {
    let mut tool = spec().workload(1, WorkloadOptions::default()).unwrap();
    let mut human = PlainAgents {
        gap_kind: WaitKind::Human,
        ..spec()
    }
    .workload(1, WorkloadOptions::default())
    .unwrap();
    assert_eq!(tool.tool_classes(), ["tool", "shell"]);
    assert_eq!(human.tool_classes(), ["tool", "human"]);
    let kinds = |workload: &mut dyn Workload| {
        let session =
            std::iter::from_fn(|| workload.next_session().unwrap()).find(|s| s.turns.len() > 1);
        let turn = session.unwrap().turns[1].clone();
        (turn.gap_kind, turn.tool.0)
    };
    assert_eq!(kinds(&mut tool), (GapKind::Tool, 1));
    assert_eq!(kinds(&mut human), (GapKind::Human, 1));
}

#[test]
fn parameters_that_make_no_sense_are_named() {
    let error = |change: &dyn Fn(&mut PlainAgents)| {
        let mut spec = spec();
        change(&mut spec);
        spec.sessions(1).err().unwrap().to_string()
    };
    assert!(error(&|s| s.rate = None).contains("needs `rate`"));
    assert!(error(&|s| s.rate = Some(0.0)).contains("above 0; it is 0"));
    assert!(error(&|s| s.rate = Some(f64::NAN)).contains("it is NaN"));
    assert!(error(&|s| s.ramp_s = Some(1.0)).contains("`ramp_s` belongs to"));
    assert!(error(&|s| s.arrivals = PlainArrivals::ClosedLoopAgents).contains("`rate` belongs to"));
    assert!(error(&|s| s.agents = 0).contains("`agents` = 0"));
    assert!(
        error(&|s| s.output = Distribution::Constant(-1.0)).contains("`output` = Constant(-1.0)")
    );
    assert!(error(&|s| s.gap_s = Distribution::uniform(3.0, 2.0)).contains("`gap_s`"));
    assert!(error(&|s| s.turns = Distribution::Constant(f64::INFINITY)).contains("`turns`"));
}

#[test]
fn a_draw_beyond_all_limits_ends_the_workload_with_an_error() {
    let huge = PlainAgents {
        append: Distribution::Constant(1e9),
        ..spec()
    };
    let result: Result<Vec<_>, _> = huge.sessions(1).unwrap().collect();
    assert!(
        result
            .unwrap_err()
            .to_string()
            .contains("clip the distributions")
    );
    let endless = PlainAgents {
        gap_s: Distribution::Constant(1e300),
        ..spec()
    };
    let result: Result<Vec<_>, _> = endless.sessions(1).unwrap().collect();
    assert!(result.unwrap_err().to_string().contains("a wait of"));
}

#[test]
fn a_specification_is_strict_and_is_written_as_it_is_read() {
    let text = "gen = \"closed-loop-agents\"\nagents = 4\nramp_s = 0\nturns = 2\nappend = 10\noutput = 5\n\
                gap_s = { lognormal = { mu = 1.5, sigma = 2, max = 600 } }\n";
    let spec: PlainAgents = toml::from_str(text).unwrap();
    let again: PlainAgents = toml::from_str(&toml::to_string(&spec).unwrap()).unwrap();
    assert_eq!(spec, again);
    let error = |text: &str| toml::from_str::<PlainAgents>(text).unwrap_err().to_string();
    assert!(error(&format!("{text}agentz = 3")).contains("unknown field `agentz`"));
    assert!(error(&text.replace("max", "most")).contains("unknown field `most`"));
    assert!(error(&text.replace("lognormal", "pareto")).contains("unknown variant `pareto`"));
    assert!(error(&text.replace("closed-loop-agents", "open")).contains("unknown variant `open`"));
    assert!(
        error(&text.replace("append = 10", "append = \"ten\"")).contains("a number, or a table")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_generated_workload_and_its_trace_are_the_same_workload(seed in any::<u64>(), agents in 1_u32..12) {
        let spec = PlainAgents { agents, ..spec() };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.jsonl.zst");
        let generated = spec.sessions(seed).unwrap();
        let meta = generated.meta();
        let written: Vec<_> = generated.map(Result::unwrap).collect();
        trace_with(&path, &meta, &written);
        let read = TraceWorkload::open(&path, &WorkloadOptions::default(), 0, 16).unwrap();
        let mut direct = sessions(spec.workload(seed, WorkloadOptions::default()).unwrap());
        // A trace begins with its first session.
        let first = direct[0].start;
        for session in &mut direct {
            session.start = Time(session.start.0 - first.0);
        }
        prop_assert_eq!(sessions(read), direct);
    }
}
