//! Which sessions may run, and in which order: programs are admitted, paused and ranked as a whole, whatever their KV does.

pub(crate) mod concur;
pub(crate) mod mori;
pub(crate) mod plas;
pub(crate) mod thunderagent;
