//! How long waits have lasted: of all tools, and of each class.
//!
//! A class becomes known with `IO_WAIT`. A wait that was never signalled counts among all, and for no class.

use super::{Sample, Waiting};
use model::{Event, Nanos, ToolClass};

/// Durations of past waits.
#[derive(Clone, Debug)]
pub(crate) struct Waits {
    window: usize,
    all: Sample,
    by_tool: Vec<Option<Sample>>,
    waiting: Waiting,
}

impl Waits {
    /// Keeps the latest `window` waits of each class, and of all.
    pub fn new(window: usize) -> Self {
        Self {
            window,
            all: Sample::new(window),
            by_tool: Vec::new(),
            waiting: Waiting::default(),
        }
    }

    /// Learns from beginnings and ends of waits.
    pub fn observe(&mut self, view: &model::View<'_>, event: &Event) {
        let tool = self.waiting.observe(view, event);
        if let Event::Compute(session, waited) = *event
            && view.session(session).turn.0 > 0
        {
            self.learn(tool, waited);
        }
    }

    /// A wait of a class, or of an unknown one, has lasted so long.
    pub fn learn(&mut self, tool: Option<ToolClass>, waited: Nanos) {
        self.all.push(waited);
        let Some(tool) = tool else { return };
        if self.by_tool.len() <= tool.index() {
            self.by_tool.resize(tool.index() + 1, None);
        }
        let window = self.window;
        self.by_tool[tool.index()]
            .get_or_insert_with(|| Sample::new(window))
            .push(waited);
    }

    /// Waits of every class.
    pub fn all(&self) -> &Sample {
        &self.all
    }

    /// Waits of one class, if there were any.
    pub fn of(&self, tool: ToolClass) -> Option<&Sample> {
        self.by_tool.get(tool.index())?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_counts_for_its_class_and_for_all() {
        let mut waits = Waits::new(10);
        waits.learn(Some(ToolClass(2)), Nanos(4));
        waits.learn(None, Nanos(6));
        assert_eq!(waits.all().sorted(), [Nanos(4), Nanos(6)]);
        assert_eq!(waits.of(ToolClass(2)).map(Sample::len), Some(1));
        assert!(waits.of(ToolClass(0)).is_none() && waits.of(ToolClass(9)).is_none());
    }
}
