use super::*;
use results::runs::{RunIdentity, write_runs};

const SPEC: Spec = Spec {
    name: "contradiction_test",
    needs: "a sweep in `a`",
    reference: "base",
    series: &[Series {
        policy: "other[x=1]",
        label: "other",
    }],
    panels: &[
        PanelSpec {
            folder: "a",
            key: "memory.host_gib",
            x_title: "host [GiB]",
            metric: Metric::Throughput,
            above: "faster",
            below: "slower",
            claims: &[Claim {
                source: "paper",
                low: 0.5,
                high: 0.5,
            }],
        },
        PanelSpec {
            folder: "a",
            key: "memory.host_gib",
            x_title: "host [GiB]",
            metric: Metric::Completion,
            above: "slower",
            below: "faster",
            claims: &[],
        },
    ],
};

fn run(policy: &str, x: u64, seed: u64, turns_per_s: f64) -> RunRow {
    RunRow {
        id: RunIdentity {
            policy: policy.to_owned(),
            seed,
            params: format!(r#"{{"memory.host_gib":{x}}}"#),
            hbm_blocks: 100,
            host_blocks: x * 10,
            demand_blocks: 300,
            ..RunIdentity::default()
        },
        metrics: RunMetrics {
            turns_per_s: Some(turns_per_s),
            jct_ns_mean: Some((1e12 / turns_per_s) as u64),
            ..RunMetrics::default()
        },
    }
}

/// Six seeds whose speed differs a hundredfold; the other policy has a quarter of the throughput at 10, and four times as much at 40.
fn rows() -> Vec<RunRow> {
    let mut rows = Vec::new();
    for seed in 1..=6 {
        for (x, factor) in [(40, 4.0), (10, 0.25)] {
            let speed = 10f64.powi(seed as i32 % 3);
            rows.push(run("other[x=1]", x, seed, speed * factor));
            rows.push(run("base", x, seed, speed));
        }
    }
    rows
}

fn curves_of(rows: &[RunRow]) -> Result<Vec<Curve>, FigureError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("a")).unwrap();
    write_runs(&folder.path().join("a/runs.csv"), rows).unwrap();
    curves(&SPEC, folder.path())
}

#[test]
fn runs_are_paired_by_seed_and_ratios_are_free_of_what_the_seeds_have_in_common() {
    let rows = table(&SPEC, &curves_of(&rows()).unwrap());
    let seen: Vec<(&str, f64)> = rows
        .iter()
        .map(|row| (row.metric.as_str(), row.x))
        .collect();
    let [speed, time] = ["throughput", "completion time"];
    assert_eq!(
        seen,
        [(speed, 10.0), (speed, 40.0), (time, 10.0), (time, 40.0)]
    );
    for (row, ratio) in rows.iter().zip([0.25, 4.0, 4.0, 0.25]) {
        assert_eq!(row.pairs, 6);
        for value in [row.ratio, row.low.unwrap(), row.high.unwrap()] {
            assert!((value / ratio - 1.0).abs() < 1e-6, "{row:?}");
        }
    }
    // 300 blocks asked for of 100, and of 100 + 10·10 or 100 + 40·10.
    assert!((rows[0].demand_hbm - 3.0).abs() < 1e-12);
    assert!((rows[0].demand_both - 1.5).abs() < 1e-12 && (rows[1].demand_both - 0.6).abs() < 1e-12);
}

#[test]
fn draws_of_a_seed_are_no_seeds_of_their_own() {
    let mut rows = rows();
    // Of each run a course twice as fast, and one half as fast: on the average the same.
    for factor in [2.0, 0.5] {
        for mut course in rows.clone() {
            let speed = course.metrics.turns_per_s.unwrap() * factor;
            course.metrics = run("", 1, 1, speed).metrics;
            rows.push(course);
        }
    }
    for (row, ratio) in table(&SPEC, &curves_of(&rows).unwrap())
        .iter()
        .zip([0.25, 4.0, 4.0, 0.25])
    {
        assert_eq!(row.pairs, 6);
        assert!((row.ratio / ratio - 1.0).abs() < 1e-6, "{row:?}");
    }
}

#[test]
fn the_sides_change_half_way_and_the_other_metric_goes_the_other_way() {
    let curves = curves_of(&rows()).unwrap();
    let crossings = crossings(&SPEC, &curves);
    let seen: Vec<(&str, bool)> = crossings
        .iter()
        .map(|c| (c.metric.as_str(), c.rises))
        .collect();
    assert_eq!(seen, [("throughput", true), ("completion time", false)]);
    for crossing in &crossings {
        assert!((crossing.x - 20.0).abs() < 1e-4, "{crossing:?}");
    }
    let svg = draw::svg(&SPEC, &table(&SPEC, &curves), &crossings);
    for text in [
        "paper",
        "faster",
        "crossing, 95 % interval",
        "all KV fits",
        "host [GiB]",
    ] {
        assert!(svg.contains(text), "{text}");
    }
}

#[test]
fn a_seed_that_lacks_a_run_at_one_value_counts_nowhere() {
    let mut rows = rows();
    rows.retain(|run| run.id.seed != 2 || run.id.policy != "base" || !run.id.params.contains("40"));
    let pairs: Vec<usize> = curves_of(&rows).unwrap()[0]
        .points
        .iter()
        .map(|p| p.pairs.len())
        .collect();
    assert_eq!(pairs, [5, 5]);
}

#[test]
fn a_policy_without_runs_is_an_error_and_so_is_a_sweep_over_something_else() {
    let error = |rows: &[RunRow]| curves_of(rows).unwrap_err().to_string();
    let mut alone = rows();
    alone.retain(|run| run.id.policy != "base");
    assert!(error(&alone).contains("has no runs"));
    let mut other = rows();
    other[3].id.params = r#"{"workload.sessions":3}"#.to_owned();
    assert!(error(&other).contains("row 4"));
}

#[test]
fn every_figure_has_a_side_for_each_publication_and_no_policy_twice() {
    for spec in specs::ALL {
        let mut policies: Vec<&str> = spec.series.iter().map(|s| s.policy).collect();
        policies.push(spec.reference);
        let count = policies.len();
        policies.sort_unstable();
        policies.dedup();
        assert_eq!(policies.len(), count, "{}", spec.name);
        for claim in spec.panels.iter().flat_map(|panel| panel.claims) {
            assert!(
                0.0 < claim.low && claim.low <= claim.high,
                "{}",
                claim.source
            );
        }
    }
}
