//! The public corpora, whole: slow, and only where they lie beside the workspace.
//! `cargo test -p trace --release --test corpus -- --ignored --nocapture`

mod common;

use std::collections::BTreeSet;

use common::shared;
use model::Workload;
use trace::format::{Reader, Session};
use trace::import::{self, ImportOptions};
use trace::stat::{GapClass, Stat};
use trace::workload::{TraceWorkload, WorkloadOptions};

/// Ids of one session per cluster of copies, and of no other.
fn representatives(index: &str) -> BTreeSet<String> {
    let rows = index
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect::<Vec<_>>());
    rows.filter(|row| row[2] == "1")
        .map(|row| row[0].to_owned())
        .collect()
}

#[test]
#[ignore = "reads 352 MB"]
fn weka_has_the_quantiles_that_the_survey_of_traces_published() {
    let Some(source) = shared("weka-claude-code/weka.jsonl.zst") else {
        return;
    };
    let index = std::fs::read_to_string(shared("weka-claude-code/index.csv").unwrap()).unwrap();
    let wanted = representatives(&index);
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("weka.jsonl.zst");
    let format = import::detect(&source).unwrap().format;
    assert_eq!(format.name, "weka");
    let report =
        import::import_files(&[(format, source)], &target, &ImportOptions::default()).unwrap();
    for warning in &report.warnings {
        println!("{warning}");
    }
    // 535 files and 53 sub-agents.
    assert_eq!((report.sessions, report.calls), (588, 37_229));

    let is_wanted = |session: &Session| session.parent.is_none() && wanted.contains(&session.sid);
    let reader = Reader::open(&target).unwrap();
    let meta = reader.meta().clone();
    let stat = Stat::of(&meta, reader.filter(|s| s.as_ref().map_or(true, is_wanted))).unwrap();
    println!("{stat}");
    assert_eq!((stat.sessions, stat.calls), (501, 31_976));
    let row = |name: &str| {
        &stat
            .quantiles
            .iter()
            .find(|row| row.name == name)
            .unwrap()
            .quantiles
    };
    let near = |value: f64, published: f64| {
        assert!(
            (value / published - 1.0).abs() < 0.02,
            "{value} against {published}"
        );
    };
    // traces.md, section 2.1.
    near(row("calls_per_session").at(50.0), 43.0);
    near(row("input_tokens").at(50.0), 98_000.0);
    near(row("input_tokens").max, 894_000.0);
    near(row("output_tokens").at(50.0), 215.0);
    near(row("output_tokens").at(99.0), 3_526.0);
    near(row("appended_after_tool_tokens").at(50.0), 396.0);
    near(stat.prefix_hit_ratio_after_first.unwrap(), 0.973);
    let tool = stat
        .gaps
        .iter()
        .find(|row| row.kind == GapClass::ToolOrMixed)
        .unwrap();
    near(tool.quantiles.at(75.0), 7.3);
    near(tool.long_share.unwrap(), 0.94);
    // Section 2.3.
    let published = [
        0.62, 0.53, 0.41, 0.29, 0.22, 0.14, 0.107, 0.065, 0.029, 0.017, 0.005,
    ];
    for (survival, published) in tool.survival.iter().zip(published) {
        assert!(
            (survival - published).abs() < 0.006,
            "{survival} against {published}"
        );
    }
}

#[test]
#[ignore = "reads 352 MB"]
fn weka_imports_and_runs() {
    let Some(source) = shared("weka-claude-code/weka.jsonl.zst") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("weka.jsonl.zst");
    let begin = std::time::Instant::now();
    let format = import::find("weka").unwrap();
    import::import_files(&[(format, source)], &target, &ImportOptions::default()).unwrap();
    println!(
        "import {:?}, {} bytes",
        begin.elapsed(),
        target.metadata().unwrap().len()
    );
    let begin = std::time::Instant::now();
    let options = WorkloadOptions {
        rate: Some(0.01),
        ..WorkloadOptions::default()
    };
    let mut workload = TraceWorkload::open(&target, &options, 1, 16).unwrap();
    let mut turns = 0;
    while let Some(session) = workload.next_session().unwrap() {
        turns += session.turns.len();
    }
    println!(
        "read {turns} turns in {:?}; {:?}",
        begin.elapsed(),
        workload.report()
    );
    assert_eq!(turns, 37_229);
}

#[test]
#[ignore = "reads 10 MB"]
fn a_quarter_of_the_mooncake_conversations_extend_an_earlier_one() {
    let Some(source) = shared("mooncake-fast25/conversation_trace.first_half.jsonl.zst") else {
        return;
    };
    let format = import::detect(&source).unwrap().format;
    assert_eq!(format.name, "mooncake");
    let mut plain = import::Collected::default();
    let report = import::import(format, &source, &ImportOptions::default(), &mut plain).unwrap();
    assert_eq!((report.sessions, report.calls), (5_606, 5_606));
    println!("{:?}", report.warnings);
    assert!(
        report
            .warnings
            .contains(&import::Warning::ArrivalGrid { step_ms: 2_999 })
    );
    let stat = Stat::of(&plain.meta, plain.sessions.into_iter().map(Ok)).unwrap();
    // traces.md, section 2.6: 34 % of blocks hit with an infinite cache.
    let hit = stat.prefix_hit_ratio.unwrap();
    println!("{stat}");
    assert!((0.30..0.40).contains(&hit), "{hit}");

    let options = ImportOptions {
        mooncake_rows: import::MooncakeRows::Chain,
        ..ImportOptions::default()
    };
    let mut chained = import::Collected::default();
    let report = import::import(format, &source, &options, &mut chained).unwrap();
    let part = 1.0 - report.sessions as f64 / report.calls as f64;
    // Section 2.6: 26 %, with a gap of p50 123 s.
    assert!((0.25..0.28).contains(&part), "{part}");
    let stat = Stat::of(&chained.meta, chained.sessions.into_iter().map(Ok)).unwrap();
    println!("{stat}");
    let gap = stat
        .gaps
        .iter()
        .find(|row| row.kind == GapClass::Unknown)
        .unwrap();
    assert!((115.0..125.0).contains(&gap.quantiles.at(50.0)));
}
