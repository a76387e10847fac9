//! Every verb once, on input that is good.

mod common;

use common::{Place, TINY, has, names};
use std::process::Stdio;

#[test]
fn run_writes_a_folder_and_prints_what_show_prints() {
    let place = Place::new();
    let done = place.tiny(&["--out", "a"]);
    assert_eq!(
        names(&place.path("a")),
        ["manifest.json", "sessions.csv", "turns.csv"]
    );
    has(
        &done.err,
        &[
            "results in a",
            "repeat it with: djinn run --set workload.sessions=3",
        ],
    );
    has(
        &done.out,
        &["3 sessions, 30 turns", "wake-up, by part", "digest "],
    );
    // 3 agents of 10 turns: 27 wake-ups, too few for a P99.
    has(&done.out, &["27", "* from fewer than 1,000 samples"]);
    assert_eq!(place.ok(&["show", "a"]).out, done.out);
}

#[test]
fn run_says_where_step_times_are_not_measured() {
    let place = Place::new();
    let measured = place.tiny(&["--out", "a"]);
    assert!(!measured.err.contains("warning"), "{}", measured.err);
    let other = place.tiny(&["--set", "model=qwen2.5-14b", "--out", "b"]);
    has(
        &other.err,
        &["warning: step or copy times of `qwen2.5-14b` on `h200` are modelled, not measured"],
    );
}

#[test]
fn run_does_not_repeat_a_run_and_says_so() {
    let place = Place::new();
    let first = place.tiny(&[]);
    let again = place.tiny(&[]);
    has(&again.err, &["holds this run already"]);
    assert_eq!(again.out, first.out);
    assert_eq!(names(&place.path("results")).len(), 1);
}

#[test]
fn run_takes_its_config_from_a_pipe_and_names_a_command_that_needs_none() {
    let place = Place::new();
    let config = place.write(
        "c.toml",
        "[workload]\ngen = \"poisson-agents\"\nsessions = 2\n[memory]\nhbm_blocks = 1600\n",
    );
    let input = std::fs::File::open(config).expect("just written");
    let output = place
        .command(&["run", "-", "--out", "a"])
        .stdin(Stdio::from(input))
        .output()
        .expect("starts");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    let repeat = err
        .lines()
        .find_map(|line| line.strip_prefix("repeat it with: djinn "))
        .expect("a command")
        .to_owned();
    let words: Vec<&str> = repeat.split(' ').chain(["--out", "b"]).collect();
    place.ok(&words);
    let id = |folder: &str| {
        place
            .ok(&["show", folder])
            .out
            .lines()
            .next()
            .map(str::to_owned)
    };
    assert_eq!(id("a"), id("b"));
}

#[test]
fn show_prints_every_metric_as_json() {
    let place = Place::new();
    place.tiny(&["--out", "a"]);
    let json: serde_json::Value =
        serde_json::from_str(&place.ok(&["show", "a", "--json"]).out).expect("JSON");
    assert_eq!(json["wakeups"], 27);
    assert_eq!(json["digest"].as_str().map(str::len), Some(64));
}

#[test]
fn explain_tells_the_story_from_the_log_and_without_one_says_how_to_get_it() {
    let place = Place::new();
    place.tiny(&["--log", "--out", "a"]);
    let told = place.ok(&["explain", "a", "1", "2"]).out;
    has(
        &told,
        &[
            "the last token of turn 1 is out",
            "IO_WAIT is delivered",
            "COMPUTE is delivered",
            "admitted: ",
            "wake-up latency: ",
        ],
    );
    assert_eq!(
        place.ok(&["explain", "a", "agent-1", "2"]).out,
        told,
        "a session by its name"
    );
    has(
        &place.ok(&["explain", "a", "0", "0"]).out,
        &["it follows no wait", "the session arrives"],
    );
    place.tiny(&["--out", "b"]);
    let done = place.ok(&["explain", "b", "1", "2"]);
    has(&done.err, &["has no decisions.log", "--log"]);
    has(&done.out, &["wake-up latency: "]);
    has(
        &place.refuses(1, &["explain", "a", "3", "0"]),
        &["no session `3`", "0 to 2"],
    );
    has(
        &place.refuses(1, &["explain", "a", "1", "10"]),
        &["no turn 10", "10 turns"],
    );
}

