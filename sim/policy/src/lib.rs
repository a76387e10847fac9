//! KV-cache policies: one file each, and the registry that names them.
//!
//! A policy answers a handful of questions ([`Policy`]); the engine asks each at the moment it arises. It sees a
//! [`model::View`], what a server could know, and returns what it wants. The engine alone carries it out.
//!
//! ```text
//!   baseline/   engines without agents, the extremes, the truth
//!   own/        this project's scheduler
//!   retention/  how long to hold, and what then
//!   program/    who may run, and in which order
//!   workflow/   what the graph of calls says
//!   hierarchy/  what moves between the tiers, and what goes first
//!   parts/      what several are made of: estimators, victims, costs
//! ```
//!
//! To add one: write its file, and name it in the `mod.rs` of its folder (`docs/adding-a-policy.md`).

mod page;
mod params;
mod registry;

mod baseline;
mod hierarchy;
mod own;
mod parts;
mod program;
mod retention;
mod workflow;

pub use page::page;
pub use params::{Param, ParamError, Params};
pub use registry::{
    Build, Entry, Family, Needs, PolicyError, Provenance, REGISTRY, build, describe, find,
};

use model::{
    Admission, Blocks, Cadence, Event, Fetch, HostRelease, Need, Offload, OrderKey, Plan, Priced,
    Queueing, Release, Restore, Retention, SessionId, StepBudget, Time, Tokens, View,
};

/// A KV policy. Deciding is pure (`&self`); learning happens in [`Policy::observe`] alone. Every question has vLLM's
/// answer as its default, so a policy's file holds what is special about it.
///
/// | question | asked when |
/// |---|---|
/// | `admit` | a turn becomes ready; of held sessions again at the cadence, the longest held first, until one is held again |
/// | `order`, `queueing` | a turn is let in; `order` again when an event names its session, and of all at a tick |
/// | `step_budget`, `chunk` | a step is put together |
/// | `on_idle`, `on_end` | a turn, or the session, ends |
/// | `price` | KV has gone to the prefix cache |
/// | `victims`, `preempt`, `break_pin` | HBM is short: in this order |
/// | `host_victims` | a swap-out, or a read from the disk, finds the host full |
/// | `disk_victims` | a write finds the disk full |
/// | `prefetch_at`, `restore` | KV is on the host: between turns, and when the turn is let in |
/// | `fetch` | KV is on the disk when the turn is let in; again at the cadence, and behind admissions, if the answer was *later* |
/// | `plan` | at the cadence |
///
/// An answer depends on the state, not on the hour: the engine computes many decode steps at a time while nothing changes. A policy
/// whose answers age says so by its cadence.
pub trait Policy: Send {
    /// Something happened. Nothing else may change the policy's state.
    fn observe(&mut self, _view: &View<'_>, _event: &Event) {}

    /// How often the policy looks at everything.
    fn cadence(&self) -> Cadence {
        Cadence::OnChange
    }

    /// Whether vLLM's host tier writes host memory, in place of what this policy would swap out. Asked once, before the run.
    fn offload(&self) -> Option<Offload> {
        None
    }

    /// Whether the engine computes missing KV in the middle of a sequence, so that what a session holds behind a hole is of use. vLLM does
    /// not: it computes a prompt from its first missing token on, and so does a serial engine whatever is said here. Asked once, before the run.
    fn computes_mid_sequence(&self) -> bool {
        false
    }

    /// The session's turn is ready: may it join the queue? Not asked while the session is paused by a plan.
    fn admit(&self, _view: &View<'_>, _session: SessionId) -> Admission {
        Admission::Enter
    }

    /// Who goes first among queued turns.
    fn order(&self, _view: &View<'_>, _session: SessionId) -> OrderKey {
        OrderKey::FCFS
    }

    /// What is to be done, all things considered.
    fn plan(&self, _view: &View<'_>) -> Plan {
        Plan::default()
    }

    /// How much the next step may do.
    fn step_budget(&self, _view: &View<'_>) -> StepBudget {
        StepBudget::UNLIMITED
    }

    /// How many prompt tokens of this turn the next step may compute, at least 1.
    fn chunk(&self, _view: &View<'_>, _session: SessionId) -> Tokens {
        Tokens(u32::MAX)
    }

    /// A turn's last token is out: what becomes of the session's KV? Asked again if `IO_WAIT` arrives later.
    fn on_idle(&self, _view: &View<'_>, _session: SessionId) -> Retention {
        Retention::Release
    }

    /// No turn will follow: what becomes of the KV?
    fn on_end(&self, _view: &View<'_>, _session: SessionId) -> Retention {
        Retention::Release
    }

    /// HBM lacks `need` blocks: whose KV leaves, in this order? More than needed is not an error.
    fn victims(&self, _view: &View<'_>, _need: Blocks, _why: Need) -> Vec<Release> {
        Vec::new()
    }

    /// Blocks of the session have gone to the prefix cache: what are they worth there, from the beginning of its context? What is not said
    /// has the normal price, and goes in the order in which vLLM would take it. Asked again if `IO_WAIT` arrives later.
    fn price(&self, _view: &View<'_>, _session: SessionId) -> Vec<Priced> {
        Vec::new()
    }

    /// `session` runs and lacks a block that no victim gives: which running turn goes back to the queue? `None`: the one
    /// admitted last. An answer that does not run counts as `None`.
    fn preempt(&self, _view: &View<'_>, _session: SessionId) -> Option<SessionId> {
        None
    }

    /// Nothing can proceed for want of memory that soft pins hold: whose pin is broken? `None`: that of the session that arrived
    /// last, other than the first in the queue. An answer without a pin counts as `None`.
    fn break_pin(&self, _view: &View<'_>) -> Option<SessionId> {
        None
    }

    /// The host lacks `need` blocks for a swap-out of `session`, or to read its KV from the disk: whose KV is given up there or goes to the
    /// disk, in this order? Blocks that turn out to be on the host already count as needed. What finds no room after that stays in HBM, or is
    /// dropped, as the swap-out says; room that a demotion will make comes too late for it. A read waits for that room.
    fn host_victims(
        &self,
        _view: &View<'_>,
        _need: Blocks,
        _session: SessionId,
    ) -> Vec<HostRelease> {
        Vec::new()
    }

    /// The session's KV is on the host (or on its way there): when should it begin to come back?
    fn prefetch_at(&self, _view: &View<'_>, _session: SessionId) -> Option<Time> {
        None
    }

    /// A turn is ready and KV of it is on the host.
    fn restore(&self, _view: &View<'_>, _session: SessionId) -> Restore {
        Restore::Load
    }

    /// The disk lacks `need` blocks for a write of `session`: whose KV is given up there, in this order? Sessions between turns, and ready
    /// turns that were told to read later. What finds no room after that is not written.
    fn disk_victims(&self, _view: &View<'_>, _need: Blocks, _session: SessionId) -> Vec<SessionId> {
        Vec::new()
    }

    /// A turn is ready and the disk has KV of it that neither HBM nor the host has. `restore` is asked when that has been read, or is not
    /// waited for.
    fn fetch(&self, _view: &View<'_>, _session: SessionId) -> Fetch {
        Fetch::Read { until: Time::NEVER }
    }

    /// Where does a turn that is let in enter the queue, among those of its order key?
    fn queueing(&self, _view: &View<'_>, _session: SessionId) -> Queueing {
        Queueing::Back
    }
}
