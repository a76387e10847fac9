//! From trace to workload: what sessions share, and sub-agents.

mod common;

use common::run::{DEFAULT, ms, observed, open, plain, run, starting};
use common::{call, session, shared, sized_meta, trace_with};
use model::{ContentRun, Session, Spawn, Tokens, TurnIndex, Workload};
use trace::format::{
    self, Blocks, Call, HashScope, Meta, Millis, Nullable, Parent, ParentLink, SharedPrefix, Tool,
};
use trace::workload::{Timing, TooLong, TraceWorkload, WorkloadOptions};

#[test]
fn sub_agents_are_part_of_the_turn_that_starts_them() {
    let parent = |sid: &str, call, offset| {
        let offset_ms = Millis::from_millis(offset);
        Some(ParentLink::Call(Parent {
            sid: sid.to_owned(),
            call,
            offset_ms,
            ..Parent::default()
        }))
    };
    let mut root = starting("root", 0);
    root.calls[0].at_ms = Some(Millis::from_millis(0));
    root.calls[0].observed = Some(observed(2_000));
    root.calls[1].at_ms = Some(Millis::from_millis(3_000));
    root.calls[1].observed = Some(observed(300));
    let child = format::Session {
        start_ms: Nullable::Absent,
        parent: parent("root", 1, 50),
        ..session(
            "child",
            vec![Call {
                observed: Some(observed(7)),
                ..call(0, 10, 1)
            }],
        )
    };
    let grandchild = format::Session {
        start_ms: Nullable::Absent,
        parent: parent("child", 0, 1),
        ..session("grandchild", vec![call(0, 10, 1)])
    };
    // Children may come first in the file.
    let trace = [grandchild, child, root];
    let spawns = |options: &WorkloadOptions| -> (Spawn, Spawn) {
        let (sessions, _) = plain(&trace, options);
        assert_eq!(sessions.len(), 1, "one starts by itself");
        let child = sessions[0].turns[1].spawns[0].clone();
        let grandchild = child.session.turns[0].spawns[0].clone();
        (child, grandchild)
    };
    let (child, grandchild) = spawns(&DEFAULT);
    assert_eq!(child.session.name, "child");
    assert_eq!((child.after, child.at, child.join), (ms(50), None, None));
    assert_eq!((grandchild.after, grandchild.at), (ms(1), None));
    // On the recorded timeline: end of call 1, 2,000 + gap 1,000 + 300, and 50 later; in its own, 7 + 1. With the gap capped to 400 ms the
    // child comes 600 ms earlier.
    for (gap_cap_s, at) in [(None, 3_350), (Some(0.4), 2_750)] {
        let options = WorkloadOptions {
            timing: Timing::Original,
            gap_cap_s,
            ..DEFAULT
        };
        let (child, grandchild) = spawns(&options);
        assert_eq!((child.at, grandchild.at), (Some(ms(at)), Some(ms(8))));
    }

    // A call that was cut off spawns nothing; what was not asked for is not counted.
    let options = WorkloadOptions {
        max_context: Some(20),
        too_long: TooLong::TruncateSession,
        ..DEFAULT
    };
    let (sessions, report) = plain(&trace, &options);
    assert_eq!(sessions.len(), 1);
    assert_eq!(
        (
            report.sessions_truncated,
            report.sessions_skipped,
            report.turns_cut
        ),
        (1, 1, 2)
    );
    assert_eq!(report.subagents, 0);
}

#[test]
fn a_sub_agent_that_names_no_call_starts_as_long_after_its_parent_as_recorded() {
    let parent = Some(ParentLink::Session("root".to_owned()));
    let child = format::Session {
        parent,
        ..starting("child", 9_500)
    };
    let trace = [starting("early", 1_000), starting("root", 7_000), child];
    let starts: Vec<u64> = plain(&trace, &DEFAULT)
        .0
        .iter()
        .map(|s| s.start.0 / 1_000_000)
        .collect();
    assert_eq!(starts, [0, 6_000, 8_500]);
    let mut timeless = trace.clone();
    timeless[2].start_ms = Nullable::Absent;
    let error = open(&Meta::default(), &timeless, &DEFAULT)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("sub-agent `child` names its parent `root`"),
        "{error}"
    );
}

#[test]
fn the_traces_of_other_sources_run_under_a_drawn_arrival_process() {
    for name in [
        "agentcgroup-claude-code/sessions.jsonl.zst",
        "tau2-bench/sessions.jsonl.zst",
    ] {
        let Some(path) = shared(name) else { return };
        let options = WorkloadOptions {
            rate: Some(0.1),
            ..DEFAULT
        };
        let mut workload = TraceWorkload::open(path, &options, 1, 16).unwrap();
        let sessions: Vec<Session> =
            std::iter::from_fn(|| workload.next_session().unwrap()).collect();
        assert!(
            sessions.len() > 200 && sessions.is_sorted_by_key(|session| session.start),
            "{name}"
        );
        for turn in sessions.iter().flat_map(|session| &session.turns) {
            assert!(turn.keep <= turn.input && turn.output > Tokens::ZERO);
        }
    }
}