#[test]
fn sweep_writes_a_table_keeps_runs_and_goes_on_where_it_was() {
    let place = Place::new();
    let args = [
        &[
            "sweep",
            "--policy",
            "vllm-recompute,djinn",
            "--set",
            "sweep.seed=\"1..2\"",
            "--keep",
            "--out",
            "s",
        ],
        TINY,
    ]
    .concat();
    let first = place.ok(&args);
    has(&first.err, &["4 runs now, 0 already there"]);
    // A header and 2 policies times 2 seeds.
    assert_eq!(place.read("s/runs.csv").lines().count(), 1 + 4);
    assert_eq!(names(&place.path("s/runs")).len(), 4);
    let again = place.ok(&args);
    has(&again.err, &["0 runs now, 4 already there"]);
    assert_eq!(again.out, first.out);
    std::fs::write(place.path("s/rows").join(row_file(&place)), "cut o").expect("it is there");
    let mended = place.ok(&args);
    has(
        &mended.err,
        &[
            "1 run now, 3 already there",
            "1 run whose row was there was made anew: damaged row",
        ],
    );
    assert_eq!(mended.out, first.out);
    let compared = place.ok(&["compare", "s/runs"]).out;
    has(
        &compared,
        &[
            "djinn against vllm-recompute: 2 pairs",
            "wake-up p99",
            "TTFT mean",
        ],
    );
    let turned = place.ok(&["compare", "s/runs", "--baseline", "djinn"]).out;
    has(&turned, &["vllm-recompute against djinn: 2 pairs"]);
    let drawn = place
        .ok(&["figures", "s", "--out", "fig", "wakeup_cdf"])
        .out;
    has(
        &drawn,
        &[
            "fig/wakeup_cdf.svg",
            "fig/wakeup_cdf.pdf",
            "fig/wakeup_cdf.png",
        ],
    );
    let all = place.ok(&["figures", "s"]);
    has(
        &all.err,
        &["skipped: figure `seed_table` needs `seed_table.csv`"],
    );
}

/// Name of a row of the sweep `s`.
fn row_file(place: &Place) -> String {
    let all = names(&place.path("s/rows")).into_iter();
    let mut rows = all.filter(|name| name.to_lowercase().ends_with(".csv"));
    rows.next().expect("a row")
}

#[test]
fn compare_shows_no_difference_between_a_run_and_itself() {
    let place = Place::new();
    place.tiny(&["--out", "a"]);
    place.tiny(&["--out", "b"]);
    let text = place.ok(&["compare", "a", "b"]).out;
    has(&text, &["djinn (b) against djinn (a): 1 pair, 3 sessions"]);
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("p50") || line.contains("mean"))
        .collect();
    assert_eq!(rows.len(), 8, "four metrics, mean and median");
    assert!(
        rows.iter().all(|row| row.ends_with("no difference shown")),
        "{text}"
    );
}

#[test]
fn policies_lists_all_and_teaches_one() {
    let place = Place::new();
    let list = place.ok(&["policies"]).out;
    for entry in policy::REGISTRY {
        has(&list, &[entry.name, entry.summary]);
    }
    has(
        &place.ok(&["policies", "djinn[margin_ms=50]"]).out,
        &["djinn[margin_ms=50,", "margin_ms", "ms", "0 to 60000"],
    );
    has(
        &place.ok(&["policies", "continuum-paper"]).out,
        &["argmax", "rules from: paper", "source: ", "caveats: "],
    );
    assert_eq!(place.ok(&["policies", "--markdown"]).out, policy::page());
}

#[test]
fn new_writes_a_config_that_runs() {
    let place = Place::new();
    place.ok(&["new", "my.toml"]);
    place.ok(&[&["run", "my.toml", "--out", "a"], TINY].concat());
    has(
        &place.refuses(1, &["new", "my.toml"]),
        &["my.toml exists and is not overwritten"],
    );
}

#[test]
fn a_generated_trace_runs_as_its_generator_does() {
    let place = Place::new();
    place.ok(&[
        "trace",
        "gen",
        "poisson-agents",
        "--set",
        "agents=3",
        "--out",
        "t.jsonl.zst",
    ]);
    has(
        &place
            .ok(&["trace", "stat", "t.jsonl.zst", "--csv", "t.csv"])
            .out,
        &["sessions              3", "calls                 30"],
    );
    assert!(
        place
            .read("t.csv")
            .starts_with("source,quantity,count,value,mean,p5,")
    );
    place.tiny(&["--out", "gen"]);
    place.ok(&[
        "run",
        "--set",
        "workload.trace=t.jsonl.zst",
        "--set",
        "memory.hbm_blocks=1600",
        "--out",
        "trace",
    ]);
    // The trace is rounded to milliseconds, so times differ by less than that; what was asked of the model does not.
    let tokens = |folder: &str| {
        let json: serde_json::Value =
            serde_json::from_str(&place.ok(&["show", folder, "--json"]).out).expect("JSON");
        (
            json["input_tokens"].clone(),
            json["output_tokens"].clone(),
            json["wakeups"].clone(),
        )
    };
    assert_eq!(tokens("gen"), tokens("trace"));
    has(
        &place
            .ok(&[
                "trace", "gen", "seed", "--set", "agents=2", "--out", "s.jsonl",
            ])
            .err,
        &["2 sessions, 4 calls"],
    );
}

