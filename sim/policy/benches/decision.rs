//! What a decision costs, per policy and kind of question, among 10² to 10⁵ live sessions: a table in Markdown.
//!
//! ```text
//! cargo bench -p policy                 all policies
//! cargo bench -p policy -- djinn saga   those whose names contain one of these
//! ```
//!
//! A cell has the medians for 10², 10³, 10⁴ and 10⁵ sessions \[µs\]. A time that grows by ten from one to the next grows with the sessions: the
//! policy's entry says so, and `tests/reads.rs` holds it to that. What grows by less is caches and the depth of trees. The harness is its own, for
//! what is compared is in different rows of one table.

#[path = "../tests/common/crowd.rs"]
#[expect(
    dead_code,
    reason = "one situation is timed; the test that counts reads has all"
)]
mod crowd;
#[path = "../tests/common/questions.rs"]
mod questions;

use crowd::{Behind, Crowd, Return};
use policy::REGISTRY;
use questions::{GROUPS, Group};
use std::time::{Duration, Instant};

const LIVE: [u32; 4] = [100, 1_000, 10_000, 100_000];

/// Samples of which the median is taken.
const SAMPLES: usize = 31;

/// A sample repeats the questions until it has taken so long: a hundred thousand times what reading the clock takes.
const SAMPLE_MIN: Duration = Duration::from_millis(1);

fn main() {
    // Cargo hands on `--bench`.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let chosen = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    let crowds = LIVE.map(|live| Crowd::new(live, Return::Far, Behind::FullHost));
    let heads: Vec<_> = GROUPS.iter().map(|group| group.name).collect();
    println!("| policy | {} |", heads.join(" | "));
    println!("|---|{}", "---|".repeat(GROUPS.len()));
    for entry in REGISTRY.iter().filter(|entry| chosen(entry.name)) {
        let cells = GROUPS.map(|group| {
            let medians = crowds.each_ref().map(|crowd| {
                let us = median(crowd, entry.name, group).as_secs_f64() * 1e6;
                short(us)
            });
            medians.join(" ")
        });
        let mark = if entry.grows.is_empty() {
            ""
        } else {
            " (grows)"
        };
        println!("| {}{mark} | {} |", entry.name, cells.join(" | "));
    }
}

/// Median time of asking all questions of a group once.
fn median(crowd: &Crowd, name: &str, group: Group) -> Duration {
    let mut policy = crowd.policy(name);
    let view = crowd.view();
    let mut sample = |repeats: u32| {
        let begin = Instant::now();
        for _ in 0..repeats {
            (group.ask)(policy.as_mut(), &view);
        }
        begin.elapsed()
    };
    let mut repeats = 1;
    while sample(repeats) < SAMPLE_MIN {
        repeats *= 2;
    }
    let mut times: Vec<_> = (0..SAMPLES).map(|_| sample(repeats) / repeats).collect();
    times.sort_unstable();
    times[SAMPLES / 2]
}

/// Two digits that matter.
fn short(us: f64) -> String {
    match us {
        ..0.1 => format!("{us:.3}"),
        ..1.0 => format!("{us:.2}"),
        ..10.0 => format!("{us:.1}"),
        _ => format!("{us:.0}"),
    }
}
