//! Every shipped workload, and every public trace, runs under every policy with all checkers on.

use lab::{Setup, run};
use results::spec::{Layers, RunSpec};
use std::path::{Path, PathBuf};
use trace::generate::SHIPPED;
use trace::import::{FileSink, ImportOptions, MooncakeRows};
use trace::tools::{Pick, feed_with};

/// A few sessions of a workload in little memory: contexts are cut where a single one would fill it.
fn spec(workload: &[String], policy: &str) -> RunSpec {
    let common = [
        "workload.too_long=truncate-session",
        "workload.max_context=60000",
        "workload.gap_cap_s=120",
        // Room for about one and a half of the longest contexts.
        "memory.hbm_blocks=6000",
        "memory.host_blocks=9000",
        "engine.check=true",
    ];
    let set = workload.iter().cloned();
    let set = set.chain(common.map(str::to_owned));
    let layers = Layers {
        set: set.chain([format!("policy={policy:?}")]).collect(),
        ..Layers::of_text("defaults", results::spec::template())
    };
    RunSpec::load(&layers).unwrap()
}

/// Runs the workload under every policy of the registry; says how many turns it has.
fn under_every_policy(name: &str, workload: &[String]) -> usize {
    let mut turns = 0;
    for policy in policy::REGISTRY {
        let setup = Setup::new(&spec(workload, policy.name)).unwrap();
        let all = setup
            .sessions
            .iter()
            .flat_map(model::Session::with_subagents);
        turns = all.map(|session| session.turns.len()).sum();
        let (metrics, _) = run::measure(&setup)
            .unwrap_or_else(|error| panic!("{name} under {}: {error}", policy.name));
        assert_eq!(
            metrics.turns as usize, turns,
            "{name} under {}",
            policy.name
        );
    }
    turns
}

#[test]
fn every_workload_runs_under_every_policy_with_no_checker_firing() {
    for workload in SHIPPED {
        let name = workload.name;
        let set = [
            format!("workload.gen={name:?}"),
            "workload.sessions=5".to_owned(),
        ];
        under_every_policy(name, &set);
    }
}

/// Public traces: file, how many of its sessions to take, and how many start per second.
const PUBLIC: [(&str, u64, &str); 4] = [
    ("weka-claude-code/weka.jsonl.zst", 60, "0.2"),
    ("agentcgroup-claude-code/sessions.jsonl.zst", 12, "0.2"),
    ("tau2-bench/sessions.jsonl.zst", 20, "0.5"),
    (
        "mooncake-fast25/conversation_trace.first_half.jsonl.zst",
        100,
        "2",
    ),
];

/// Some sessions of a public file as a session trace in `folder`; `None` where it is absent.
fn sampled(file: &str, sessions: u64, folder: &Path) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/traces-public");
    let path = path.join(file);
    if !path.exists() {
        println!("skipped: {} is absent", path.display());
        return None;
    }
    let options = ImportOptions {
        mooncake_rows: MooncakeRows::Chain,
        ..ImportOptions::default()
    };
    // What is picked from must be a session trace: chains of rows are none before the import.
    let whole = folder.join("whole.jsonl");
    let mut sink = FileSink::new(&whole);
    feed_with(&path, &options, &mut sink).unwrap();
    sink.finish(&[]).unwrap();
    let some = folder.join("some.jsonl");
    let mut sink = FileSink::new(&some);
    let pick = Pick::Count(sessions);
    pick.run(&whole, &ImportOptions::default(), 1, &mut sink)
        .unwrap();
    sink.finish(&[]).unwrap();
    Some(some)
}

#[test]
#[ignore = "reads 352 MB"]
fn every_public_trace_runs_under_every_policy_with_no_checker_firing() {
    for (file, sessions, rate) in PUBLIC {
        let folder = tempfile::tempdir().unwrap();
        let Some(path) = sampled(file, sessions, folder.path()) else {
            continue;
        };
        let set = [
            format!("workload.trace={:?}", path.to_str().unwrap()),
            format!("workload.rate={rate}"),
        ];
        let turns = under_every_policy(file, &set);
        let policies = policy::REGISTRY.len();
        println!("{file}: {sessions} sessions, {turns} turns, under {policies} policies");
        assert!(turns > 100, "{file}: {turns} turns");
    }
}
