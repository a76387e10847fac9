//! The real vLLM 0.32.0 scheduler's outputs, reproduced byte for byte by this engine.
//!
//! The references lie in `sim/engine/tests/oracle`; those named `spec-SEED` are the executable specification's, whose output equals vLLM's. Two runs each: in single steps, which gives `steps.csv` with the free queue, and
//! in decode runs, which must give the same turns.

use clap::Parser;
use lab::oracle::{OracleArgs, OracleOutput, run};
use serde_json::Value;
use std::io::Read;
use std::path::PathBuf;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    args: OracleArgs,
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../engine/tests/oracle"
    ))
}

fn reference(name: &str, file: &str) -> Option<String> {
    let path = folder().join("ref").join(name).join(file);
    let bytes = std::fs::read(&path).ok()?;
    let mut text = String::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        flate2::read::GzDecoder::new(&bytes[..])
            .read_to_string(&mut text)
            .expect("a valid file");
    } else {
        text = String::from_utf8(bytes).expect("a valid file");
    }
    Some(text)
}

fn ours(flags: &str, stepwise: bool) -> OracleOutput {
    let words = ["oracle", "--out", "unused"]
        .into_iter()
        .chain(flags.split_whitespace());
    let mut args = Flags::try_parse_from(words).expect("valid flags").args;
    args.trace = folder().join("traces").join(&args.trace);
    run(&args, stepwise).expect("the run ends")
}

/// The first line that differs, with what precedes it.
fn assert_same(what: &str, ours: &str, theirs: &str) {
    let (mut a, mut b) = (ours.lines(), theirs.lines());
    let mut before = Vec::new();
    for line in 1.. {
        match (a.next(), b.next()) {
            (None, None) => return,
            (x, y) if x == y => before.push(x.unwrap_or_default().to_owned()),
            (x, y) => {
                let context = before[before.len().saturating_sub(3)..].join("\n           ");
                panic!(
                    "{what}, line {line}:\n           {}\n           {context}\n   vLLM:   {}\n   djinn:  {}",
                    theirs.lines().next().unwrap_or_default(),
                    y.unwrap_or("(end)"),
                    x.unwrap_or("(end)"),
                );
            }
        }
    }
}

fn check(name: &str, flags: &str) {
    let theirs: Value =
        serde_json::from_str(&reference(name, "summary.json").expect("committed")).expect("JSON");
    let steps = reference(name, "steps.csv").or_else(|| reference(name, "steps.csv.gz"));
    let steps = steps.expect("committed");
    let single = ours(flags, true);
    assert_same(
        "turns.csv",
        &single.turns,
        &reference(name, "turns.csv").expect("committed"),
    );
    // Heavy references store the first rows only; the summary's hash covers all of them.
    let head: String = single
        .steps
        .split_inclusive('\n')
        .take(steps.lines().count())
        .collect();
    assert_same("steps.csv", &head, &steps);
    for (key, value) in theirs.as_object().expect("an object") {
        if key != "versions" {
            assert_eq!(&single.summary[key], value, "summary.json: {key}");
        }
    }
    let runs = ours(flags, false);
    assert_same("turns.csv of decode runs", &runs.turns, &single.turns);
    assert_eq!(
        runs.summary["schedule_calls"],
        single.summary["schedule_calls"]
    );
}

#[test]
fn a_flag_that_no_reference_covers_is_refused() {
    let refused = |flags: &str| {
        let words = format!("oracle --trace tiny.jsonl --out unused --gpu-blocks 2048 {flags}");
        let flags = Flags::try_parse_from(words.split_whitespace()).expect("known flags");
        let mut args = flags.args;
        args.trace = folder().join("traces").join(&args.trace);
        run(&args, true).expect_err("a bad value").to_string()
    };
    for (flags, message) in [
        (
            "--cpu-blocks 9 --blocks-per-chunk 2",
            "--blocks-per-chunk: only 1 is reproduced",
        ),
        (
            "--cpu-blocks 9 --idle-poll-s 0",
            "--idle-poll-s: must not be 0",
        ),
        ("--cpu-blocks 9 --d2h-gbps 0", "--d2h-gbps: a positive rate"),
        (
            "--cpu-blocks 9 --h2d-gbps=-1",
            "--h2d-gbps: a positive rate",
        ),
        (
            "--cpu-blocks 9 --dma-latency-s soon",
            "--dma-latency-s: `soon` is not",
        ),
        ("--watermark 1", "--watermark: a share"),
    ] {
        let error = refused(flags);
        assert!(error.starts_with(message), "{flags}: {error}");
    }
}

