//! The parts of a wake-up latency, and the check that they sum exactly.
//!
//! From the end of its wait to its first new token a turn is at each instant in exactly one part. So the
//! seven `wake_*_ns` columns of a row must sum to `first_token_ns - ready_ns`, to the nanosecond: a
//! difference is a defect of the engine, never a rounding error.

use crate::rows::TurnRow;

/// Names of the parts, in the order in which [`of`] returns them and figures stack them.
pub const NAMES: [&str; 7] = [
    "signal",
    "hold",
    "copy",
    "stall",
    "queue",
    "recompute",
    "prefill",
];

/// The parts of a row \[ns\], in the order of [`NAMES`].
pub fn of(row: &TurnRow) -> [u64; 7] {
    [
        row.wake_signal_ns,
        row.wake_hold_ns,
        row.wake_copy_ns,
        row.wake_stall_ns,
        row.wake_queue_ns,
        row.wake_recompute_ns,
        row.wake_prefill_ns,
    ]
}

/// A row that cannot be true.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowFault {
    /// Times out of order.
    #[error(
        "turn {turn} of session {session}: `{later}` ({later_ns} ns) lies before `{earlier}` \
         ({earlier_ns} ns)"
    )]
    Order {
        /// Session of the row.
        session: u32,
        /// Turn of the row.
        turn: u32,
        /// Column that must not be larger.
        earlier: &'static str,
        /// Its value.
        earlier_ns: u64,
        /// Column that must not be smaller.
        later: &'static str,
        /// Its value.
        later_ns: u64,
    },
    /// Parts that do not sum to the latency.
    #[error(
        "turn {turn} of session {session}: the wake parts sum to {sum_ns} ns, but \
         `first_token_ns - ready_ns` is {latency_ns} ns"
    )]
    Sum {
        /// Session of the row.
        session: u32,
        /// Turn of the row.
        turn: u32,
        /// Sum of the seven parts.
        sum_ns: u128,
        /// The latency they should sum to.
        latency_ns: u64,
    },
    /// A word that no column of this name holds.
    #[error(
        "turn {turn} of session {session}: `{word}` is no outcome of a prefetch; known: `in-time`, \
         `late`, `wasted`, or empty"
    )]
    Prefetch {
        /// Session of the row.
        session: u32,
        /// Turn of the row.
        turn: u32,
        /// What the column holds.
        word: String,
    },
}

/// Whether the times of a row are in order: ready, scheduled, first token, end.
///
/// # Errors
/// The first pair that is not.
pub fn check_order(row: &TurnRow) -> Result<(), RowFault> {
    let times = [
        ("ready_ns", row.ready_ns),
        ("scheduled_ns", row.scheduled_ns),
        ("first_token_ns", row.first_token_ns),
        ("end_ns", row.end_ns),
    ];
    for pair in times.windows(2) {
        let ((earlier, earlier_ns), (later, later_ns)) = (pair[0], pair[1]);
        if later_ns < earlier_ns {
            let (session, turn) = (row.session, row.turn);
            return Err(RowFault::Order {
                session,
                turn,
                earlier,
                earlier_ns,
                later,
                later_ns,
            });
        }
    }
    Ok(())
}

/// Whether the times of a row are in order and its parts sum to its latency.
///
/// # Errors
/// What is wrong with it.
pub fn check(row: &TurnRow) -> Result<(), RowFault> {
    check_order(row)?;
    let latency_ns = row.first_token_ns - row.ready_ns;
    let sum_ns: u128 = of(row).iter().map(|&part| u128::from(part)).sum();
    if sum_ns == u128::from(latency_ns) {
        Ok(())
    } else {
        Err(RowFault::Sum {
            session: row.session,
            turn: row.turn,
            sum_ns,
            latency_ns,
        })
    }
}

/// [`check`] of every row; the first violation ends it.
///
/// # Errors
/// What is wrong with the first row that is not right.
pub fn check_all<'a>(rows: impl IntoIterator<Item = &'a TurnRow>) -> Result<(), RowFault> {
    rows.into_iter().try_for_each(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ready at 100, first token at 128: the parts 1 to 7 sum to 28.
    fn row() -> TurnRow {
        TurnRow {
            session: 3,
            turn: 1,
            ready_ns: 100,
            scheduled_ns: 115,
            first_token_ns: 128,
            end_ns: 200,
            wake_signal_ns: 1,
            wake_hold_ns: 2,
            wake_copy_ns: 3,
            wake_stall_ns: 4,
            wake_queue_ns: 5,
            wake_recompute_ns: 6,
            wake_prefill_ns: 7,
            ..TurnRow::default()
        }
    }

    #[test]
    fn parts_that_sum_to_the_latency_pass() {
        assert_eq!(of(&row()).iter().sum::<u64>(), 28);
        assert_eq!(check_all(&[row(), row()]), Ok(()));
    }

    #[test]
    fn the_first_row_that_is_a_nanosecond_off_is_named() {
        let off = TurnRow {
            turn: 2,
            wake_queue_ns: 6,
            ..row()
        };
        let worse = TurnRow {
            turn: 3,
            wake_queue_ns: 600,
            ..row()
        };
        let fault = check_all(&[row(), off, worse]).unwrap_err();
        assert_eq!(
            fault,
            RowFault::Sum {
                session: 3,
                turn: 2,
                sum_ns: 29,
                latency_ns: 28
            }
        );
        assert!(fault.to_string().contains("turn 2 of session 3"));
    }

    #[test]
    fn a_first_token_before_the_turn_was_ready_is_a_fault_and_not_a_huge_latency() {
        let fault = check(&TurnRow {
            first_token_ns: 99,
            scheduled_ns: 100,
            ..row()
        })
        .unwrap_err();
        assert!(
            fault
                .to_string()
                .contains("`first_token_ns` (99 ns) lies before `scheduled_ns`")
        );
    }

    #[test]
    fn parts_too_large_for_64_bits_do_not_wrap_into_a_pass() {
        let wrapped = TurnRow {
            wake_hold_ns: u64::MAX,
            wake_copy_ns: 6,
            ..row()
        };
        // u64::MAX + 6 wraps to 5 = 2 + 3, the sum of what these columns should hold.
        assert!(matches!(check(&wrapped), Err(RowFault::Sum { .. })));
    }
}
