//! Names, paths, and what is wrong with a file.

use super::*;

fn edited(name: &str, from: &str, to: &str) -> Result<HardwareProfile, ProfileError> {
    let text = HARDWARE
        .iter()
        .find(|entry| entry.name == name)
        .unwrap()
        .text;
    assert!(text.contains(from), "the shipped file says `{from}`");
    parse(
        "edited.toml",
        &text.replacen(from, to, 1),
        HardwareProfile::inconsistency,
    )
}

fn model_edited(from: &str, to: &str) -> Result<ModelGeometry, ProfileError> {
    let text = MODELS
        .iter()
        .find(|entry| entry.name == "qwen3-30b-a3b")
        .unwrap()
        .text;
    parse(
        "edited.toml",
        &text.replacen(from, to, 1),
        ModelGeometry::inconsistency,
    )
}

/// Line, from 1, of the first line of a shipped profile that starts so.
fn line_of(name: &str, start: &str) -> usize {
    let entry = HARDWARE.iter().find(|entry| entry.name == name).unwrap();
    1 + entry
        .text
        .lines()
        .position(|line| line.starts_with(start))
        .unwrap()
}

#[test]
fn every_shipped_file_parses_under_its_own_name() {
    for name in hardware_names() {
        assert_eq!(hardware(name).unwrap().name, name);
    }
    for name in model_names() {
        assert_eq!(model(name).unwrap().name, name);
    }
}

#[test]
fn every_file_in_the_configs_folder_is_shipped() {
    for (folder, shipped) in [("hardware", HARDWARE), ("models", MODELS)] {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/").to_owned() + folder;
        let mut files: Vec<_> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let mut names: Vec<_> = shipped
            .iter()
            .map(|entry| format!("{}.toml", entry.name))
            .collect();
        names.sort();
        assert_eq!(files, names);
    }
}

#[test]
fn a_name_that_is_not_shipped_lists_those_that_are() {
    let text = hardware("h300").unwrap_err().to_string();
    assert!(
        text.contains("`h300`") && text.contains("a100-40g-pcie4") && text.contains("h200"),
        "{text}"
    );
}

#[test]
fn a_path_is_read_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, HARDWARE[0].text.replace("a100-40g-pcie4", "mine")).unwrap();
    assert_eq!(hardware(path.to_str().unwrap()).unwrap().name, "mine");
    let missing = folder.path().join("missing.toml");
    let text = hardware(missing.to_str().unwrap()).unwrap_err().to_string();
    assert!(
        text.contains("cannot read") && text.contains("missing.toml"),
        "{text}"
    );
}

#[test]
fn an_unknown_key_is_an_error_with_file_line_and_key() {
    let error = edited("oracle", "d_ps = ", "e_ps = 1\nd_ps = ").unwrap_err();
    let ProfileError::Invalid {
        file,
        line,
        key,
        message,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(file, "edited.toml");
    assert_eq!(*line, line_of("oracle", "d_ps"));
    assert!(key.starts_with("compute"), "{key}");
    assert!(message.contains("unknown field `e_ps`"), "{message}");
}

#[test]
fn a_zero_rate_is_an_error_at_its_line() {
    let error = edited("oracle", "bytes_per_s = 20_000_000_000", "bytes_per_s = 0").unwrap_err();
    let ProfileError::Invalid { line, key, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(key, "link.d2h.bytes_per_s");
    assert_eq!(*line, line_of("oracle", "bytes_per_s"));
}

#[test]
fn a_lane_that_gains_from_sharing_is_an_error() {
    // Whatever was measured last.
    let shared = hardware("h200").unwrap().link.h2d.bytes_per_s_shared;
    let error = edited(
        "h200",
        &format!("bytes_per_s_shared = {shared}"),
        "bytes_per_s_shared = 60_000_000_000",
    );
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("link.h2d.bytes_per_s_shared") && text.contains("60000000000"),
        "{text}"
    );
    assert!(!text.contains(":1:"), "{text}");
}

#[test]
fn a_throttle_that_no_card_has_is_an_error() {
    let (no_load, no_card) = (
        "no load is above 1000000 ppm",
        "no card takes 90000000000 ns",
    );
    for (key, valid, wrong, says) in [
        ("from_ppm", "300000", "1000000", no_load),
        ("sustained.from_ppm", "0", "1000000", no_load),
        ("half_life_ns", "33000000", "90000000000", no_card),
        ("sustained.half_life_ns", "0", "90000000000", no_card),
    ] {
        let name = key.rsplit('.').next().unwrap();
        let (valid, wrong) = (format!("{name} = {valid},"), format!("{name} = {wrong},"));
        let error = edited("h200", &valid, &wrong).unwrap_err();
        let ProfileError::Invalid {
            line,
            key: at,
            message,
            ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(*at, format!("compute.measured.llama-2-7b.throttle.{key}"));
        assert_eq!(*line, line_of("h200", "throttle = "));
        assert!(message.starts_with(says), "{message}");
    }
}

#[test]
fn broken_toml_is_an_error_at_its_line() {
    let error = edited("oracle", "copy_ns = 10_000", "copy_ns = = 3").unwrap_err();
    let line = line_of("oracle", "copy_ns");
    assert!(
        error
            .to_string()
            .starts_with(&format!("edited.toml:{line}: ")),
        "{error}"
    );
}

#[test]
fn a_compute_section_needs_exactly_one_formula() {
    let text = edited(
        "oracle",
        "[compute.linear]",
        "[compute.measured.m]\nfixed_ps = 1\n#",
    )
    .unwrap_err()
    .to_string();
    assert!(text.contains("unknown field `a_ps`"), "{text}");
    let both = "[compute.roofline]\nhbm_bytes_per_s = 1\nhbm_efficiency_ppm = 1\npeak_flops = 1\n\
                gemm_efficiency_ppm = 1\nattention_efficiency_ppm = 1\nlayer_ns = 0\ndecode_seq_ns = 0\n\
                [compute.linear]";
    let text = edited("oracle", "[compute.linear]", both)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("`compute`: needs either a table `roofline` or a table `linear`"),
        "{text}"
    );
}

#[test]
fn more_active_experts_than_experts_is_an_error() {
    let text = model_edited("active = 8", "active = 129")
        .unwrap_err()
        .to_string();
    assert_eq!(
        text,
        "edited.toml:19: `experts.active`: a token cannot visit 129 of 128 experts"
    );
    let text = model_edited("kv_heads = 4", "kv_heads = 5")
        .unwrap_err()
        .to_string();
    assert!(text.contains("5 KV heads do not divide 32"), "{text}");
}

#[test]
fn a_link_variant_replaces_all_rates_and_shows_in_the_name() {
    let fast = hardware("h100-hf-eager:50gbps").unwrap();
    assert_eq!(fast.name, "h100-hf-eager:50gbps");
    for direction in model::Direction::LINK {
        assert_eq!(fast.lane(direction).bytes_per_s.get(), 50_000_000_000);
        assert_eq!(
            fast.lane(direction).bytes_per_s_shared.get(),
            50_000_000_000
        );
    }
    let text = hardware("h100-hf-eager:96gbps").unwrap_err().to_string();
    assert!(
        text.contains("`96gbps`") && text.contains("12.5gbps, 24gbps, 50gbps"),
        "{text}"
    );
    assert!(
        hardware("h200:50gbps")
            .unwrap_err()
            .to_string()
            .ends_with("known: none")
    );
}
