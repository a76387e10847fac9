//! What the last wait completed: the driver may still ask how many units these operations had, until it waits again.

use engine::device::Completion;
use model::OpId;

#[derive(Debug, Default)]
pub(crate) struct Over(Vec<(OpId, u32)>);

impl Over {
    /// Forgets what was remembered, and remembers these.
    pub fn remember(&mut self, done: &[Completion]) {
        self.0.clear();
        self.0.extend(
            done.iter()
                .map(|completion| (completion.op, completion.units)),
        );
    }

    /// Units of an operation that is over.
    ///
    /// # Panics
    /// If it is not one of those that the last wait completed.
    pub fn units(&self, op: OpId) -> u32 {
        let found = self.0.iter().find(|(over, _)| *over == op);
        found
            .unwrap_or_else(|| {
                panic!("operation {op} is neither in flight nor completed by the last wait")
            })
            .1
    }
}
