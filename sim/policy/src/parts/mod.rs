//! Pieces that several policies are made of.

mod victims;

pub(crate) use victims::{host_or_cache, take_until};
