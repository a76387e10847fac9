//! A spec as a TOML document: parsed strictly, edited by key, searched for the place of a key.

use super::RunSpec;
use super::error::{Fault, SpecError, Text};
use super::sections::{Engine, Faults, Hints, Measure, Memory, Replay, Workload};
use serde::Deserialize;
use std::ops::Range;
use toml_edit::{Array, Document, DocumentMut, Item, Table, Value};

/// Keys of which at most one is given: setting one on top of a file takes the other away.
const EXCLUSIVE: [[&[&str]; 2]; 3] = [
    [&["memory", "hbm_gib"], &["memory", "hbm_blocks"]],
    [&["memory", "host_gib"], &["memory", "host_blocks"]],
    [&["workload", "trace"], &["workload", "gen"]],
];

/// The keys of a file: those of a run, and what to vary.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SpecFile {
    model: String,
    hardware: String,
    policy: String,
    seed: u64,
    engine: Engine,
    memory: Memory,
    workload: Workload,
    hints: Hints,
    measure: Measure,
    faults: Faults,
    replay: Replay,
    /// A table; read from the document, which keeps its order and its places.
    sweep: toml::Table,
}

impl Default for SpecFile {
    fn default() -> Self {
        let RunSpec {
            model,
            hardware,
            policy,
            seed,
            engine,
            memory,
            workload,
            hints,
            measure,
            faults,
            replay,
        } = RunSpec::default();
        Self {
            model,
            hardware,
            policy,
            seed,
            engine,
            memory,
            workload,
            hints,
            measure,
            faults,
            replay,
            sweep: toml::Table::new(),
        }
    }
}

/// Parses the text of a spec file; `Err` has the fault and its bytes in the text.
pub(super) fn parse(text: &str) -> Result<RunSpec, (Fault, Range<usize>)> {
    let syntax = |error: &toml::de::Error| {
        let message = error.message().to_owned();
        (
            Fault {
                key: String::new(),
                message,
                help: None,
            },
            error.span().unwrap_or(0..0),
        )
    };
    let toml = toml::Deserializer::parse(text).map_err(|error| syntax(&error))?;
    let file: SpecFile = serde_path_to_error::deserialize(toml).map_err(|error| {
        let (mut fault, span) = syntax(error.inner());
        let key = error.path().to_string();
        fault.key = if key == "." { String::new() } else { key };
        (fault, span)
    })?;
    let mut spec = RunSpec {
        model: file.model,
        hardware: file.hardware,
        policy: file.policy,
        seed: file.seed,
        engine: file.engine,
        memory: file.memory,
        workload: file.workload,
        hints: file.hints,
        measure: file.measure,
        faults: file.faults,
        replay: file.replay,
    };
    spec.fill_in();
    Ok(spec)
}

/// [`parse`] of a text that has a name.
pub(super) fn parse_named(text: Text<'_>) -> Result<RunSpec, SpecError> {
    parse(text.text).map_err(|(fault, span)| fault.at(text, span))
}

/// The value that `text` stands for on the command line: TOML if it is, else a plain string.
pub(super) fn value(text: &str) -> Value {
    text.trim()
        .parse()
        .unwrap_or_else(|_| Value::from(text.trim()))
}

/// Sets a key, creating the tables above it, and takes away what it excludes.
///
/// # Errors
/// The part of the key that is a plain value and can hold no further key.
pub(super) fn set(doc: &mut DocumentMut, path: &[String], value: Value) -> Result<(), String> {
    for pair in EXCLUSIVE {
        for (one, other) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            if path.iter().eq(one.iter()) {
                remove(doc, other);
            }
        }
    }
    let (last, above) = path.split_last().ok_or_else(String::new)?;
    let mut item = doc.as_item_mut();
    for part in above {
        let table = item.as_table_like_mut().ok_or_else(|| part.clone())?;
        item = table.entry(part).or_insert(Item::Table(Table::new()));
        if !item.is_table_like() {
            return Err(part.clone());
        }
    }
    let table = item.as_table_like_mut().ok_or_else(|| last.clone())?;
    table.insert(last, Item::Value(value));
    Ok(())
}

/// Removes a key, if it is there.
pub(super) fn remove<S: AsRef<str>>(doc: &mut DocumentMut, path: &[S]) {
    let Some((last, above)) = path.split_last() else {
        return;
    };
    let mut item = doc.as_item_mut();
    for part in above {
        // Not `item.get_mut`, which leaves an empty entry where there was none.
        match item
            .as_table_like_mut()
            .and_then(|table| table.get_mut(part.as_ref()))
        {
            Some(next) => item = next,
            None => return,
        }
    }
    if let Some(table) = item.as_table_like_mut() {
        table.remove(last.as_ref());
    }
}

/// Bytes of the value of `path` in `text`; if it is not there, of the nearest table above it.
pub(super) fn place(text: &str, path: &[String]) -> Option<(bool, Range<usize>)> {
    let doc = Document::parse(text).ok()?;
    let mut item = doc.as_item();
    let mut nearest = None;
    for part in path {
        match item.get(part) {
            Some(next) => item = next,
            None => return nearest.map(|span| (false, span)),
        }
        nearest = item.span().or(nearest);
    }
    nearest.map(|span| (true, span))
}

/// The axes of a `[sweep]` table in the order of the file: dotted key and values. A key may be quoted
/// (`"workload.rate"`) or bare (`workload.rate`).
pub(super) fn axes(doc: &DocumentMut) -> Vec<(Vec<String>, Value)> {
    fn walk(item: &Item, above: &[String], axes: &mut Vec<(Vec<String>, Value)>) {
        let Some(table) = item.as_table_like() else {
            return;
        };
        for (key, item) in table.iter() {
            let mut path = above.to_vec();
            path.extend(key.split('.').map(str::to_owned));
            match item {
                Item::Value(value) if !value.is_inline_table() => axes.push((path, value.clone())),
                nested => walk(nested, &path, axes),
            }
        }
    }
    let mut axes = Vec::new();
    if let Some(sweep) = doc.get("sweep") {
        walk(sweep, &[], &mut axes);
    }
    axes
}

/// Removes the axis `path` from `[sweep]`, quoted or bare.
pub(super) fn remove_axis(doc: &mut DocumentMut, path: &[String]) {
    remove(doc, &["sweep".to_owned(), path.join(".")]);
    let mut bare = vec!["sweep".to_owned()];
    bare.extend_from_slice(path);
    remove(doc, &bare);
}

/// A TOML array of strings.
pub(super) fn strings(items: &[String]) -> Value {
    Value::Array(items.iter().map(String::as_str).collect::<Array>())
}
