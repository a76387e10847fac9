//! Synthetic agents: sessions drawn from distributions.
//!
//! ```text
//!   configs/workloads/*.toml ─► catalog ─┬► PlainAgents ─┐
//!                                        └► Fleet ◄──────┘   arrivals + behaviours
//!                                             └► Agents ─► sessions, in order of their start
//!
//!   agent i:  arrival │ turn 0: first_prompt ─► output │ gap │ turn 1: history + append ─► output │ …
//! ```
//!
//! Every draw is addressed by (seed, agent, turn, purpose), see [`Draws`]: whatever the policy does and however
//! many agents there are, agent 7 does the same. Sessions are made one at a time, in order of their start, so memory does not grow
//! with their number.
//!
//! A session resubmits its whole history, unless its behaviour loses the prefix. With `append = 0`
//! the next prompt is exactly the history: the last generated token has no KV yet, so its prefill is one token
//! long and yields the first new one. The seed study's second operation was that: 50 decode steps on 1,073 cached positions.

mod agents;
mod arrivals;
mod behaviour;
mod catalog;
mod distribution;
mod draw;
mod fleet;
mod inverse;
mod plain;
mod session;

pub use agents::{Agents, GeneratedWorkload};
pub use arrivals::{Arrivals, Burstiness, ClientMixture, Closed, Diurnal, IntervalLaw, Resampled};
pub use behaviour::{Approval, Behaviour, Human, Loss, PrefixPart, Stage, Stripped, ToolClass};
pub use catalog::{BARE, Generator, SHIPPED, Shipped};
pub use distribution::{
    Component, Distribution, Exponential, Lognormal, Quantiles, Shape, Tail, Uniform,
};
pub use draw::{Domain, Draw, Draws, Purpose};
pub use fleet::{Fleet, Variant};
pub use plain::{PlainAgents, PlainArrivals, SharedPrefixSpec, WaitKind};
