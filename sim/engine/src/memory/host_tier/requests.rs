//! What is remembered of a request: which of its blocks have been offered, by whom they got to the host, and what moves for it.
//!
//! A request is one turn. It outlives the turn as long as its stores are on their way, and the next turn of the session is another one.

use super::JobId;
use super::arc::Origin;
use model::{ContentId, SessionId};

/// Number of a request, in order of readiness.
pub(super) type RequestId = u64;

/// One turn, as the host tier sees it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub session: SessionId,
    /// Blocks before this position need no further store.
    pub handled: u32,
    /// Its transfers on their way, in order of their beginning.
    pub jobs: Vec<JobId>,
    /// The turn is over, and its last offer made.
    pub finished: bool,
    seen: Vec<Seen>,
}

/// What has happened to the block at one position.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    content: Option<ContentId>,
    stored: bool,
    found: bool,
    missed: bool,
}

impl Request {
    pub fn new(session: SessionId) -> Self {
        Self {
            session,
            handled: 0,
            jobs: Vec::new(),
            finished: false,
            seen: Vec::new(),
        }
    }

    fn seen(&mut self, position: u32, content: ContentId) -> &mut Seen {
        let at = position as usize;
        if self.seen.len() <= at {
            self.seen.resize(at + 1, Seen::default());
        }
        let seen = &mut self.seen[at];
        seen.content = Some(content);
        seen
    }

    /// It is on the host, or was loaded from there; that counts as found unless this request has stored it.
    pub fn finds(&mut self, position: u32, content: ContentId) {
        let seen = self.seen(position, content);
        seen.found |= !seen.stored;
    }

    /// It is offered, and not on the host. Returns whether that happens for the first time.
    pub fn misses(&mut self, position: u32, content: ContentId) -> bool {
        !std::mem::replace(&mut self.seen(position, content).missed, true)
    }

    /// Its store begins.
    pub fn stores(&mut self, position: u32, content: ContentId) {
        self.seen(position, content).stored = true;
    }

    /// All blocks that were offered or loaded, in order of position.
    pub fn blocks(&self) -> impl DoubleEndedIterator<Item = (ContentId, Origin)> {
        self.seen.iter().filter_map(|seen| {
            let origin = match seen {
                Seen { found: true, .. } => Origin::Found,
                Seen { stored: true, .. } => Origin::Stored,
                _ => Origin::Offered,
            };
            Some((seen.content?, origin))
        })
    }
}
