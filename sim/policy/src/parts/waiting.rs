//! Which tool each session waits for: known from `IO_WAIT` to `COMPUTE`.

use model::{Event, SessionId, ToolClass, View};

/// By session: the tool that its present wait was signalled with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting(Vec<Option<ToolClass>>);

impl Waiting {
    /// Follows the signals. Returns the tool of a wait that has just ended, if it was signalled.
    pub fn observe(&mut self, view: &View<'_>, event: &Event) -> Option<ToolClass> {
        match *event {
            Event::IoWait(session) => {
                *self.slot(session) = Some(view.session(session).tool);
                None
            }
            Event::Compute(session, _) => self.slot(session).take(),
            _ => None,
        }
    }

    fn slot(&mut self, session: SessionId) -> &mut Option<ToolClass> {
        if self.0.len() <= session.index() {
            self.0.resize(session.index() + 1, None);
        }
        &mut self.0[session.index()]
    }
}
