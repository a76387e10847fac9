//! KV-cache policies: one file each, and the registry that names them.
//!
//! A policy answers a handful of questions ([`Policy`]); the engine asks each at the moment it arises. It sees a
//! [`model::View`], what a server could know, and returns what it wants. The engine alone carries it out.
//!
//! To add one: write its file, and its line in `registry.rs`.

mod params;
mod registry;

mod clairvoyant;
mod djinn;
mod djinn_as_run;
mod drop_always;
mod keep_always;
mod parts;
mod swap_on_demand;
mod vllm_recompute;

pub use params::{Param, ParamError, Params};
pub use registry::{Build, Entry, Needs, PolicyError, Provenance, REGISTRY, build, describe, find};

use model::{Blocks, Event, Need, Queueing, Release, Restore, Retention, SessionId, Time, View};

/// A KV policy. Deciding is pure (`&self`); learning happens in [`Policy::observe`] alone. Every question has vLLM's
/// answer as its default, so a policy's file holds what is special about it.
pub trait Policy: Send {
    /// Something happened. Nothing else may change the policy's state.
    fn observe(&mut self, _view: &View<'_>, _event: &Event) {}

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

    /// The session's KV is on the host (or on its way there): when should it begin to come back?
    fn prefetch_at(&self, _view: &View<'_>, _session: SessionId) -> Option<Time> {
        None
    }

    /// A turn is ready and KV of it is on the host.
    fn restore(&self, _view: &View<'_>, _session: SessionId) -> Restore {
        Restore::Load
    }

    /// Where does a turn that has become ready enter the queue?
    fn queueing(&self, _view: &View<'_>, _session: SessionId) -> Queueing {
        Queueing::Back
    }
}
