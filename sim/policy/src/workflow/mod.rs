//! What a workflow says about who runs next.

pub(crate) mod kvflow;
pub(crate) mod tokencake;
