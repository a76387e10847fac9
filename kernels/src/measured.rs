//! Choices of planners beside what was measured: `measurements/*.csv` whose rows are `kv_heads,work,choice,..,nanos`, for tests.

use std::collections::BTreeMap;

/// The first five cells of each row.
pub fn rows(table: &str) -> impl Iterator<Item = [&str; 5]> {
    let rows = table.lines().filter(|row| !row.starts_with('#')).skip(1);
    rows.map(|row| {
        let cells: Vec<&str> = row.split(',').collect();
        let Some((first, _)) = cells.split_first_chunk() else {
            panic!("five columns and more: {row}");
        };
        *first
    })
}

/// Whether a choice of a table is that of the planner.
type Chosen = Box<dyn Fn(&str) -> bool>;

/// By what share the chosen one of all that were tried took longer than the best, for each work; `chosen` is given its KV heads and its name.
pub fn longer_than_best(table: &str, chosen: impl Fn(u32, &str) -> Chosen) -> Vec<f64> {
    let mut works: BTreeMap<[&str; 2], Vec<(&str, f64)>> = BTreeMap::new();
    for [kv_heads, work, choice, _, nanos] in rows(table) {
        let tried = works.entry([kv_heads, work]).or_default();
        tried.push((choice, nanos.parse().expect("a number")));
    }
    let longer = works.into_iter().map(|([kv_heads, work], tried)| {
        let is_chosen = chosen(kv_heads.parse().expect("a number"), work);
        let own = tried.iter().find(|(choice, _)| is_chosen(choice));
        let best = tried.iter().map(|at| at.1).fold(f64::MAX, f64::min);
        own.expect("timed").1 / best - 1.0
    });
    longer.collect()
}
