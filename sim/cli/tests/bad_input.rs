//! What is wrong is named with file, line or key, with what to do, and leaves nothing behind.

mod common;

use common::{Done, Place, TINY, has, names};
use std::process::{Command, Stdio};

/// A session trace of one session of two calls; `gap` is the wait between them.
fn trace(gap: &str) -> String {
    format!(
        "{{\"v\":1,\"type\":\"meta\",\"source\":\"test\",\"origin\":\"test\",\"license\":\"CC0-1.0\",\"block_size\":null,\
         \"hash_scope\":null,\"tokenizer\":null,\"gap_semantics\":\"end_of_dependency_to_dispatch\"}}\n\
         {{\"v\":1,\"type\":\"session\",\"sid\":\"a\",\"start_ms\":0,\"calls\":[\
         {{\"id\":0,\"gap_ms\":0,\"gap_kind\":\"none\",\"in\":300,\"out\":40}},\
         {{\"id\":1,\"gap_ms\":{gap},\"gap_kind\":\"tool\",\"in\":400,\"out\":40}}]}}\n"
    )
}

/// `djinn run` on a trace must fail and leave no folder; returns the message.
fn run_refuses(place: &Place, file: &str, more: &[&str]) -> String {
    let set = format!("workload.trace={file}");
    let message = place.refuses(1, &[&["run", "--set", &set, "--out", "out"], more].concat());
    assert!(
        !place.names().iter().any(|name| name.starts_with("out")),
        "{:?}",
        place.names()
    );
    message
}

#[test]
fn the_trace_that_the_others_are_spoilt_from_is_good() {
    let place = Place::new();
    place.write("t.jsonl", trace("1000"));
    place.ok(&["run", "--set", "workload.trace=t.jsonl", "--out", "out"]);
}

#[test]
fn a_truncated_zst_is_named_as_cut_off() {
    let place = Place::new();
    // Enough lines that the compressed file has more than one piece.
    place.ok(&[
        "trace",
        "gen",
        "poisson-agents",
        "--set",
        "agents=50",
        "--out",
        "t.jsonl.zst",
    ]);
    let whole = std::fs::read(place.path("t.jsonl.zst")).expect("just written");
    place.write("t.jsonl.zst", &whole[..whole.len() / 2]);
    has(
        &run_refuses(&place, "t.jsonl.zst", &[]),
        &["t.jsonl.zst", "ends too early", "copy or create it again"],
    );
    place.refuses(1, &["trace", "stat", "t.jsonl.zst"]);
}

#[test]
fn a_malformed_line_is_named() {
    let place = Place::new();
    place.write(
        "t.jsonl",
        format!("{}{{\"v\":1,\"type\":\"sess\n", trace("1000")),
    );
    has(
        &run_refuses(&place, "t.jsonl", &[]),
        &["t.jsonl:3", "correct this line"],
    );
}

#[test]
fn a_negative_duration_is_named_with_its_line() {
    let place = Place::new();
    place.write("t.jsonl", trace("-5"));
    has(&run_refuses(&place, "t.jsonl", &[]), &["t.jsonl:2", "-5"]);
    has(
        &place.refuses(1, &["run", "--set", "measure.warmup_s=-1"]),
        &["measure.warmup_s", "-1"],
    );
}

#[test]
fn a_context_larger_than_hbm_is_refused_with_the_key_that_helps() {
    let place = Place::new();
    place.write("t.jsonl", trace("1000"));
    let message = run_refuses(&place, "t.jsonl", &["--set", "memory.hbm_blocks=20"]);
    has(&message, &["session `a`", "too_long"]);
    let message = place.refuses(1, &["run", "--set", "memory.hbm_blocks=20", "--out", "out"]);
    has(&message, &["HBM holds 20 KV blocks", "memory.hbm_gib"]);
    assert_eq!(place.names(), ["t.jsonl"]);
}

#[test]
fn an_unknown_policy_is_shown_where_it_was_written() {
    let place = Place::new();
    has(
        &place.refuses(1, &["run", "--policy", "lru"]),
        &[
            "--policy lru",
            "no policy is called `lru`",
            "vllm-recompute",
            "hint: `djinn policies`",
        ],
    );
    place.write(
        "c.toml",
        "seed = 1\npolicy = \"lru\"\n[workload]\ngen = \"poisson-agents\"\n",
    );
    has(
        &place.refuses(1, &["run", "c.toml"]),
        &["c.toml:2:10", "`policy`", "no policy is called `lru`"],
    );
    place.write(
        "s.toml",
        "[workload]\ngen = \"poisson-agents\"\n[sweep]\npolicy = [\"djinn\", \"lru\"]\n",
    );
    has(
        &place.refuses(1, &["sweep", "s.toml", "--out", "s"]),
        &["s.toml:4:20", "`lru`"],
    );
    has(
        &place.refuses(1, &["run", "--policy", "djinn[margin=3]"]),
        &["no parameter `margin`", "`margin_ms`"],
    );
    has(
        &place.refuses(1, &["policies", "lru"]),
        &["no policy is called `lru`"],
    );
    assert_eq!(place.names(), ["c.toml", "s.toml"]);
}

#[test]
fn an_unknown_key_is_shown_where_it_was_written() {
    let place = Place::new();
    place.write("c.toml", "[memory]\nhost_gb = 5\n");
    has(
        &place.refuses(1, &["run", "c.toml"]),
        &["c.toml:2:1", "host_gb"],
    );
    has(
        &place.refuses(1, &["run", "--set", "memory.host_gb=5"]),
        &["--set:1", "host_gb"],
    );
    has(
        &place.refuses(1, &["run", "--set", "model=gpt"]),
        &["--set model=gpt", "no model is called `gpt`"],
    );
    has(
        &place.refuses(1, &["run", "none.toml"]),
        &["none.toml", "hint: `djinn new FILE`"],
    );
    has(
        &place.refuses(1, &["run", "--set", "workload.trace=none.jsonl"]),
        &["none.jsonl"],
    );
}

