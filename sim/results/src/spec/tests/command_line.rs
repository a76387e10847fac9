//! What `--set` and `--policy` do to a file.

use super::*;

#[test]
fn a_key_set_on_the_command_line_wins_and_may_be_new() {
    let spec = with_set(
        "[memory]\nhost_gib = 5\n",
        &[
            "memory.host_gib=0",
            "workload.gen=bursts",
            "hints.noise.bias = 1.5",
            "memory.host=exclusive",
            "policy=djinn[margin_ms=20]",
            "seed=9",
        ],
    );
    let spec = spec.unwrap();
    assert_eq!(spec.memory.host_gib, Some(0.0));
    assert_eq!(spec.workload.generator.as_deref(), Some("bursts"));
    assert!((spec.hints.noise.bias - 1.5).abs() < 1e-12);
    assert_eq!(spec.memory.host, HostMode::Exclusive);
    assert_eq!(
        (spec.policy.as_str(), spec.seed),
        ("djinn[margin_ms=20]", 9)
    );
}

#[test]
fn setting_a_key_takes_away_the_one_that_it_excludes() {
    let text = "[memory]\nhbm_gib = 80\nhost_gib = 9\n[workload]\ngen = \"g\"\n";
    let spec = with_set(
        text,
        &[
            "memory.hbm_blocks=7",
            "memory.host_blocks=8",
            "workload.trace=t.jsonl",
        ],
    );
    let spec = spec.unwrap();
    assert_eq!(
        (spec.memory.hbm_gib, spec.memory.hbm_blocks),
        (None, Some(7))
    );
    assert_eq!(
        (spec.memory.host_gib, spec.memory.host_blocks),
        (None, Some(8))
    );
    assert_eq!(
        (spec.workload.generator, spec.workload.trace),
        (None, Some("t.jsonl".into()))
    );
}

#[test]
fn a_wrong_argument_is_shown_and_not_the_file() {
    let text = "[memory]\nhost_gib = 5\n";
    let fails = |set: &str| with_set(text, &[set]).unwrap_err().to_string();
    assert_says(
        &fails("memory.host_gib"),
        &["--set:1:1", "expected `key=value`"],
    );
    assert_says(
        &fails("memory.host_gb=5"),
        &["--set:1:16", "unknown field `host_gb`"],
    );
    assert_says(
        &fails("memory.host_gib=much"),
        &["--set:1:17", "memory.host_gib", "\"much\""],
    );
    assert_says(
        &fails("memory.host_gib=-5"),
        &["--set:1:17", "must be 0 or more"],
    );
    assert_says(
        &fails("seed.x=1"),
        &["--set:1:8", "`seed`: invalid type: map"],
    );
    assert_says(
        &fails("memory.host_gib.x=1"),
        &["--set:1:1", "`host_gib` holds a value"],
    );
    assert_says(&fails("a b=1"), &["--set:1:1", "`a b` is no key"]);
    assert_says(&fails("=1"), &["--set:1:1"]);
}

#[test]
fn policies_are_split_outside_brackets() {
    let list = "vllm, djinn[margin_ms=20,k=[1,2]],,ttl";
    assert_eq!(
        split_policies(list),
        ["vllm", "djinn[margin_ms=20,k=[1,2]]", "ttl"]
    );
    assert_eq!(split_policies(" "), [""; 0]);
}

#[test]
fn several_policies_make_a_sweep_and_one_ends_it() {
    let text = "[sweep]\npolicy = [\"a\", \"b\", \"c\"]\nseed = [1, 2]\n";
    let layers = |policies: &str| Layers {
        policies: split_policies(policies),
        ..Layers::of_text("sweep.toml", text)
    };
    let count = |policies: &str| SweepSpec::load(&layers(policies)).unwrap().len();
    assert_eq!((count(""), count("x"), count("x,y")), (3 * 2, 2, 2 * 2));
    assert_eq!(
        SweepSpec::load(&layers("x")).unwrap().points()[0]
            .spec
            .policy,
        "x"
    );
    let error = RunSpec::load(&layers("x,y")).unwrap_err();
    assert_says(&error.to_string(), &["stands for 4 runs"]);
}

#[test]
fn setting_a_key_that_is_varied_ends_that() {
    let set = ["seed=5".to_owned(), "workload.rate=3".to_owned()].to_vec();
    let text = "[sweep]\nseed = \"1..20\"\n\"workload.rate\" = [1, 2]\n[workload]\ngen = \"g\"\n";
    let layers = Layers {
        set,
        ..Layers::of_text("sweep.toml", text)
    };
    let spec = RunSpec::load(&layers).unwrap();
    assert_eq!((spec.seed, spec.workload.rate), (5, Some(3.0)));
}
