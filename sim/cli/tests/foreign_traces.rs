//! Traces of other tools on the command line: recognised, imported, described; and what is said of those that cannot be.

mod common;

use common::{Place, has};

/// A row of Azure's trace, and one of trie's.
const AZURE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\n";
const TRIE: &str = "{\"num_turns\": 1, \"input_prompt_length\": 40, \"assistant_response_length\": [5], \
                    \"tool_call_output_length\": [7], \"tool_call_latency\": [0.5], \"final_assistant_response_length\": 9}\n";

#[test]
fn a_foreign_trace_is_recognised_imported_and_described() {
    let place = Place::new();
    let rows = "{\"timestamp\": 0, \"input_length\": 1000, \"output_length\": 10, \"hash_ids\": [1, 2]}\n\
                {\"timestamp\": 3000, \"input_length\": 1500, \"output_length\": 20, \"hash_ids\": [1, 2, 3]}\n";
    place.write("m.jsonl", rows);
    let done = place.ok(&["trace", "import", "m.jsonl", "--out", "m.trace.jsonl.gz"]);
    has(
        &done.err,
        &[
            "m.jsonl: looks like mooncake: its first object has `input_length`",
            "warning: no session ids",
            "2 sessions, 2 calls",
        ],
    );
    let stat = place.ok(&["trace", "stat", "m.trace.jsonl.gz"]).out;
    has(&stat, &["input tokens          2500"]);
    assert_eq!(
        place.ok(&["trace", "stat", "m.jsonl"]).out,
        stat,
        "described without an import"
    );
    place.ok(&["trace", "stat", "m.jsonl", "--csv", "m.csv"]);
    // Sums and shares are in the table, too: 1,024 of 2,500 tokens are in two blocks that came before.
    has(
        &place.read("m.csv"),
        &[
            "mooncake,input_tokens_sum,2,2500.0,",
            "mooncake,infinite_cache_hit_share,2,0.4096,",
        ],
    );
    has(
        &place.refuses(
            1,
            &["trace", "import", "m.jsonl", "--out", "m.trace.jsonl.gz"],
        ),
        &["exists"],
    );
    // By name, several files at once.
    let both = ["m.jsonl", "m.jsonl", "--out", "both.jsonl"];
    let done = place.ok(&[&["trace", "import", "mooncake"], &both[..]].concat());
    has(
        &done.err,
        &["4 sessions, 4 calls", "2 sessions have the name"],
    );
    let misspelt = [
        "trace",
        "import",
        "mooncak",
        "m.jsonl",
        "--out",
        "other.jsonl",
    ];
    has(
        &place.refuses(1, &misspelt),
        &["no trace format is called `mooncak`; known: weka"],
    );
    let run = ["run", "--set", "workload.trace=both.jsonl", "--out", "r"];
    place.ok(&run);
    has(
        &place.read("r/manifest.json"),
        &["no session ids: every row is a session"],
    );
}

#[test]
fn a_table_is_described_and_changed_without_an_import() {
    let place = Place::new();
    place.write("a.csv", AZURE);
    let done = place.ok(&["trace", "stat", "a.csv"]);
    has(&done.out, &["source                azure"]);
    has(
        &done.err,
        &["a.csv: looks like azure: its heading has `TIMESTAMP`"],
    );
    place.ok(&["trace", "head", "a.csv", "-n", "1", "--out", "a.jsonl"]);
    place.ok(&[
        "trace", "sample", "a.csv", "--share", "1", "--out", "b.jsonl",
    ]);
}

#[test]
fn what_cannot_be_imported_is_told_with_what_would_do() {
    let place = Place::new();
    place.write("t.jsonl", TRIE);
    place.write("empty.jsonl", "");
    let refused = |args: &[&str]| {
        let message = place.refuses(
            1,
            &[&["trace", "import"], args, &["--out", "o.jsonl"]].concat(),
        );
        assert!(!place.names().iter().any(|name| name.starts_with("o.")));
        message
    };
    // A wrong name in front: what the file looks like.
    for wrong in ["azure", "weka", "mooncake"] {
        has(
            &refused(&[wrong, "t.jsonl"]),
            &[
                "t.jsonl",
                "hint: t.jsonl: looks like trie: its first object has `num_turns`",
            ],
        );
    }
    has(&refused(&["empty.jsonl"]), &["`empty.jsonl` is empty"]);
    std::fs::create_dir(place.path("logs")).expect("a new folder");
    has(
        &refused(&["logs"]),
        &[
            "logs is a folder",
            "hint: name its files, for example `logs/*.jsonl`",
        ],
    );
    place.ok(&["trace", "import", "t.jsonl", "--out", "t.trace.jsonl"]);
    has(
        &refused(&["t.trace.jsonl"]),
        &["`t.trace.jsonl` is a session trace already"],
    );
    let message = place.refuses(2, &["trace", "import", "trie", "--out", "o.jsonl"]);
    has(
        &message,
        &["`trie` is a format: the files to convert come after it"],
    );
}
