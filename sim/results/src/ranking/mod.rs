//! Many policies on the same workloads at the same loads: who is better than the reference, by how much, and who cannot be told apart.
//!
//! ```text
//!   runs.csv ──► judged runs ──► differences.csv   each policy against the reference, paired by shard
//!                            ├─► tuned.csv         tuned parameters against the defaults of the same policy
//!                            └─► ranking.csv       places in each cell, ties where a paired interval includes "equal"
//! ```
//!
//! A *cell* is a workload at a load. In it every policy ran on the same shards (sessions, waits, arrivals), so a difference is taken
//! within each shard: the logarithm of policy over reference. Its mean over shards, as a factor, is the *ratio*; its 95 % interval
//! draws shards again ([`bootstrap_mean`]).
//!
//! **Saturated runs are never averaged.** At a *steady* load a shard on which the backlog of either side grew is left out and counted; with
//! fewer than [`SEEDS_MIN`] shards left a policy has no ratio there, and is placed last. A *surge* is a load that the reference cannot carry, for a
//! stated number of sessions: its numbers belong to that stretch of time and not to a steady state, so all shards count, and it is
//! said how many runs were saturated.
//!
//! **Ties.** In the order of the ratio, the best policy leads a group; those that follow belong to it until the first whose paired
//! interval against the leader excludes "equal". That one leads the next group. A group shares its first place's number.
//!
//! [`bootstrap_mean`]: crate::stats::bootstrap_mean
//! [`SEEDS_MIN`]: crate::compare::SEEDS_MIN

mod differences;
mod found;
mod judged;
mod markdown;
mod places;
mod tuned;

pub use differences::{DifferenceRow, differences};
pub use found::{LoadRow, ProbeRow, TrialRow};
pub use judged::{Cell, Judged, JudgedError, Label, Measured, Setting, judged};
pub use markdown::{markdown, policies};
pub use places::{PlaceRow, places};
pub use tuned::{TunedRow, tuned};

/// Resamples of an interval.
const RESAMPLES: usize = 2_000;

#[cfg(test)]
mod tests;
