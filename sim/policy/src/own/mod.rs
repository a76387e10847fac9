//! This project's own scheduler, and the one that its first evaluation ran.

pub(crate) mod djinn;
pub(crate) mod djinn_as_run;
