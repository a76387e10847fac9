//! Who may import whom. A new edge between crates starts here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Package, folder, and the workspace packages that it may import. Development dependencies are free.
const TABLE: &[(&str, &str, &[&str])] = &[
    ("model", "sim/model", &[]),
    ("policy", "sim/policy", &["model"]),
    ("engine", "sim/engine", &["model", "policy"]),
    ("devices", "sim/devices", &["model", "engine"]),
    ("trace", "traces", &["model"]),
    ("results", "sim/results", &["model"]),
    (
        "lab",
        "sim/lab",
        &["model", "policy", "engine", "devices", "trace", "results"],
    ),
    ("kernels", "kernels", &[]),
    (
        "replay",
        "replay",
        &[
            "model", "policy", "engine", "devices", "trace", "results", "lab", "kernels",
        ],
    ),
    ("figures", "figures", &["model", "results"]),
    (
        "cli",
        "sim/cli",
        &[
            "model", "policy", "engine", "devices", "trace", "results", "lab", "figures",
        ],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn manifest(folder: &str) -> toml::Table {
    let path = root().join(folder).join("Cargo.toml");
    let text = std::fs::read_to_string(&path).expect("every package has a manifest");
    text.parse().expect("valid TOML")
}

fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let table = manifest.get("dependencies").and_then(toml::Value::as_table);
    table
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

#[test]
fn crates_import_only_what_the_table_allows() {
    let names: BTreeSet<&str> = TABLE.iter().map(|(name, ..)| *name).collect();
    for (name, folder, allowed) in TABLE {
        let manifest = manifest(folder);
        assert_eq!(
            manifest["package"]["name"].as_str(),
            Some(*name),
            "{folder}"
        );
        for import in dependencies(&manifest) {
            if names.contains(import.as_str()) {
                assert!(
                    allowed.contains(&import.as_str()),
                    "{name} must not import {import}"
                );
            }
        }
    }
}

#[test]
fn the_table_lists_every_package_of_the_workspace() {
    let workspace: toml::Table = std::fs::read_to_string(root().join("Cargo.toml"))
        .expect("there is one")
        .parse()
        .expect("TOML");
    let members = workspace["workspace"]["members"]
        .as_array()
        .expect("a list");
    let members: BTreeSet<&str> = members.iter().filter_map(toml::Value::as_str).collect();
    let listed: BTreeSet<&str> = TABLE.iter().map(|(_, folder, _)| *folder).collect();
    assert_eq!(members, listed);
}

#[test]
fn only_the_kernels_depend_on_cuda() {
    let users: BTreeMap<&str, bool> = TABLE
        .iter()
        .map(|(name, folder, _)| (*name, dependencies(&manifest(folder)).contains("cudarc")))
        .collect();
    for (name, uses) in users {
        assert_eq!(uses, name == "kernels", "{name}");
    }
}

#[test]
fn the_fingerprint_of_the_program_covers_whatever_the_lab_imports() {
    let path = root().join("sim/lab/build/source.rs");
    let text = std::fs::read_to_string(path).expect("it is there");
    let list = text.split("SIMULATION").nth(1).expect("a list");
    let list = list.split(';').nth(1).expect("its end");
    let (.., imports) = TABLE
        .iter()
        .find(|(name, ..)| *name == "lab")
        .expect("a row");
    for (name, folder, _) in TABLE {
        let counts = imports.contains(name) || *name == "lab";
        assert_eq!(list.contains(&format!("\"{folder}\"")), counts, "{name}");
    }
}
