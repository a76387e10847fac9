//! Faults on request: what a checker must notice.

use std::collections::BTreeMap;
use std::time::Duration;

/// What goes wrong with a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFault {
    /// A byte of the last block of each chunk arrives inverted.
    FlipByte,
    /// Nothing is copied, and the copy reports failure.
    Fail,
    /// The copy is carried out, and nobody is told.
    LoseCompletion,
    /// Each chunk starts so much (wall) time late.
    Stall(Duration),
}

/// Which copies fail, by their number in the order of submission, from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan(BTreeMap<u64, CopyFault>);

impl FaultPlan {
    /// Nothing fails.
    pub fn none() -> Self {
        Self::default()
    }

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