#[test]
fn a_folder_that_holds_something_else_is_left_as_it_is() {
    let place = Place::new();
    std::fs::create_dir(place.path("mine")).expect("the folder can be written");
    place.write("mine/thesis.tex", "x");
    has(
        &place.refuses(1, &["run", "--out", "mine"]),
        &["mine exists", "choose another folder"],
    );
    assert_eq!(place.read("mine/thesis.tex"), "x");
    place.tiny(&["--out", "a"]);
    let other = place.refuses(
        1,
        &[&["run", "--policy", "keep-always", "--out", "a"], TINY].concat(),
    );
    has(&other, &["a exists", "another run"]);
    // The same run, asked for with a file that it does not have.
    let more = place.refuses(1, &[&["run", "--log", "--out", "a"], TINY].concat());
    has(&more, &["without decisions.log", "--log"]);
    assert_eq!(place.names(), ["a", "mine"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_refused_before_the_work() {
    let place = Place::new();
    place.write("file", "x");
    has(
        &place.refuses(1, &["run", "--out", "file/below"]),
        &["file"],
    );
    has(
        &place.refuses(1, &["sweep", "--out", "file/below"]),
        &["file"],
    );
    has(
        &place.refuses(1, &["run", "--out", "a", "--timeline", "none/t"]),
        &["none/t", "no folder none"],
    );
    has(
        &place.refuses(1, &["trace", "gen", "seed", "--out", "file/t.jsonl"]),
        &["file/t.jsonl"],
    );
    assert_eq!(place.names(), ["file"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_ends_a_command_with_a_message_and_leaves_nothing_half_written() {
    let place = Place::new();
    place.tiny(&["--out", "a"]);
    let full = || {
        std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("Linux has it")
    };
    let output = place
        .command(&["show", "a"])
        .stdout(Stdio::from(full()))
        .output()
        .expect("starts");
    let done = Done::of(&output);
    assert_eq!(done.code, Some(1));
    has(
        &done.err,
        &["error: cannot write to stdout", "No space left"],
    );
    let timeline = place.djinn(&[&["run", "--out", "b", "--timeline", "/dev/full"], TINY].concat());
    assert_eq!(timeline.code, Some(1));
    has(&timeline.err, &["/dev/full", "No space left"]);
    // Files of at most 4 or 8 KiB (the unit depends on the shell) stand for a disk that fills up in the middle of a run.
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" run --set workload.sessions=200 --out c";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_djinn")])
        .current_dir(place.path(""))
        .output();
    let done = Done::of(&output.expect("there is a shell"));
    assert_eq!(done.code, Some(1), "{}", done.err);
    has(&done.err, &["error: cannot write", ".csv"]);
    assert_eq!(place.names(), ["a", "b"], "what was unfinished is gone");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    place.tiny(&["--out", "a"]);
    let mut child = place
        .command(&["show", "a"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    let done = Done::of(&child.wait_with_output().expect("it ends"));
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
}

#[test]
fn a_damaged_result_is_named_with_its_line() {
    let place = Place::new();
    place.tiny(&["--log", "--out", "a"]);
    let turns = place.read("a/turns.csv");
    let damaged: Vec<String> = turns
        .lines()
        .enumerate()
        .map(|(i, line)| {
            if i == 4 {
                format!("x{line}")
            } else {
                line.to_owned()
            }
        })
        .collect();
    place.write("a/turns.csv", damaged.join("\n"));
    has(
        &place.refuses(1, &["show", "a"]),
        &["turns.csv, line 5", "session"],
    );
    // Cut off behind a whole line.
    let some: Vec<&str> = turns.lines().take(4).collect();
    place.write("a/turns.csv", some.join("\n") + "\n");
    has(
        &place.refuses(1, &["show", "a"]),
        &[
            "turns.csv has 3 turns, and sessions.csv says that",
            "repeat the run",
        ],
    );
    place.write("a/turns.csv", turns);
    place.write("a/decisions.log", "what is this\n");
    has(
        &place.refuses(1, &["explain", "a", "0", "1"]),
        &["decisions.log, line 1", "damaged"],
    );
    std::fs::remove_file(place.path("a/manifest.json")).expect("it is there");
    has(
        &place.refuses(1, &["show", "a"]),
        &["a is not a run", "manifest.json"],
    );
    has(
        &place.refuses(1, &["compare", "a", "a"]),
        &["a is no run and holds none"],
    );
}

#[test]
fn a_command_that_makes_no_sense_has_an_exit_code_of_its_own() {
    let place = Place::new();
    place.refuses(2, &["run", "--frobnicate"]);
    place.refuses(2, &["run", "--samples", "-1"]);
    place.refuses(2, &["run", "--timeline", "t", "--timeline-window", "9..3"]);
    place.refuses(2, &["run", "--policy", ""]);
    place.refuses(2, &["sweep"]);
    place.refuses(2, &["figures", ".", "no-such-figure"]);
    has(
        &place.refuses(1, &["trace", "gen", "seeds", "--out", "t"]),
        &["no generator is called `seeds`", "poisson-agents"],
    );
    has(
        &place.refuses(
            1,
            &["trace", "gen", "seed", "--set", "agent=3", "--out", "t"],
        ),
        &["agent"],
    );
    has(
        &place.refuses(1, &["figures", "."]),
        &["none of the figures"],
    );
    assert_eq!(names(&place.path("")), [""; 0]);
}
