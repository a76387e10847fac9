//! Fleets: archetypes by name, arrivals of every kind, and draws that nothing else can move.

mod common;

use std::collections::BTreeSet;

use common::{call, session, trace_with};
use model::Workload;
use trace::TraceError;
use trace::format::{Call, GapKind, Meta, Millis, Nullable, Session};
use trace::generate::{Generator, SHIPPED};
use trace::stat::Stat;
use trace::workload::{TooLong, WorkloadOptions};

fn changes(text: &str) -> toml::Table {
    toml::from_str(text).unwrap()
}

fn find(name: &str, text: &str) -> Result<Generator, TraceError> {
    Generator::find(name, changes(text))
}

fn sessions(name: &str, text: &str, seed: u64) -> Vec<Session> {
    let generator = find(name, text).unwrap();
    generator
        .sessions(seed)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// A fleet of the fewest keys, with others.
fn small(more: &str) -> Result<Generator, TraceError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.toml");
    let text = "agents = 4\nturns = 3\nfirst_prompt = 10\noutput = 5\n\
                tools = [{ class = \"t\", seconds = 1 }]\n";
    let base = ["rate", "arrivals", "append_tool"].map(|key| {
        let value = match key {
            "rate" => "1",
            "arrivals" => "\"poisson\"",
            _ => "7",
        };
        if more.contains(&format!("{key} =")) {
            String::new()
        } else {
            format!("{key} = {value}\n")
        }
    });
    std::fs::write(&path, [&base.concat(), text, more].concat()).unwrap();
    Generator::find(path.to_str().unwrap(), toml::Table::new())
}

fn error(more: &str) -> String {
    small(more).unwrap_err().to_string()
}

fn starts(generator: &Generator, seed: u64) -> Vec<f64> {
    let sessions = generator.sessions(seed).unwrap();
    let start = |s: Result<Session, _>| s.unwrap().start_ms.value().unwrap().nanos().as_secs_f64();
    sessions.map(start).collect()
}

#[test]
fn every_file_of_the_folder_is_shipped_and_its_sessions_are_a_valid_trace() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/workloads");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let shipped: BTreeSet<String> = SHIPPED.iter().map(|s| format!("{}.toml", s.name)).collect();
    assert_eq!(files, shipped);
    let place = tempfile::tempdir().unwrap();
    for name in SHIPPED.iter().map(|shipped| shipped.name) {
        let agents = find(name, "agents = 30").unwrap().sessions(7).unwrap();
        let meta = agents.meta();
        let sessions: Vec<Session> = agents.map(Result::unwrap).collect();
        // The writer applies every check of the format.
        trace_with(&place.path().join(name), &meta, &sessions);
        assert_eq!(sessions.len(), 30, "{name}");
        assert!(
            sessions.iter().any(|session| session.calls.len() > 1),
            "{name}"
        );
    }
}

#[test]
fn archetypes_name_their_evidence_and_what_is_assumed() {
    for shipped in SHIPPED {
        if let Generator::Fleet(fleet) = find(shipped.name, "").unwrap() {
            assert!(fleet.evidence.len() > 20, "{}", shipped.name);
            assert!(!fleet.assumed.is_empty(), "{}", shipped.name);
            // It goes into the first line of every trace.
            let meta = fleet.sessions(1).unwrap().meta();
            assert!(meta.x.unwrap()["spec"]["evidence"].is_string());
        }
    }
}

#[test]
fn more_agents_another_rate_and_other_arrivals_move_nothing_that_an_agent_does() {
    let few = sessions("interactive-coding", "agents = 20", 3);
    let more = sessions("interactive-coding", "agents = 40\nrate = 5.0", 3);
    let closed = sessions(
        "interactive-coding",
        "agents = 20\narrivals = { closed = { ramp_s = 9 } }",
        3,
    );
    let capped = sessions("interactive-coding", "agents = 20\ngap_cap_s = 60", 3);
    for (i, session) in few.iter().enumerate() {
        assert_eq!(session.calls, more[i].calls);
        assert_eq!(session.calls, closed[i].calls);
        assert_eq!(
            (&session.config, &session.shared_prefix),
            (&more[i].config, &more[i].shared_prefix)
        );
        // A cap shortens waits and moves no other draw.
        for (open, capped) in session.calls.iter().zip(&capped[i].calls) {
            let cap = Millis::from_millis(60_000).nanos();
            assert_eq!(capped.gap_ms.nanos(), open.gap_ms.nanos().min(cap));
            assert_eq!((open.input, open.output), (capped.input, capped.output));
        }
    }
    assert_ne!(few, sessions("interactive-coding", "agents = 20", 4));
}

