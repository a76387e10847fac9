//! Faults on request: what a checker must notice.

use crate::backend::Sabotage;
use devices::CopyFault;
use std::collections::BTreeMap;

/// Which copies fail, by their number in the order of submission, from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan(BTreeMap<u64, CopyFault>);

impl FaultPlan {
    /// Copy `number` fails too.
    #[must_use]
    pub fn with(mut self, number: u64, fault: CopyFault) -> Self {
        self.0.insert(number, fault);
        self
    }

    pub(super) fn of(&self, number: u64) -> Option<CopyFault> {
        self.0.get(&number).copied()
    }
}

/// The part of a fault that the hardware plays.
pub(super) fn sabotage(fault: Option<CopyFault>) -> Option<Sabotage> {
    match fault {
        Some(CopyFault::FlipByte) => Some(Sabotage::Flip),
        Some(CopyFault::Stall(span)) => Some(Sabotage::Stall(span)),
        Some(CopyFault::Fail | CopyFault::LoseCompletion) | None => None,
    }
}
