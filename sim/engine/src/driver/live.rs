//! What the driver knows of a session while it lives.

use super::family::Family;
use crate::batch::Request;
use crate::record::{PrefetchOutcome, SessionRecord};
use model::{
    Blocks, Nanos, Oracle, Phase, Priced, Residence, Session, SessionId, Then, Time, Tokens,
    TurnIndex,
};
use std::sync::Mutex;

/// A session and the turn it is in.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Its script; dropped when it is over.
    pub script: Option<Box<Session>>,
    /// The turn that is ready or runs, or ran last.
    pub request: Request,
    /// Counts changes of phase; timers carry the count they were set at.
    pub epoch: u32,
    /// True end of the wait.
    pub ready: Time,
    /// `COMPUTE` delivered.
    pub signal: Time,
    /// The wait before the ready turn.
    pub waited: Nanos,
    /// Parent and sub-agents, if it has any.
    pub family: Option<Box<Family>>,
    /// The prompt of the ready turn has been compared with the context.
    pub prepared: bool,
    /// What the disk has of the ready turn has been read, or is not waited for.
    pub fetched: bool,
    /// Ready, and waits for its own copy.
    pub parked: bool,
    /// It waits for the beginning of its copy only.
    pub overlaps: bool,
    /// Fault: the copy in flight is to be made a second time.
    pub copy_again: bool,
    /// End of the pin.
    pub pin_until: Time,
    /// What follows the end of the pin.
    pub pin_then: Then,
    /// What its blocks in the prefix cache are worth, as the policy has said last.
    pub prices: Vec<Priced>,
    /// Counts the answers.
    pub priced: u32,
    /// When its turn was withheld last.
    pub held_up_since: Time,
    /// When its turn was let in.
    pub let_in: Time,
    /// In the set of sessions that hold a pin.
    pub pinned: bool,
    /// Its row is written.
    pub closed: bool,
    /// What the present wait's prefetch has come to.
    pub prefetch: Prefetch,
    /// The last prefetch was a plan's.
    pub fetched_by_plan: bool,
    /// Blocks brought back for the next turn.
    pub restored: Blocks,
    /// Copy time before the turn was ready.
    pub hidden: Nanos,
    /// Blocks held while idle, destinations of restores included.
    pub held: u32,
    /// Since when.
    pub held_since: Time,
    /// Position in the sets of idle sessions.
    pub listed: Option<Listed>,
    /// Its row.
    pub record: SessionRecord,
}

/// A session's keys in the sorted sets of idle sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub idle_since: Time,
    pub returns_at: Time,
    pub pin_until: Time,
}

/// Where the prefetch of a wait stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Prefetch {
    /// None was asked for.
    #[default]
    None,
    /// A timer is set.
    Planned,
    /// Asked for; begins when the swap-out is over, a lane is free and there is room.
    Asked,
    /// In its lane.
    Moving,
    /// Complete.
    Complete,
    /// Complete, and gone again before the turn.
    Lost,
}

impl Prefetch {
    /// Whether it is planned or under way.
    pub fn is_pending(self) -> bool {
        matches!(self, Self::Planned | Self::Asked | Self::Moving)
    }
}

impl Live {
    /// The script of a session that is not over.
    pub fn script(&self) -> &Session {
        self.script.as_ref().expect("a live session has its script")
    }

    /// The KV leaves HBM: a prefetch that brought it was for nothing.
    pub fn lose_prefetch(&mut self) {
        if self.prefetch == Prefetch::Complete {
            self.prefetch = Prefetch::Lost;
        }
    }

    /// What the prefetch has come to when the turn is admitted with `restored` blocks brought back.
    pub fn prefetch_outcome(&self, hit: Tokens, block: u32) -> Option<PrefetchOutcome> {
        match self.prefetch {
            Prefetch::None | Prefetch::Planned => None,
            Prefetch::Asked | Prefetch::Moving => Some(PrefetchOutcome::Late),
            Prefetch::Lost => Some(PrefetchOutcome::Wasted),
            Prefetch::Complete if hit.0 < self.restored.0 * block => Some(PrefetchOutcome::Wasted),
            Prefetch::Complete => Some(PrefetchOutcome::InTime),
        }
    }
}

/// The truth about waits, shared with a clairvoyant policy.
#[derive(Debug, Default)]
pub struct Truth {
    rows: Mutex<Vec<(Option<Time>, Vec<Tokens>)>>,
}

impl Truth {
    pub(super) fn enter(&self, session: &Session) {
        let outputs = session.turns.iter().map(|turn| turn.output).collect();
        self.rows
            .lock()
            .expect("no holder panics")
            .push((None, outputs));
    }

    pub(super) fn set_return(&self, session: SessionId, at: Option<Time>) {
        self.rows.lock().expect("no holder panics")[session.index()].0 = at;
    }
}

impl Oracle for Truth {
    fn returns_at(&self, session: SessionId) -> Option<Time> {
        self.rows
            .lock()
            .expect("no holder panics")
            .get(session.index())?
            .0
    }

    fn output(&self, session: SessionId, turn: TurnIndex) -> Option<Tokens> {
        let rows = self.rows.lock().expect("no holder panics");
        rows.get(session.index())?.1.get(turn.index()).copied()
    }
}

/// Whether a session in this phase and place may be chosen as a victim.
pub(super) fn is_victim(phase: Phase, residence: Residence) -> bool {
    matches!(phase, Phase::Idle | Phase::Held | Phase::Ended) && residence == Residence::Hbm
}