#[test]
fn gaps_are_the_longest_of_parallel_tools_after_an_approval() {
    let calls: Vec<Call> = sessions("interactive-coding", "agents = 60", 1)
        .into_iter()
        .flat_map(|session| session.calls)
        .collect();
    let (mut parallel, mut mixed, mut tools_waits) = (0, 0, 0);
    for pair in calls.windows(2).filter(|pair| pair[1].id > 0) {
        let tools = pair[0].tools.as_deref().unwrap_or_default();
        match pair[1].gap_kind {
            GapKind::Human => assert!(tools.is_empty()),
            GapKind::Tool | GapKind::Mixed => {
                let start = tools[0]
                    .start_ms
                    .as_ref()
                    .map_or(0.0, |s| s.as_f64().unwrap());
                let longest = tools.iter().map(|tool| tool.dur_ms.nanos()).max().unwrap();
                let end_s = start / 1e3 + longest.as_secs_f64();
                assert!((pair[1].gap_ms.nanos().as_secs_f64() - end_s).abs() < 1e-6);
                parallel += usize::from(tools.len() > 1);
                mixed += usize::from(pair[1].gap_kind == GapKind::Mixed);
                tools_waits += 1;
            }
            kind => panic!("a gap of kind {kind:?}"),
        }
    }
    // 14 % of the calls issue several tools, a fifth waits for an approval: of thousands of waits, within a quarter.
    assert!(tools_waits > 1_500, "{tools_waits}");
    let share = |part: usize| part as f64 / f64::from(tools_waits);
    assert!(
        (share(parallel) / 0.14 - 1.0).abs() < 0.25,
        "{}",
        share(parallel)
    );
    assert!((share(mixed) / 0.2 - 1.0).abs() < 0.25, "{}", share(mixed));
}

#[test]
fn a_lost_prefix_leaves_the_shared_parts_and_a_compaction_a_part_of_the_length() {
    let all = sessions("interactive-coding", "agents = 100", 2);
    let (mut lost, mut compacted) = (0, 0);
    for session in &all {
        let shared: u32 = session
            .shared_prefix
            .iter()
            .flatten()
            .map(|part| part.tokens)
            .sum();
        let longest = if session.config.as_deref() == Some("resumed-long") {
            895_000
        } else {
            700_000
        };
        for pair in session.calls.windows(2) {
            assert!(pair[1].input <= longest);
            let whole = pair[0].input + pair[0].output;
            match pair[1].keep {
                // Reasoning is missing.
                Some(keep) if keep == pair[0].input => {
                    assert!((keep..whole).contains(&pair[1].input));
                }
                Some(keep) => {
                    assert_eq!(keep, shared);
                    lost += 1;
                    compacted += u32::from(pair[1].input < pair[0].input * 7 / 10);
                }
                None => assert!(pair[1].input >= whole),
            }
        }
    }
    assert!(
        lost > 100 && compacted > 20 && compacted < lost,
        "{lost} {compacted}"
    );
}

/// Prompts and kept tokens of the first agent of a small fleet: three turns from 10 tokens on, each generates 5 and adds 7.
fn prompts(more: &str) -> Vec<(u32, Option<u32>)> {
    let fleet = small(more).unwrap();
    let session = fleet.sessions(1).unwrap().next().unwrap().unwrap();
    let calls = session.calls.iter();
    calls.map(|call| (call.input, call.keep)).collect()
}

#[test]
fn the_first_turns_add_what_the_opening_says() {
    // 10, + 5 + 100, + 5 + 50; the opening is longer than the session.
    let of = prompts(
        "append_tool = 7\nopening = [{ turns = 1, append_tool = 100 }, { turns = 2, append_tool = 50 }]\n",
    );
    assert_eq!(of, [(10, None), (115, None), (170, None)]);
    // It ends after one turn: + 5 + 7.
    let of = prompts("append_tool = 7\nopening = [{ turns = 1, append_tool = 100 }]\n");
    assert_eq!(of, [(10, None), (115, None), (127, None)]);
    let refused = error("append_tool = 7\nopening = [{ turns = 1, append_tool = -3 }]\n");
    assert!(refused.contains("`opening.append_tool`"), "{refused}");
}

#[test]
fn a_prompt_without_the_reasoning_before_it_keeps_the_prompt_before_it() {
    // 10 + 5 - 2 = 13, of which 10 are where they were; 13 + 5 - 2 = 16.
    let of = prompts("stripped = { share = 1, tokens = 2 }\n");
    assert_eq!(of, [(10, None), (13, Some(10)), (16, Some(13))]);
    // No more than the output can be missing, and of nothing missing nothing is lost.
    let of = prompts("stripped = { share = 1, tokens = 50 }\n");
    assert_eq!(of, [(10, None), (10, Some(10)), (10, Some(10))]);
    let of = prompts("stripped = { share = 1, tokens = 0 }\n");
    assert_eq!(of, [(10, None), (15, None), (20, None)]);
    let refused = error("stripped = { share = 2, tokens = 1 }\n");
    assert!(refused.contains("`stripped.share` = 2"), "{refused}");
}

