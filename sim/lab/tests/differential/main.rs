//! Random traces and configurations, against the executable specification of vLLM 0.32.0's scheduler and host tier.
//!
//! ```text
//! cargo test -p lab --test differential -- --ignored --nocapture
//! DJINN_FIRST=500 DJINN_COUNT=1000 cargo test ...      other seeds, more of them
//! DJINN_ORACLE=/path/to/oracle-vllm cargo test ...     a specification elsewhere than in ../shared
//! ```
//!
//! The specification is plain Python (`mini.py`, `mini_host.py`), found equal to the real scheduler byte for byte. Every run must give the
//! same turns, the same steps with the checksum of the free queue, and the same summary, or must get stuck as well; in decode runs the
//! same turns again. Absent on purpose: what neither this engine nor the specification does (chunks of several blocks).

mod sample;

use clap::Parser;
use engine::RunError;
use lab::oracle::{OracleArgs, OracleError, OracleOutput, run};
use sample::Sample;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    args: OracleArgs,
}

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| {
        let number = text.parse();
        number.unwrap_or_else(|_| panic!("{name}={text} is no number"))
    })
}

fn specification() -> PathBuf {
    let shared = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/oracle-vllm");
    let folder = std::env::var_os("DJINN_ORACLE").map_or_else(|| shared.into(), PathBuf::from);
    assert!(
        folder.join("mini.py").exists(),
        "there is no mini.py in {}; set DJINN_ORACLE to the folder of the specification",
        folder.display()
    );
    folder
}

/// Runs the specification on all samples, in one process.
fn run_specification(samples: &[Sample], folder: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential/mini.py");
    let mut python = Command::new("python3")
        .arg(script)
        .arg(specification())
        .stdin(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let mut runs = python.stdin.take().expect("piped");
    for sample in samples {
        let mut args = sample.args(folder);
        args.extend(["--backend".to_owned(), "mini".to_owned()]);
        let line = serde_json::to_string(&args).expect("strings");
        writeln!(runs, "{line}").expect("the specification reads its list");
    }
    drop(runs);
    assert!(python.wait().expect("it was started").success());
}

/// What this engine makes of a sample; `None` if it gets stuck.
fn ours(sample: &Sample, folder: &Path, stepwise: bool) -> Option<OracleOutput> {
    let words = ["oracle".to_owned()].into_iter().chain(sample.args(folder));
    let flags = Flags::try_parse_from(words).expect("valid flags");
    match run(&flags.args, stepwise) {
        Ok(output) => Some(output),
        Err(OracleError::Run(RunError::Stuck { .. })) => None,
        Err(error) => panic!("{sample}: {error}"),
    }
}

/// The first line that differs.
fn difference(what: &str, ours: &str, theirs: &str) -> Option<String> {
    let end = std::iter::once("(end)");
    let pairs = ours
        .lines()
        .chain(end.clone())
        .zip(theirs.lines().chain(end));
    let (line, (a, b)) = (1..).zip(pairs).find(|(_, (a, b))| a != b)?;
    let head = theirs.lines().next().unwrap_or_default();
    Some(format!(
        "{what}, line {line}:\n  {head}\n  vLLM:  {b}\n  djinn: {a}"
    ))
}

/// How a sample differs from the specification, if it does.
fn compare(sample: &Sample, folder: &Path) -> Option<String> {
    let out = sample.out(folder);
    let read = |name: &str| std::fs::read_to_string(out.join(name)).expect("written");
    let (single, runs) = (ours(sample, folder, true), ours(sample, folder, false));
    let stuck = out.join("stuck").exists();
    let (Some(single), Some(runs)) = (&single, &runs) else {
        let ours = (single.is_none(), runs.is_none());
        return (!stuck || ours != (true, true)).then(|| {
            format!("stuck: specification {stuck}, single steps and decode runs {ours:?}")
        });
    };
    if stuck {
        return Some(format!(
            "only the specification gets stuck: {}",
            read("stuck")
        ));
    }
    let theirs: Value = serde_json::from_str(&read("summary.json")).expect("JSON");
    let summary = theirs.as_object().expect("an object").iter();
    let mut values = summary.filter(|(key, _)| *key != "versions");
    // Steps first: where they part is where it began.
    difference("steps.csv", &single.steps, &read("steps.csv"))
        .or_else(|| difference("turns.csv", &single.turns, &read("turns.csv")))
        .or_else(|| {
            let (key, value) = values.find(|(key, value)| single.summary[*key] != **value)?;
            Some(format!(
                "summary.json, {key}: {value}, djinn: {}",
                single.summary[key]
            ))
        })
        .or_else(|| difference("turns.csv of decode runs", &runs.turns, &single.turns))
        .or_else(|| {
            let calls = "schedule_calls";
            let (a, b) = (&runs.summary[calls], &single.summary[calls]);
            (a != b).then(|| format!("{calls} of decode runs: {a}, single steps {b}"))
        })
}

#[test]
#[ignore = "needs python3 and the executable specification; see the head of the file"]
fn random_runs_equal_the_executable_specification() {
    let (first, count) = (number("DJINN_FIRST", 0), number("DJINN_COUNT", 500));
    let folder = tempfile::tempdir().expect("a place to write");
    let samples: Vec<_> = (first..first + count).map(Sample::new).collect();
    for sample in &samples {
        std::fs::write(sample.trace(folder.path()), sample.sessions()).expect("a place to write");
    }
    run_specification(&samples, folder.path());
    let mut different = 0;
    let (mut steps, mut loads, mut stuck, mut tiers) = (0, 0, 0, 0);
    for sample in &samples {
        if let Some(what) = compare(sample, folder.path()) {
            different += 1;
            println!("{sample}\n{what}\n");
        }
        let summary = std::fs::read_to_string(sample.out(folder.path()).join("summary.json"));
        let summary: Option<Value> = summary
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok());
        stuck += u64::from(summary.is_none());
        let summary = summary.unwrap_or_default();
        steps += summary["steps"].as_u64().unwrap_or(0);
        loads += summary["offload"]["load_jobs"].as_u64().unwrap_or(0);
        tiers += u64::from(summary["offload"].is_object());
    }
    println!(
        "{} of {count} runs are equal, from seed {first}: {steps} steps, {tiers} runs with a host tier, {loads} loads, {stuck} stuck",
        count - different
    );
    assert_eq!(different, 0, "runs differ");
}
