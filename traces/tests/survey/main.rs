//! The public traces against the survey that described them, and generated fleets against the traces they stand for.
//!
//! Both tables of `docs/workloads.md` are made here, from the files beside the workspace; where those are absent the tests say so and
//! do nothing. To check the tables:
//! `cargo test -p trace --release --test survey -- --ignored --nocapture`; with `DJINN_BLESS=1` in the environment, to write them.

mod agents;
mod archetypes;
#[path = "../common/mod.rs"]
mod common;
mod document;
mod published;
mod reasons;
mod row;
mod sources;
mod weka;

use std::collections::BTreeMap;
use std::fmt::Write;

#[test]
#[ignore = "reads 352 MB"]
fn public_traces_have_the_statistics_of_the_survey() {
    let Some(rows) = published::rows() else {
        return;
    };
    let mut table = "| trace | quantity | survey | here | |\n|---|---|---|---|---|\n".to_owned();
    let mut unexplained = Vec::new();
    let mut counts: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for row in &rows {
        let verdict = row.verdict();
        let count = counts.entry(row.trace).or_default();
        count.0 += u32::from(row.is_equal());
        count.1 += 1;
        if !row.is_equal() && row.why.is_empty() {
            unexplained.push(format!(
                "{} {}: {} here {}",
                row.trace, row.quantity, row.published, row.measured
            ));
        }
        let cells = [
            row.trace,
            &row.quantity,
            row.published,
            &row.shown(),
            &verdict,
        ];
        let _ = writeln!(table, "| {} |", cells.join(" | "));
    }
    for (trace, (equal, all)) in counts {
        println!("{trace}: {equal} of {all} equal within rounding");
    }
    println!("{table}");
    assert!(
        unexplained.is_empty(),
        "not equal, and no reason given:\n{}",
        unexplained.join("\n")
    );
    document::check("survey", &table);
}

#[test]
#[ignore = "reads 352 MB"]
fn generated_fleets_are_as_far_from_their_sources_as_the_table_says() {
    let Some(table) = archetypes::table() else {
        return;
    };
    println!("{table}");
    document::check("archetypes", &table);
}
