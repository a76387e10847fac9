//! A session under another name, with everything that refers to it.

use crate::format::{After, ParentLink, Session};

/// Renames `session`, its parent, and the sessions that its calls wait for.
pub(super) fn rename(session: &mut Session, name: impl Fn(&str) -> String) {
    session.sid = name(&session.sid);
    if let Some(parent) = &mut session.parent {
        let sid = match parent {
            ParentLink::Session(sid) => sid,
            ParentLink::Call(parent) => &mut parent.sid,
        };
        *sid = name(sid);
    }
    for call in &mut session.calls {
        for after in call.after.iter_mut().flatten() {
            if let After::Other { sid, .. } = after {
                *sid = name(sid);
            }
        }
    }
}