#[test]
fn versions_of_a_shared_prefix_are_few_and_each_has_one_length() {
    let all = sessions("interactive-coding", "agents = 200", 1);
    let parts = all
        .iter()
        .flat_map(|session| session.shared_prefix.iter().flatten());
    let kinds: BTreeSet<(String, u32)> = parts.map(|part| (part.id.clone(), part.tokens)).collect();
    // Four versions of each of two parts.
    assert_eq!(kinds.len(), 8, "{kinds:?}");
}

#[test]
fn variants_differ_in_what_they_say_and_a_change_from_outside_wins() {
    let domains = |text: &str| -> BTreeSet<(String, u32)> {
        let all = sessions("function-calling", text, 1);
        all.iter()
            .map(|s| {
                (
                    s.config.clone().unwrap(),
                    s.shared_prefix.as_ref().unwrap()[0].tokens,
                )
            })
            .collect()
    };
    let own = [("airline", 3_300), ("retail", 3_530), ("telecom", 6_300)];
    assert_eq!(
        domains("agents = 60"),
        own.map(|(name, tokens)| (name.to_owned(), tokens)).into()
    );
    let same = domains("agents = 60\nshared_prefix = [{ id = \"x\", tokens = 9 }]");
    assert!(same.iter().all(|(_, tokens)| *tokens == 9) && same.len() == 3);
}

#[test]
fn open_loop_arrivals_have_the_rate_and_the_burstiness_asked_for() {
    let of = |arrivals: &str| {
        let generator = small(&format!("arrivals = {arrivals}\n")).unwrap();
        let Generator::Fleet(mut fleet) = generator else {
            panic!("a fleet")
        };
        fleet.agents = 20_000;
        let agents = fleet.sessions(5).unwrap();
        Stat::of(&agents.meta(), agents).unwrap().arrivals.unwrap()
    };
    let cases = [
        ("\"poisson\"", 1.0, 0.05),
        ("{ gamma = { cv = 2 } }", 2.0, 0.1),
        ("{ weibull = { cv = 2 } }", 2.0, 0.2),
        ("{ diurnal = { levels = [1, 1] } }", 1.0, 0.05),
    ];
    for (arrivals, cv, slack) in cases {
        let row = of(arrivals);
        // 20,000 arrivals: the rate varies by cv / 141.
        assert!(
            (row.rate_per_s - 1.0).abs() < 5.0 * cv / 141.0,
            "{arrivals}: {row:?}"
        );
        assert!((row.cv - cv).abs() < slack, "{arrivals}: {row:?}");
    }
    // A superposition of bursty clients, and a day whose busiest hours carry nine times the load of its quietest, are
    // burstier than Poisson.
    let clients = of("{ clients = { count = 10, weight_sigma = 1.5, cv = 4 } }");
    assert!(
        (clients.rate_per_s - 1.0).abs() < 0.35 && clients.cv > 1.3,
        "{clients:?}"
    );
    let day = of("{ diurnal = { levels = [1, 5, 9], period_s = 3600 } }");
    assert!(
        (day.rate_per_s - 1.0).abs() < 0.1 && day.cv > 1.2,
        "{day:?}"
    );
}

#[test]
fn a_closed_loop_has_all_its_agents_from_the_start() {
    let generator = find(
        "batch-coding",
        "agents = 40\narrivals = { closed = { ramp_s = 20 } }",
    )
    .unwrap();
    let starts = starts(&generator, 1);
    assert_eq!(starts.len(), 40);
    for (agent, start) in starts.iter().enumerate() {
        // One in each half second.
        let part = agent as f64 / 2.0;
        assert!((part..part + 0.5).contains(start), "{agent}: {start}");
    }
}

#[test]
fn resampled_arrivals_are_stretches_of_the_trace_at_the_rate_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    // Intervals of 1 s and 9 s in turn: 5 s on average.
    let mut second = 0;
    let recorded: Vec<Session> = (0..101_u64)
        .map(|i| {
            second += if i % 2 == 0 { 1 } else { 9 };
            let start_ms = Nullable::Value(Millis::from_millis(second * 1_000));
            Session {
                start_ms,
                ..session(&format!("s{i}"), vec![call(0, 10, 1)])
            }
        })
        .collect();
    trace_with(&path, &Meta::default(), &recorded);
    let arrivals = format!(
        "arrivals = {{ trace = {{ file = {:?}, block = 10 }} }}",
        path.to_str().unwrap()
    );
    let of = |text: &str| starts(&find("batch-coding", text).unwrap(), 3);
    let at_rate = of(&format!("agents = 400\nrate = 2\n{arrivals}"));
    // Scaled from 0.2 to 2 per second, intervals are 0.1 s or 0.9 s.
    for pair in at_rate.windows(2) {
        let interval = pair[1] - pair[0];
        assert!(
            (interval - 0.1).abs() < 1e-6 || (interval - 0.9).abs() < 1e-6,
            "{interval}"
        );
    }
    assert!(
        (at_rate[399] / 200.0 - 1.0).abs() < 0.05,
        "{}",
        at_rate[399]
    );
    let missing = "arrivals = { trace = { file = \"none.jsonl\" } }";
    let error = find("batch-coding", missing)
        .unwrap()
        .sessions(1)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("cannot open `none.jsonl`"), "{error}");
}

