//! Synthetic agents: sessions drawn from a few distributions.
//!
//! ```text
//!   agent i:  arrival │ turn 0: first_prompt ─► output │ gap │ turn 1: history + append ─► output │ …
//! ```
//!
//! Every draw is addressed by (seed, agent, turn, purpose), see [`Draws`]: whatever the policy does and however
//! many agents there are, agent 7 does the same. Sessions are made one at a time, in order of their start, so memory does not grow
//! with their number.
//!
//! A session resubmits its whole history; nothing is lost on the way (`keep` is everything). With `append = 0`
//! the next prompt is exactly the history: the last generated token has no KV yet, so its prefill is one token
//! long and yields the first new one. The seed study's second operation was that: 50 decode steps on 1,073 cached positions.
//!
//! **Absent on purpose:** prefix loss, Markov chains of tools and people, heavy tails by class. Traces have them.

mod agents;
mod distribution;
mod draw;
mod spec;

pub use agents::{Agents, GeneratedWorkload};
pub use distribution::Distribution;
pub use draw::{Domain, Draw, Draws, Purpose};
pub use spec::{Arrivals, GeneratorSpec, SharedPrefixSpec, WaitKind};
