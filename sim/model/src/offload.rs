//! What vLLM's native host tier is told.

/// vLLM's host tier: finished blocks are copied to the host as they fill, and loaded where a prompt finds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offload {
    /// Which blocks go when the host is full.
    pub eviction: Eviction,
    /// Generated tokens are offered with the prompt of the next turn, not as they come.
    pub prompt_only: bool,
    /// When the end of a copy is noticed.
    pub poll: Poll,
}

/// Which blocks of the host go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// The least recent.
    Lru,
    /// Adaptive replacement: recency and re-use, at a moving boundary.
    Arc,
}

/// When a step looks for copies that have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// When it is launched (vLLM's second model runner).
    Launch,
    /// When it is over (vLLM's first).
    End,
}
