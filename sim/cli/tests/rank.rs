//! A ranking as a user meets it: a small fleet in little memory, from config to figures.

mod common;

use common::Place;

/// Forty agents of ten turns; HBM holds the contexts of about six.
const CONFIG: &str = r#"
reference = "vllm-recompute"
policies = ["swap-on-demand", "djinn", "keep-always"]
shards = "1..5"

[split]
train_share = 0.3
seed = 1

[run.memory]
hbm_blocks = 6000
host_blocks = 12000

[search]
shards = "101..102"
unloaded = 0.01
precision = 0.2

[[loads]]
name = "knee"
wakeup_times = 4

[[loads]]
name = "overload"
of = "knee"
times = 3
surge = true

[[workloads]]
name = "agents"
about = "made up"
gen = "poisson-agents"
sessions = 40
warmup = 0.2

[tune]
shards = "101..102"
load = "knee"
metric = "wakeup_mean"
factors = [4.0]

[tune.values]
lifo_queued = []
"#;

const TABLES: [&str; 8] = [
    "runs.csv",
    "loads.csv",
    "probes.csv",
    "trials.csv",
    "differences.csv",
    "ranking.csv",
    "tuned.csv",
    "ranking.md",
];

fn tables(place: &Place, out: &str) -> Vec<String> {
    TABLES
        .map(|name| place.read(&format!("{out}/{name}")))
        .into()
}

#[test]
fn a_ranking_finds_loads_judges_every_policy_and_goes_on_where_it_was() {
    let place = Place::new();
    place.write("rank.toml", CONFIG);
    let done = place.ok(&["rank", "rank.toml", "--out", "r"]);
    assert!(
        done.out.contains("knee") && done.out.contains("swap-on-demand"),
        "{}",
        done.out
    );
    let first = tables(&place, "r");
    // A header; then the reference and three policies at two loads on five shards, and djinn again if tuning changed it.
    let runs = first[0].lines().count() - 1;
    assert!(runs == 40 || runs == 50, "{runs}");
    assert!(
        first[2].lines().count() > 4,
        "the search is recorded:\n{}",
        first[2]
    );
    assert!(first[3].contains("djinn[margin_ms=80]"), "{}", first[3]);
    for file in [
        "manifest.json",
        "cost.csv",
        "figures/policy_heat.pdf",
        "figures/policy_places.png",
    ] {
        assert!(place.path("r").join(file).is_file(), "{file}");
    }
    // As if it had been killed: tables gone, and every third row.
    for name in TABLES {
        std::fs::remove_file(place.path("r").join(name)).unwrap();
    }
    let rows = std::fs::read_dir(place.path("r/rows")).unwrap();
    for row in rows.step_by(3) {
        std::fs::remove_file(row.unwrap().path()).unwrap();
    }
    place.ok(&["rank", "rank.toml", "--out", "r", "--threads", "1"]);
    assert_eq!(tables(&place, "r"), first);
    let invocations = || {
        let manifest: serde_json::Value =
            serde_json::from_str(&place.read("r/manifest.json")).expect("JSON");
        manifest["invocations"].as_array().map(Vec::len)
    };
    assert_eq!(invocations(), Some(2), "rows of both");
    // Every row gone bad: made anew, and whoever wrote them before has no part in the result.
    for row in std::fs::read_dir(place.path("r/rows")).unwrap() {
        std::fs::write(row.unwrap().path(), "").unwrap();
    }
    let mended = place.ok(&["rank", "rank.toml", "--out", "r"]);
    assert!(
        mended.err.contains("were made anew: damaged row\n"),
        "{}",
        mended.err
    );
    assert_eq!(tables(&place, "r"), first);
    assert_eq!(invocations(), Some(1));
    let figures = place.ok(&["figures", "r", "policy_heat", "--out", "again"]);
    assert!(figures.out.contains("policy_heat.svg"));
    assert_eq!(
        place.read("again/policy_heat.svg"),
        place.read("r/figures/policy_heat.svg")
    );
}

#[test]
fn without_the_public_traces_it_says_what_is_missing_and_does_nothing() {
    let place = Place::new();
    let done = place.ok(&["rank", "--traces", "nowhere", "--out", "r"]);
    assert!(
        done.err
            .contains("workload `weka` is skipped: nowhere/weka-claude-code"),
        "{}",
        done.err
    );
    assert!(done.err.contains("nothing to rank"), "{}", done.err);
    assert!(!place.path("r/runs.csv").exists());
}

#[test]
fn a_config_that_makes_no_sense_is_refused_before_the_work() {
    let place = Place::new();
    for (from, to, what) in [
        ("wakeup_times = 4", "", "load `knee` needs `wakeup_times`"),
        ("of = \"knee\"", "of = \"peak\"", "load `overload` needs"),
        (
            "reference = \"vllm",
            "reference = \"lru",
            "no policy is called `lru-recompute`",
        ),
        (
            "reference = \"vllm-re",
            "reference = \"vllm-r",
            "did you mean `vllm-recompute`?",
        ),
        (
            "reference = \"vllm-recompute",
            "reference = \"djinn[margin_ms=5]",
            "name it `djinn`",
        ),
        (
            "gen = \"poisson-agents\"",
            "",
            "needs `trace` (a file) or `gen`",
        ),
        ("warmup = 0.2", "warmup = 0.2\nwarmth = 1", "warmth"),
        ("hbm_blocks = 6000", "hbm_block = 6000", "hbm_block"),
        ("shards = \"1..5\"", "shards = \"5..1\"", "empty"),
    ] {
        place.write("rank.toml", CONFIG.replacen(from, to, 1));
        let error = place.refuses(1, &["rank", "rank.toml", "--out", "r"]);
        assert!(error.contains(what), "{to}: {error}");
    }
    place.write("rank.toml", CONFIG);
    let error = place.refuses(
        2,
        &["rank", "rank.toml", "--workload", "weka", "--out", "r"],
    );
    assert!(error.contains("known: agents"), "{error}");
}
