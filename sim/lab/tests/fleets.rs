//! Every shipped workload runs under every policy with all checkers on.

use lab::{Setup, run};
use results::spec::{Layers, RunSpec};
use trace::generate::SHIPPED;

/// A few sessions of `workload` in little memory: contexts are cut where a single one would fill it.
fn spec(workload: &str, policy: &str) -> RunSpec {
    let layers = Layers {
        set: vec![
            format!("workload.gen={workload:?}"),
            "workload.sessions=5".to_owned(),
            "workload.too_long=truncate-session".to_owned(),
            "workload.max_context=60000".to_owned(),
            "workload.gap_cap_s=120".to_owned(),
            // Room for about one and a half of the longest contexts.
            "memory.hbm_blocks=6000".to_owned(),
            "memory.host_blocks=9000".to_owned(),
            "engine.check=true".to_owned(),
            format!("policy={policy:?}"),
        ],
        ..Layers::of_text("defaults", results::spec::template())
    };
    RunSpec::load(&layers).unwrap()
}

#[test]
fn every_workload_runs_under_every_policy_with_no_checker_firing() {
    for workload in SHIPPED {
        for policy in policy::REGISTRY {
            let setup = Setup::new(&spec(workload.name, policy.name)).unwrap();
            let turns: usize = setup
                .sessions
                .iter()
                .map(|session| session.turns.len())
                .sum();
            let (metrics, _) = run::measure(&setup)
                .unwrap_or_else(|error| panic!("{} under {}: {error}", workload.name, policy.name));
            assert_eq!(
                metrics.turns as usize, turns,
                "{} under {}",
                workload.name, policy.name
            );
        }
    }
}
