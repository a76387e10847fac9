//! How long to hold the KV of a session that waits: InferCept, Continuum, ski rental, and their kin.
//!
//! | rule | holds for |
//! |---|---|
//! | InferCept | as long as holding wastes less than computing again |
//! | Continuum | the time that maximises F(tau)·B - tau, or a fixed 2 s |
//! | ski rental | until holding has cost what it was to save |
//! | hazard TTL | the time of least expected cost |
//! | gate, SAGA | a fixed time unless the tool is slow; a quantile of the tool's past, less under pressure |

use crate::Entry;

mod continuum_dynamic;
mod continuum_paper;
mod continuum_release;
mod gate;
mod hazard_ttl;
mod infercept_paper;
mod infercept_pin;
mod infercept_release;
mod saga;
mod ski;
mod ski_predicted;

/// Its policies, in the order of lists.
pub(crate) const ENTRIES: &[Entry] = &[
    infercept_release::ENTRY,
    infercept_paper::ELAPSED,
    infercept_paper::ORACLE,
    infercept_pin::ENTRY,
    continuum_release::ENTRY,
    continuum_paper::ENTRY,
    continuum_dynamic::ENTRY,
    ski::ENTRY,
    ski_predicted::ENTRY,
    hazard_ttl::ENTRY,
    gate::ENTRY,
    saga::ENTRY,
];
