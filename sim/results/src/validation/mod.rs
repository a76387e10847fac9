//! How wrong is the simulator? A simulated and a measured run of one workload, side by side.
//!
//! Two errors, kept apart:
//!
//! - **open loop**: what the cost model expects of each operation of the measured run ([`OpenLoopRow`]; predicted by `lab`);
//! - **closed loop**: what two independent runs come to ([`closed_loop`]), each quantity beside the spread of repeated
//!   measurements of the same run; and whether both order policies alike ([`rankings`]).
//!
//! An error is `simulated / measured - 1`. Percentiles are nearest ranks.
//! **Absent on purpose:** tolerances that depend on the result. Targets are those of [`Quantity::target`].

mod closed;
mod markdown;
mod middle;
mod rank;
mod rows;

pub use closed::{DISTANCE, Pair, Quantity, Side, closed_loop, wakeups};
pub use markdown::{Summary, markdown};
pub use rank::{RankRow, rankings};
pub use rows::{
    CLOSED_LOOP, ClosedLoopRow, ErrorSummary, OPEN_LOOP, OPERATIONS, OpenLoopRow, OperationsRow,
    POLICY_ROWS, PolicyRow, RANKING, WAKEUPS, WakeupPairRow,
};

#[cfg(test)]
mod tests;