#[test]
fn a_run_cuts_generated_sessions_as_it_cuts_recorded_ones() {
    let generator = find("interactive-coding", "agents = 50").unwrap();
    let options = |too_long| WorkloadOptions {
        max_context: Some(100_000),
        gap_cap_s: Some(30.0),
        too_long,
        ..WorkloadOptions::default()
    };
    let error = {
        let mut workload = generator.workload(1, options(TooLong::Error)).unwrap();
        std::iter::repeat_with(|| workload.next_session())
            .find_map(Result::err)
            .unwrap()
            .to_string()
    };
    assert!(error.contains("max_context is 100000"), "{error}");
    let mut workload = generator
        .workload(1, options(TooLong::TruncateSession))
        .unwrap();
    let mut turns = 0;
    while let Some(session) = workload.next_session().unwrap() {
        for turn in &session.turns {
            assert!(turn.input.0 + turn.output.0 <= 100_000);
            assert!(turn.gap.as_secs_f64() <= 30.0);
            turns += 1;
        }
    }
    let report = workload.report();
    assert_eq!(report.turns, turns);
    assert!(report.turns_cut > 0 && report.gaps_capped > 0 && report.sessions_truncated > 0);
    // Classes are known before the first session: people among them.
    let fresh = generator.workload(1, WorkloadOptions::default()).unwrap();
    assert!(fresh.tool_classes().contains(&"human".to_owned()));
}

#[test]
fn a_workload_that_makes_no_sense_is_refused_with_its_key() {
    assert!(small("").is_ok());
    let cases = [
        ("agentz = 3\n", "unknown field `agentz`"),
        (
            "arrivals = \"weekly\"\n",
            "`arrivals`: unknown variant `weekly`",
        ),
        (
            "arrivals = { gamma = { cv = 0 } }\n",
            "cv = 0; a coefficient of variation",
        ),
        (
            "arrivals = { clients = { count = 0, weight_sigma = 1, cv = 1 } }\n",
            "count = 0",
        ),
        (
            "arrivals = { diurnal = { levels = [0, 0] } }\n",
            "not all 0",
        ),
        (
            "arrivals = { diurnal = { levels = [1], start_s = 90000 } }\n",
            "start_s = 90000",
        ),
        (
            "arrivals = { trace = { file = \"x\", block = 0 } }\n",
            "block = 0",
        ),
        (
            "arrivals = { closed = { ramp_s = 1 } }\n",
            "`rate` does not apply to closed-loop arrivals",
        ),
        ("rate = 0\n", "above 0; it is 0"),
        ("gap_cap_s = -1\n", "`gap_cap_s` = -1"),
        ("parallel = [0, 0]\n", "`parallel`"),
        (
            "approval = { share = 2, wait_s = 1 }\n",
            "`approval.share` = 2",
        ),
        ("context_max = 1000\n", "`context_max` needs `loss`"),
        (
            "human = { after_human = 0.5, after_tool = 7, wait_s = 1, append = 1 }\n",
            "`human.after_tool` = 7",
        ),
        (
            "shared_prefix = [{ id = \"x\", tokens = 1, versions = 0 }]\n",
            "versions = 0",
        ),
        ("[[variants]]\nweight = -1\n", "`variants`: weights"),
        ("[[variants]]\nturn = 3\n", "unknown field `turn`"),
        (
            "[variants]\nweight = 1\n",
            "`variants` must be an array of tables",
        ),
    ];
    for (more, expected) in cases {
        let error = error(more);
        assert!(error.contains(expected), "{more}: {error}");
    }
    let none = find("batch-coding", "tools = []").unwrap_err().to_string();
    assert!(none.contains("`tools` is empty"), "{none}");
    let two = find("web-research", "append_tool = 3")
        .unwrap_err()
        .to_string();
    assert!(two.contains("results of tools need one source"), "{two}");
    let broken = error("turns = =\n");
    assert!(broken.contains("line "), "{broken}");
    let unknown = find("coding", "").unwrap_err().to_string();
    assert!(
        unknown.contains("no generator is called `coding`") && unknown.contains("batch-coding")
    );
    let absent = find("absent.toml", "").unwrap_err().to_string();
    assert!(absent.contains("cannot read `absent.toml`"), "{absent}");
}
