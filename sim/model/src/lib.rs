//! The vocabulary of the laboratory: units, ids, sessions and turns, what a policy sees and says.
//!
//! ```text
//!   Workload ──► Session ──► Turn           what happens            (workload)
//!   View ──► Policy ──► Retention, Release  what is seen and wanted (view, action: memory)
//!                       Admission, Plan                             (schedule: turns and steps)
//!   Event, Outcome                          what came of it         (event)
//! ```
//!
//! No I/O, no clock, no randomness: every other crate may depend on this one, and this one on none.

mod action;
mod crowd;
mod event;
mod ids;
mod offload;
mod oracle;
mod schedule;
mod units;
mod view;
mod workload;

pub use action::{
    End, Fetch, HostRelease, Need, Part, Price, Priced, Release, Restore, Retention, SwapOut, Then,
    Way,
};
pub use crowd::{Ranking, Sessions};
pub use event::{Action, Event, Outcome, Report};
pub use ids::{ContentId, Direction, LineageId, OpId, SessionId, Tier, ToolClass, TurnIndex};
pub use offload::{Eviction, Offload, Poll};
pub use oracle::Oracle;
pub use schedule::{Admission, Cadence, DiskMove, OrderKey, Place, Plan, Queueing, StepBudget};
pub use units::{Blocks, Bytes, Nanos, Time, Tokens};
pub use view::{
    CopyEstimate, DiskLevel, Hint, HintSource, Phase, PoolLevel, PrefillEstimate, Residence,
    SessionView, View,
};
pub use workload::{
    ContentRun, GapKind, Session, SharedPrefix, Spawn, Turn, VecWorkload, Workload, WorkloadError,
};
