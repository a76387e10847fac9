//! The survey's format fixtures, where they lie beside the workspace.

use super::{imported_from, kept, shape};
use crate::common::shared;
use serde_json::Value;
use trace::import::{FORMATS, Head, detect};

/// File, format, sessions, calls, and the sums of `in`, `out` and gaps in milliseconds.
const FILES: [(&str, &str, [u64; 5]); 15] = [
    (
        "mooncake.jsonl",
        "mooncake",
        [3, 3, 1_500 + 1_100 + 2_100, 40 + 12 + 7, 0],
    ),
    // Gaps 40, 700 - 620 and 2,450.5 (its half is rounded down here).
    (
        "mooncake_sessions.jsonl",
        "mooncake",
        [
            3,
            6,
            1_600 + 2_100 + 900 + 1_400 + 512 + 700,
            96 + 30 + 70 + 20 + 8 + 16,
            2_570,
        ],
    ),
    // 1,536, then 1,536 + 320 + 768.
    (
        "mooncake_delta.jsonl",
        "mooncake-delta",
        [1, 2, 1_536 + 2_624, 500, 2_450],
    ),
    // The wait of root-2: 10 + 2,500.
    (
        "agentic_mooncake.jsonl",
        "agentic-mooncake",
        [
            3,
            4,
            2_048 + 1_024 + 1_024 + 4_096,
            64 + 200 + 90 + 256,
            2_510,
        ],
    ),
    // Raw gaps: 4 + 11 + 75 s, and 3 s of the sub-agent.
    ("weka.json", "weka", [2, 6, 2_020 + 480, 320 + 150, 93_000]),
    // From the tool call at 25 s to the result at 26.5 s.
    (
        "tracelab_round.jsonl",
        "tracelab",
        [1, 2, 10_200, 390, 1_500],
    ),
    (
        "tracelab_replay.csv",
        "tracelab-csv",
        [1, 2, 5_000 + 5_290, 390, 1_500],
    ),
    (
        "tracelab_canonical.csv",
        "tracelab-csv",
        [1, 2, 5_000 + 5_290, 390, 1_500],
    ),
    (
        "trie.jsonl",
        "trie",
        [
            2,
            4,
            4_000 + 4_180 + 5_095 + 20_000,
            120 + 15 + 1_200 + 500,
            1_000,
        ],
    ),
    // 61.114 - 12.25 s.
    ("bailian.jsonl", "bailian", [1, 2, 101, 152, 48_864]),
    // 14 + 25 characters are 4 + 7 tokens; then 11 + 50 and the 16 characters (5 tokens) of the second.
    (
        "aiperf_multi_turn.jsonl",
        "aiperf-multi-turn",
        [1, 2, 11 + 66, 130, 1_500],
    ),
    (
        "claude_code_session.jsonl",
        "claude-code",
        [1, 2, 15_004 + 15_085, 61 + 12, 12_500],
    ),
    // 1,800, then 1,800 + 60 + 120; 700, 700 + 25 + 30, 755 + 55 + 18.
    (
        "infercept.json",
        "infercept",
        [
            2,
            5,
            1_800 + 1_980 + 700 + 755 + 828,
            60 + 40 + 25 + 55 + 33,
            690 + 28_600 + 12_000,
        ],
    ),
    ("azure.csv", "azure", [2, 2, 770, 153, 0]),
    ("canonical.session-trace.v1.jsonl", "", [0; 5]),
];

#[test]
fn every_fixture_of_the_survey_is_recognised_and_adds_up() {
    for (file, name, sums) in FILES {
        let Some(path) = shared(&format!("format-fixtures/{file}")) else {
            return;
        };
        let head = Head::new(&std::fs::read(&path).unwrap());
        let claims = FORMATS
            .iter()
            .filter(|format| (format.detect)(&head).is_some());
        let claims: Vec<&str> = claims.map(|format| format.name).collect();
        if name.is_empty() {
            // A session trace needs no import.
            assert!(claims.is_empty(), "{claims:?}");
            let told = detect(&path).err().unwrap().to_string();
            assert!(told.contains("is a session trace already"), "{told}");
            continue;
        }
        assert_eq!(claims, [name], "{file}");
        let (collected, report) = imported_from(&path);
        let calls = || collected.sessions.iter().flat_map(|session| &session.calls);
        let input: u64 = calls().map(|call| u64::from(call.input)).sum();
        let output: u64 = calls().map(|call| u64::from(call.output)).sum();
        let gaps: u64 = calls().map(|call| call.gap_ms.nanos().0).sum();
        let found = [
            report.sessions,
            report.calls,
            input,
            output,
            gaps / 1_000_000,
        ];
        assert_eq!(found, sums, "{file}: {:?}", shape(&collected));
    }
}

#[test]
fn a_trie_file_becomes_its_part_of_the_canonical_one() {
    let Some(path) = shared("format-fixtures/trie.jsonl") else {
        return;
    };
    let canonical = shared("format-fixtures/canonical.session-trace.v1.jsonl").unwrap();
    let text = std::fs::read_to_string(canonical).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let is_trie = |line: &Value| {
        line["sid"]
            .as_str()
            .is_some_and(|sid| sid.starts_with("trie/"))
    };
    let expected: Vec<Value> = lines.filter(is_trie).collect();
    let (collected, _) = imported_from(&path);
    let found = collected
        .sessions
        .iter()
        .map(|s| serde_json::to_value(s).unwrap());
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

#[test]
fn a_recipe_gives_as_many_conversations_as_it_asks_for_and_its_lengths() {
    let Some(path) = shared("format-fixtures/vllm_multi_turn_generate.json") else {
        return;
    };
    let (collected, report) = imported_from(&path);
    assert_eq!(report.sessions, 24);
    for session in &collected.sessions {
        // 12 to 18 questions and answers.
        assert!((6..=9).contains(&session.calls.len()));
        for call in &session.calls {
            assert!((80..=120).contains(&call.output));
        }
        // 500 common, up to 5,000 own, 120 to 160 of the question.
        assert!((620..=5_660).contains(&session.calls[0].input));
        let grown = session.calls[1].input - session.calls[0].input - session.calls[0].output;
        assert!((120..=160).contains(&grown), "{grown}");
    }
    let again = imported_from(&path).0;
    assert_eq!(again, collected, "one seed, one workload");
}

#[test]
fn the_example_sessions_of_tracelab_are_read_whole() {
    let Some(path) = shared("tracelab-examples/round_trace.jsonl") else {
        return;
    };
    let (collected, report) = imported_from(&path);
    assert_eq!(report.sessions, 2, "a Claude Code and a Codex session");
    let claude = &collected.sessions[0];
    assert_eq!(
        (claude.calls[0].input, claude.calls[0].output),
        (32_272, 931)
    );
    // 27,217 tokens came from a cache that the session did not fill; of the next prompt, 29,380 did.
    assert_eq!(kept(claude)[..2], ["-", "29380"]);
    assert_eq!(claude.calls[0].cached, Some(27_217));
    let tools = claude.calls[0].tools.as_ref().unwrap();
    assert_eq!(tools[1].cls.as_deref(), Some("web_search"));
    assert_eq!(tools[1].dur_ms.nanos().0, 19_291_000_000);
    // The last result came at 50.938 s, the answer had ended at 31.647 s.
    assert_eq!(claude.calls[1].gap_ms.nanos().0, 19_291_000_000);
}
