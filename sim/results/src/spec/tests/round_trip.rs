//! Defaults, and specs that are written and read back.

use super::*;

#[test]
fn an_empty_file_and_the_template_stand_for_the_defaults() {
    assert_eq!(load("").unwrap(), RunSpec::default());
    assert_eq!(load(template()).unwrap(), RunSpec::default());
}

#[test]
fn the_template_has_every_key_and_its_comments_are_valid() {
    let full = RunSpec {
        memory: Memory {
            hbm_gib: Some(1.0),
            hbm_blocks: Some(1),
            host_blocks: Some(1),
            disk_gib: Some(1.0),
            ..RunSpec::default().memory
        },
        workload: Workload {
            trace: Some("t".into()),
            sessions: Some(1),
            rate: Some(1.0),
            gap_cap_s: Some(1.0),
            max_context: Some(1),
            params: [("k".to_owned(), toml::Value::Integer(1))]
                .into_iter()
                .collect(),
            ..RunSpec::default().workload
        },
        hints: Hints {
            end_timeout_s: Some(1.0),
            ..Hints::default()
        },
        measure: Measure {
            until_s: Some(1.0),
            ..Measure::default()
        },
        ..RunSpec::default()
    };
    for line in full
        .to_toml()
        .lines()
        .filter(|line| !line.starts_with("k ="))
    {
        let key = line.split(" = ").next().unwrap();
        let there = template()
            .lines()
            .any(|t| t.trim_start_matches("# ").starts_with(key) || t.starts_with(line));
        assert!(there, "the template lacks `{line}`");
    }
    // Each commented key alone parses.
    for line in template()
        .lines()
        .filter(|line| line.starts_with("# ") && line.contains(" = "))
    {
        let commented = template().replace(line, &line[2..]);
        let commented = match line.split(' ').nth(1).unwrap() {
            "host_blocks" => commented.replace("\nhost_gib", "\n# host_gib"),
            "trace" => commented.replace("\ngen", "\n# gen"),
            "end_timeout_s" => commented.replace("end = \"told\"", "end = \"timeout\""),
            _ => commented,
        };
        if let Err(error) = sweep(&commented) {
            panic!("`{line}`: {error}");
        }
    }
}

#[test]
fn a_spec_survives_toml_and_json() {
    let spec = load(
        "policy = \"djinn[margin_ms=20]\"\nseed = 3\n\
         [workload]\ngen = \"g\"\nrate = 0.1\n[workload.params]\nthink_s = [10, 20]\nx = { y = 1.5 }\n\
         [hints]\nend = \"timeout\"\nend_timeout_s = 1\nnoise = { bias = 1.3 }\n\
         [faults]\ninject = [\"p0-1\"]\n",
    )
    .unwrap();
    assert_eq!(load(&spec.to_toml()).unwrap(), spec);
    let json = serde_json::to_string(&spec).unwrap();
    let back: RunSpec = serde_json::from_str(&json).unwrap();
    assert_eq!(back, spec);
    assert_eq!(back.run_id(), spec.run_id());
    assert_eq!(spec.run_id().len(), 12);
}

#[test]
fn the_run_id_depends_on_content_and_not_on_writing() {
    let plain = load("seed = 2\n[memory]\nhost_gib = 5\nlane_depth = 3\n").unwrap();
    let other = load("memory = { lane_depth = 3, host_gib = 5.0 } # same\nseed = 2\n").unwrap();
    assert_eq!(plain.run_id(), other.run_id());
    assert_ne!(
        plain.run_id(),
        RunSpec {
            seed: 3,
            ..plain.clone()
        }
        .run_id()
    );
}

#[test]
fn no_disk_is_one_run_however_it_is_spelled() {
    let zero = load("[memory]\ndisk_gib = 0\n").unwrap();
    assert_eq!(zero, RunSpec::default());
    assert_eq!(zero.run_id(), load("").unwrap().run_id());
    assert!(!zero.to_toml().contains("disk"));
    let disk = load("[memory]\ndisk_gib = 2\n").unwrap();
    assert_ne!(disk.run_id(), zero.run_id());
}

#[test]
fn the_workload_is_named_after_its_file_or_generator() {
    let spec = load("[workload]\ntrace = \"traces/swe.v2.jsonl\"\n").unwrap();
    assert_eq!(spec.workload_name(), "swe");
    assert_eq!(RunSpec::default().workload_name(), "poisson-agents");
}
