//! How long to hold the KV of a session that waits: InferCept, Continuum, ski rental, and their kin.
//!
//! | rule | holds for |
//! |---|---|
//! | InferCept | as long as holding wastes less than computing again |
//! | Continuum | the time that maximises F(tau)·B - tau, or a fixed 2 s |
//! | ski rental | until holding has cost what it was to save |
//! | hazard TTL | the time of least expected cost |
//! | gate, SAGA | a fixed time unless the tool is slow; a quantile of the tool's past, less under pressure |

pub(crate) mod continuum_dynamic;
pub(crate) mod continuum_paper;
pub(crate) mod continuum_release;
pub(crate) mod gate;
pub(crate) mod hazard_ttl;
pub(crate) mod infercept_paper;
pub(crate) mod infercept_pin;
pub(crate) mod infercept_release;
pub(crate) mod saga;
pub(crate) mod ski;
pub(crate) mod ski_predicted;
