//! Mean durations of all past waits, one per tool class.

use super::Waiting;
use model::{Event, Nanos, ToolClass, View};

/// Sums and counts; integers, so that the order of additions does not matter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Means {
    by_tool: Vec<(u128, u64)>,
    waiting: Waiting,
}

impl Means {
    /// Learns from signalled waits that end.
    pub fn observe(&mut self, view: &View<'_>, event: &Event) {
        let tool = self.waiting.observe(view, event);
        if let (Some(tool), &Event::Compute(_, waited)) = (tool, event) {
            self.learn(tool, waited);
        }
    }

    /// A wait for `tool` has lasted so long.
    pub fn learn(&mut self, tool: ToolClass, waited: Nanos) {
        if self.by_tool.len() <= tool.index() {
            self.by_tool.resize(tool.index() + 1, (0, 0));
        }
        let (sum, count) = &mut self.by_tool[tool.index()];
        *sum += u128::from(waited.0);
        *count += 1;
    }

    /// In seconds, rounded down to a nanosecond; `None` for a tool without a past.
    pub fn of(&self, tool: ToolClass) -> Option<f64> {
        let &(sum, count) = self.by_tool.get(tool.index())?;
        (count > 0).then(|| (sum / u128::from(count)) as f64 / 1e9)
    }
}