#[test]
fn archetypes_are_generated_by_name_and_run_by_name_from_anywhere() {
    let place = Place::new();
    let args = ["trace", "gen", "office", "--sessions", "4", "--rate", "0.5"];
    has(
        &place.ok(&args).err,
        &["wrote office.jsonl.zst: 4 sessions"],
    );
    let described = place.ok(&["trace", "stat", "office.jsonl.zst", "--figure", "fig"]);
    has(
        &described.out,
        &[
            "sessions              4",
            "appended_after_tool_tokens",
            "api",
        ],
    );
    has(&described.err, &["trace_stat.svg"]);
    assert!(
        place
            .read("fig/trace_stat.csv")
            .starts_with("source,quantity,")
    );
    let run = |more: &[&str]| {
        let set = [
            "--set",
            "workload.gen=function-calling",
            "--set",
            "workload.sessions=4",
        ];
        place.ok(&[&["run"], &set[..], &["--set", "engine.check=true"], more].concat())
    };
    has(&run(&["--out", "a"]).out, &["4 sessions"]);
    let error = place.refuses(1, &["run", "--set", "workload.gen=offices"]);
    has(
        &error,
        &[
            "no generator is called `offices`",
            "office",
            "trace gen --help",
        ],
    );
}

#[test]
fn traces_are_made_of_traces_and_compared() {
    let place = Place::new();
    let make = |name: &str, args: &[&str]| {
        let done = place.ok(&[&["trace"], args, &["--out", name]].concat());
        done.err
    };
    make(
        "a.jsonl",
        &["gen", "batch-coding", "--sessions", "20", "--rate", "1"],
    );
    has(
        &make("h.jsonl", &["head", "a.jsonl", "-n", "3"]),
        &["wrote h.jsonl: 3 sessions"],
    );
    has(
        &make("s.jsonl", &["sample", "a.jsonl", "--sessions", "5"]),
        &["5 sessions"],
    );
    has(
        &make("n.jsonl", &["cut", "a.jsonl", "--from", "3h"]),
        &["0 sessions", "the trace is empty"],
    );
    make("c.jsonl", &["cut", "a.jsonl", "--to", "10s"]);
    make(
        "d.jsonl",
        &["scale", "a.jsonl", "--time", "2", "--load", "3"],
    );
    has(
        &make("m.jsonl", &["merge", "h.jsonl", "s.jsonl"]),
        &["wrote m.jsonl: 8 sessions"],
    );
    let diff = place.ok(&[
        "trace",
        "diff",
        "a.jsonl",
        "d.jsonl",
        "--resample",
        "50",
        "--csv",
        "d.csv",
    ]);
    has(
        &diff.out,
        &["quantity", "calls_per_session", "gap_tool_s", "95 % of A"],
    );
    let row = |name: &str| {
        let csv = place.read("d.csv");
        let line = csv.lines().find(|line| line.starts_with(name)).expect(name);
        line.split(',').map(str::to_owned).collect::<Vec<_>>()
    };
    // Scaling by time moves waits and nothing else; the columns are quantity, counts, p50s, p90s, KS.
    assert_eq!(row("input_tokens")[7], "0.0");
    assert_ne!(row("gap_tool_s")[7], "0.0");
    let only = place.ok(&["trace", "stat", "m.jsonl", "--class", "none"]);
    has(&only.out, &["sessions              0"]);
    place.refuses(
        2,
        &[
            "trace",
            "sample",
            "a.jsonl",
            "--share",
            "1",
            "--sessions",
            "2",
            "--out",
            "x",
        ],
    );
    place.refuses(2, &["trace", "merge", "a.jsonl", "--out", "x"]);
    has(
        &place.refuses(
            1,
            &["trace", "scale", "a.jsonl", "--load", "0", "--out", "x"],
        ),
        &["`load` = 0"],
    );
}

#[test]
fn oracle_reproduces_a_reference_byte_for_byte() {
    let place = Place::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/tests/oracle");
    let trace = format!("{folder}/traces/tiny.jsonl");
    let flags = ["--gpu-blocks", "2048", "--freeq-crc", "--out", "o"];
    place.ok(&[&["oracle", "--trace", &trace], &flags[..]].concat());
    assert_eq!(
        names(&place.path("o")),
        ["steps.csv", "summary.json", "turns.csv"]
    );
    for file in ["steps.csv", "turns.csv"] {
        let reference = std::fs::read_to_string(format!("{folder}/ref/tiny-sync/{file}"));
        assert_eq!(
            place.read(&format!("o/{file}")),
            reference.expect("it is committed"),
            "{file}"
        );
    }
}

#[test]
fn every_verb_explains_itself_with_an_example() {
    let place = Place::new();
    for verb in [
        "run", "sweep", "show", "explain", "compare", "policies", "new", "figures", "oracle",
    ] {
        has(
            &place.ok(&[verb, "--help"]).out,
            &["Usage: djinn ", "Example", "djinn "],
        );
    }
    for verb in [
        "import", "gen", "stat", "diff", "head", "cut", "sample", "merge", "scale",
    ] {
        has(
            &place.ok(&["trace", verb, "--help"]).out,
            &["Usage: djinn trace ", "Examples:"],
        );
    }
}
