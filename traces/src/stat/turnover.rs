//! Who sends the next input: a Markov chain of person and tool.

use serde::Serialize;

use crate::format::GapKind;

/// Transitions between inputs of people and of tools; the first input of a main agent counts as a person's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Turnover {
    /// Inputs after a person's.
    pub after_human: u64,
    /// Of them, a person's.
    pub human_after_human: u64,
    /// Inputs after a tool's.
    pub after_tool: u64,
    /// Of them, a person's.
    pub human_after_tool: u64,
}

impl Turnover {
    pub(super) fn add(&mut self, from_human: &mut bool, kind: GapKind) {
        let is_human = match kind {
            GapKind::Human => true,
            GapKind::Tool | GapKind::Mixed => false,
            GapKind::None | GapKind::Unknown => return,
        };
        let (all, human) = if *from_human {
            (&mut self.after_human, &mut self.human_after_human)
        } else {
            (&mut self.after_tool, &mut self.human_after_tool)
        };
        *all += 1;
        *human += u64::from(is_human);
        *from_human = is_human;
    }

    /// P(person | person) and P(person | tool); `None` where the condition never held, and without people.
    pub fn probabilities(&self) -> [Option<f64>; 2] {
        let people = self.human_after_human + self.human_after_tool > 0;
        let share = |part: u64, all: u64| (people && all > 0).then(|| part as f64 / all as f64);
        [
            share(self.human_after_human, self.after_human),
            share(self.human_after_tool, self.after_tool),
        ]
    }
}