macro_rules! references {
    ($($test:ident $name:literal $flags:expr;)*) => {
        $(#[test] fn $test() { check($name, $flags); })*

        #[test]
        fn every_committed_reference_is_checked() {
            let mut there: Vec<_> = std::fs::read_dir(folder().join("ref")).expect("committed")
                .map(|entry| entry.expect("readable").file_name().into_string().expect("ASCII")).collect();
            let mut here = vec![$($name.to_owned()),*];
            there.sort();
            here.sort();
            assert_eq!(there, here);
        }
    };
}

references! {
    tiny_sync "tiny-sync" "--trace tiny.jsonl --gpu-blocks 2048 --freeq-crc";
    tiny_async "tiny-async" "--trace tiny.jsonl --gpu-blocks 2048 --freeq-crc --async-scheduling";
    fuzz_sync "fuzz-sync" "--trace fuzz.jsonl --freeq-crc --gpu-blocks 80";
    fuzz_async "fuzz-async" "--trace fuzz.jsonl --freeq-crc --gpu-blocks 80 --async-scheduling";
    fuzz_knobs "fuzz-knobs" "--trace fuzz.jsonl --freeq-crc --gpu-blocks 80 --max-num-batched-tokens 64 \
        --max-num-seqs 8 --long-prefill-token-threshold 40 --watermark 0.05 --no-reserve-full-isl";
    fuzz_nocache "fuzz-nocache" "--trace fuzz.jsonl --freeq-crc --gpu-blocks 80 --no-prefix-caching";
    shared_sync "shared-sync" "--trace shared.jsonl --freeq-crc --gpu-blocks 60";
    heavy16_sync "heavy16-sync" "--trace pressure80.jsonl --gpu-blocks 2048";
    heavy16_async "heavy16-async" "--trace pressure80.jsonl --gpu-blocks 2048 --async-scheduling";
    heavy16_slow_sync "heavy16-slow-sync" "--trace pressure80.jsonl --gpu-blocks 2048 --a 0.03 --b 0.0003";
    heavy16_slow_async "heavy16-slow-async" "--trace pressure80.jsonl --gpu-blocks 2048 --a 0.03 --b 0.0003 \
        --async-scheduling";
    heavy4_sync "heavy4-sync" "--trace pressure80.jsonl --gpu-blocks 512";
    heavy16_cpu32_lru "heavy16-cpu32-lru" "--trace pressure80.jsonl --gpu-blocks 2048 --cpu-blocks 4096";
    heavy16_cpu32_arc "heavy16-cpu32-arc" "--trace pressure80.jsonl --gpu-blocks 2048 --cpu-blocks 4096 --offload-policy arc";
    heavy16_cpu32_lru_decode "heavy16-cpu32-lru-decode" "--trace pressure80.jsonl --gpu-blocks 2048 --cpu-blocks 4096 \
        --offload-decode";
    heavy16_cpu32_lru_async "heavy16-cpu32-lru-async" "--trace pressure80.jsonl --gpu-blocks 2048 --cpu-blocks 4096 \
        --async-scheduling";
    heavy16_cpu16_lru "heavy16-cpu16-lru" "--trace pressure80.jsonl --gpu-blocks 2048 --cpu-blocks 2048";
    heavy16_cpu16_arc "heavy16-cpu16-arc" "--trace pressure80.jsonl --gpu-blocks 2048 --cpu-blocks 2048 --offload-policy arc";
    shared_cpu_lru "shared-cpu-lru" "--trace shared.jsonl --freeq-crc --gpu-blocks 80 --cpu-blocks 300 --h2d-gbps 1 \
        --d2h-gbps 0.05";
    shared_cpu_arc_async "shared-cpu-arc-async" "--trace shared.jsonl --freeq-crc --gpu-blocks 60 --cpu-blocks 120 \
        --h2d-gbps 1 --d2h-gbps 0.5 --offload-policy arc --offload-decode --async-scheduling";
    fuzz_cpu_lru "fuzz-cpu-lru" "--trace fuzz.jsonl --freeq-crc --gpu-blocks 100 --cpu-blocks 300 --h2d-gbps 2 --d2h-gbps 2";
    fuzz_cpu_arc_async "fuzz-cpu-arc-async" "--trace fuzz.jsonl --freeq-crc --gpu-blocks 100 --cpu-blocks 300 --h2d-gbps 2 \
        --d2h-gbps 2 --offload-policy arc --offload-decode --async-scheduling";
    // Found by the differential test (`tests/differential`): outputs of the executable specification.
    spec_501 "spec-501" "--trace spec-501.jsonl --freeq-crc --max-num-batched-tokens 64 --max-num-seqs 2 --block-size 32 \
        --gpu-blocks 13 --layers 4 --long-prefill-token-threshold 16 --cpu-blocks 50 --offload-policy arc --h2d-gbps 0.05 \
        --d2h-gbps 0.05 --no-reserve-full-isl --async-scheduling";
    spec_549 "spec-549" "--trace spec-549.jsonl --freeq-crc --max-num-batched-tokens 256 --max-num-seqs 48 --block-size 16 \
        --gpu-blocks 180 --layers 4 --long-prefill-token-threshold 100 --cpu-blocks 107 --offload-policy arc --h2d-gbps 0.05 \
        --d2h-gbps 20 --offload-decode --async-scheduling";
    spec_679 "spec-679" "--trace spec-679.jsonl --freeq-crc --max-num-batched-tokens 2048 --max-num-seqs 48 --block-size 16 \
        --gpu-blocks 52 --layers 4 --long-prefill-token-threshold 100 --cpu-blocks 246 --offload-policy arc --h2d-gbps 20 \
        --d2h-gbps 0.05 --no-reserve-full-isl --async-scheduling";
    spec_1375 "spec-1375" "--trace spec-1375.jsonl --freeq-crc --max-num-batched-tokens 48 --max-num-seqs 48 --block-size 16 \
        --gpu-blocks 63 --layers 4 --long-prefill-token-threshold 100 --cpu-blocks 209 --offload-policy arc --h2d-gbps 0.05 \
        --d2h-gbps 0.05 --kv-poll end --offload-decode --no-reserve-full-isl --async-scheduling";
}