#[test]
fn the_canonical_fixture_runs_with_its_sub_agent_half_a_second_after_the_call() {
    let Some(path) = shared("format-fixtures/canonical.session-trace.v1.jsonl") else {
        return;
    };
    let options = WorkloadOptions {
        rate: Some(1e9),
        ..DEFAULT
    };
    let mut workload = TraceWorkload::open(path, &options, 1, 16).unwrap();
    let mut sessions: Vec<Session> =
        std::iter::from_fn(|| workload.next_session().unwrap()).collect();
    sessions.sort_by(|a, b| a.name.cmp(&b.name));
    let [weka, trie, _] = &sessions[..] else {
        panic!("three sessions that start by themselves")
    };
    // Turn 2 waits for it. Recorded: turn 1 ends at 2.5 + 4 + 3 = 9.5 s, turn 2 begins 11 s later, at 20.5 s; the sub-agent runs from 10 s for
    // 1.5 + 3 + 4 = 8.5 s, to 18.5 s. What is left of the gap is 2 s.
    let [agent] = &weka.turns[1].spawns[..] else {
        panic!("turn 1 starts one sub-agent")
    };
    assert_eq!((agent.after, agent.at), (ms(500), None));
    assert_eq!(agent.join, Some(TurnIndex(2)));
    assert_eq!(weka.turns[2].gap, ms(2_000));
    assert_eq!(weka.turns[2].expected, Some(ms(11_000)));
    let keeps = |session: &Session| session.turns.iter().map(|t| t.keep.0).collect::<Vec<_>>();
    // 300 + 40, 420 + 60; the last agrees with 3 blocks of 64 only.
    assert_eq!(keeps(weka), [0, 340, 480, 192]);
    assert_eq!(keeps(trie), [0, 4_120, 4_195]);
    // 128 tokens of tools, then 64 of system prompt.
    let prefixes: Vec<u32> = weka.shared_prefixes.iter().map(|p| p.tokens.0).collect();
    assert_eq!(prefixes, [128, 192]);
    assert_eq!(
        (workload.report().joins, workload.report().joins_ignored),
        (1, 0)
    );
}

#[test]
fn global_blocks_become_content_runs_and_replace_the_shared_prefix() {
    let meta = Meta {
        block_size: Nullable::Value(512),
        hash_scope: Nullable::Value(HashScope::Global),
        ..Meta::default()
    };
    let blocks = |add: &[(u64, u32)]| {
        Some(Blocks {
            keep: 0,
            add: add.to_vec(),
            ..Blocks::default()
        })
    };
    let prefix = vec![SharedPrefix {
        id: "p".to_owned(),
        tokens: 9,
        ..SharedPrefix::default()
    }];
    let one = |sid: &str, input, add: &[(u64, u32)]| format::Session {
        shared_prefix: Some(prefix.clone()),
        ..session(
            sid,
            vec![Call {
                blocks: blocks(add),
                ..call(0, input, 2)
            }],
        )
    };
    let trace = [
        one("a", 1_500, &[(0, 3)]),
        one("b", 1_100, &[(0, 2), (3, 1)]),
    ];
    let (sessions, _) = run(&meta, &trace, &DEFAULT);
    let content = |index: usize| {
        sessions[index].turns[0]
            .content
            .as_deref()
            .unwrap()
            .to_vec()
    };
    let block = |stream, first, len| ContentRun { stream, first, len };
    // 1,500 / 16 = 93; 1,100 / 16 = 68 = 64 + 4 of the new block.
    assert_eq!(content(0), [block(0, 0, 93)]);
    assert_eq!(content(1), [block(0, 0, 64), block(1, 0, 4)]);
    assert!(sessions[0].shared_prefixes.is_empty());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    trace_with(&path, &meta, &trace);
    let error = TraceWorkload::open(&path, &DEFAULT, 1, 48)
        .unwrap_err()
        .to_string();
    assert!(error.contains("divides 512"), "{error}");
}

#[test]
fn a_shared_prefix_is_no_longer_than_the_shortest_prompt() {
    let parts = |tokens: &[u32]| -> Option<Vec<SharedPrefix>> {
        let part = |&tokens: &u32| SharedPrefix {
            id: format!("p:{tokens}"),
            tokens,
            ..SharedPrefix::default()
        };
        Some(tokens.iter().map(part).collect())
    };
    let with = |sid: &str, tokens: &[u32]| format::Session {
        shared_prefix: parts(tokens),
        ..starting(sid, 0)
    };
    let (sessions, _) = plain(
        &[with("a", &[4, 3]), with("b", &[4, 3]), with("c", &[4, 90])],
        &DEFAULT,
    );
    let prefix: Vec<_> = sessions.iter().map(|s| &s.shared_prefixes).collect();
    assert_eq!(prefix[0], prefix[1]);
    let tokens = |i: usize| prefix[i].iter().map(|p| p.tokens.0).collect::<Vec<_>>();
    assert_eq!((tokens(0), tokens(2)), (vec![4, 7], vec![4, 10]));
    // The first part is common to all, the whole is not.
    assert_eq!(prefix[0][0], prefix[2][0]);
    assert_ne!(prefix[0][1].id, prefix[2][1].id);
}

#[test]
fn the_class_of_a_wait_is_that_of_the_first_tool_in_the_foreground() {
    let tool = |name: &str, cls: Option<&str>, background| Tool {
        name: name.to_owned(),
        cls: cls.map(str::to_owned),
        background,
        ..Tool::default()
    };
    let mut calls = vec![
        call(0, 10, 2),
        call(1, 30, 2),
        call(2, 50, 2),
        call(3, 70, 2),
    ];
    calls[0].tools = Some(vec![
        tool("Server", None, Some(true)),
        tool("Bash", Some("shell"), None),
    ]);
    calls[1].tools = Some(vec![tool("Read", None, None)]);
    calls[3].gap_kind = format::GapKind::Human;
    let mut workload = open(&sized_meta(), &[session("a", calls)], &DEFAULT).unwrap();
    let session = workload.next_session().unwrap().unwrap();
    let names = workload.tool_classes();
    let classes: Vec<&str> = session
        .turns
        .iter()
        .map(|turn| names[turn.tool.index()].as_str())
        .collect();
    assert_eq!(classes, ["tool", "shell", "Read", "human"]);
}
