//! What every device must do, as one suite: the contract of [`Device`], checked from outside.
//!
//! A device is given as a [`Subject`]: how to make a fresh one, and what it claims. The suite asks nothing about its
//! costs; it measures single steps and chunks first and derives from them what runs, cuts and progress must be.
//! A device on a wall clock is held to order and accounting only.
//!
//! **What must hold for a subject:** pools of at least [`POOL_BLOCKS`] blocks; steps and chunks that take time, and well
//! under a second each.

mod copies;
mod rig;
mod schedule;
mod steps;

pub use rig::POOL_BLOCKS;

use engine::device::Device;

/// A device to check.
pub struct Subject<'a> {
    /// Makes a fresh one, its clock at the beginning.
    pub make: &'a dyn Fn() -> Box<dyn Device>,
    /// Steps that it stays ahead.
    pub ahead: u32,
    /// Chunks that a lane holds.
    pub lane_depth: u32,
    /// Whether its times repeat exactly: no for a wall clock.
    pub exact: bool,
}

/// What a device did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("device breaks its contract ({case}): {what}")]
pub struct Violation {
    /// The part of the contract.
    pub case: &'static str,
    /// What happened, and what should have.
    pub what: String,
}

type Verdict = Result<(), String>;

/// Name of a case, whether it needs exact times, and the case.
type Case = (&'static str, bool, fn(&Subject<'_>) -> Verdict);

const CASES: &[Case] = &[
    (
        "time is what was waited for",
        false,
        schedule::time_is_what_was_waited_for,
    ),
    (
        "step runs follow each other",
        false,
        steps::runs_follow_each_other,
    ),
    (
        "a run is the sum of its steps",
        true,
        steps::a_run_is_the_sum_of_its_steps,
    ),
    (
        "a cut leaves what is committed",
        true,
        steps::a_cut_leaves_what_is_committed,
    ),
    (
        "a cut run ends as it was cut",
        false,
        steps::a_cut_run_ends_as_it_was_cut,
    ),
    (
        "some runs refuse a cut",
        false,
        steps::some_runs_refuse_a_cut,
    ),
    (
        "the driver is woken for the last step",
        true,
        steps::the_driver_is_woken_for_the_last_step,
    ),
    (
        "a lane is first in, first out",
        false,
        copies::a_lane_is_first_in_first_out,
    ),
    (
        "a copy is the sum of its chunks",
        true,
        copies::a_copy_is_the_sum_of_its_chunks,
    ),
    (
        "a cut leaves what the lane was handed",
        true,
        copies::a_cut_leaves_what_the_lane_was_handed,
    ),
    (
        "a cut copy ends as it was cut",
        false,
        copies::a_cut_copy_ends_as_it_was_cut,
    ),
    (
        "both lanes work at once",
        false,
        copies::both_lanes_work_at_once,
    ),
    ("nothing is lost", false, schedule::nothing_is_lost),
];

/// Checks a device against the contract.
///
/// # Errors
/// With the first violation.
pub fn check(subject: &Subject<'_>) -> Result<(), Violation> {
    for (case, needs_exact, run) in CASES {
        if subject.exact || !needs_exact {
            run(subject).map_err(|what| Violation { case, what })?;
        }
    }
    Ok(())
}
