//! Pieces that several policies are made of.

mod balance;
mod benefit;
mod ewma;
mod means;
mod order;
mod pins;
mod sample;
mod stored;
mod ttl;
mod victims;
mod waiting;
mod waits;
mod waste;

pub(crate) use balance::balanced;
pub(crate) use benefit::Benefit;
pub(crate) use ewma::Ewma;
pub(crate) use means::Means;
pub(crate) use order::{by_class_then_arrival, held_swapped_new};
pub(crate) use pins::{cheaper_exit, full_blocks, hold_for, utilisation};
pub(crate) use sample::Sample;
pub(crate) use stored::Stored;
pub(crate) use ttl::{break_even, eq2, expected_cost};
pub(crate) use victims::{host_or_cache, oldest_first, oldest_to_host, take_until, to_host_until};
pub(crate) use waiting::Waiting;
pub(crate) use waits::Waits;
pub(crate) use waste::{Profile, chunked_discard};
