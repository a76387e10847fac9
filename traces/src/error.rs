//! What can be wrong with a trace, said with file, line, value and remedy.

use std::fmt;

/// Where in a file something was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// File name as it was given.
    pub file: String,
    /// Line, from 1; 0 when the whole file is meant.
    pub line: u64,
    /// Column (byte), from 1, where the parser gives it.
    pub column: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        Ok(())
    }
}

/// Why a trace could not be read, written, imported or used.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file system refused.
    #[error("cannot {action} `{file}`: {source}")]
    File {
        /// What was attempted: open, read, create, write, rename.
        action: &'static str,
        /// The file.
        file: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A `.zst` or `.gz` file that stops in the middle of a frame.
    #[error("{at}: the compressed file ends too early; it was cut off, copy or create it again")]
    Truncated {
        /// Last line that could be read in full.
        at: Place,
    },
    /// A compressed file with damaged content.
    #[error("{at}: cannot decompress ({source}); the file is damaged, copy or create it again")]
    Damaged {
        /// Last line that could be read in full.
        at: Place,
        /// The decoder's words.
        source: std::io::Error,
    },
    /// Not JSON, or not of the expected shape.
    #[error("{at}: {what}; correct this line or remove it")]
    Malformed {
        /// The line.
        at: Place,
        /// The parser's words.
        what: String,
    },
    /// The file does not begin with a `meta` line.
    #[error(
        "{at}: the first line of a session trace must be {{\"v\":1,\"type\":\"meta\",…}}; \
         if this is a trace of another tool, import it first"
    )]
    MissingMeta {
        /// The first line.
        at: Place,
    },
    /// Well-formed, but it contradicts itself.
    #[error("{at}: {defect}")]
    Invalid {
        /// The line.
        at: Place,
        /// What is wrong.
        defect: Defect,
    },
    /// No importer of that name.
    #[error("no trace format is called `{name}`; known: {known}")]
    UnknownFormat {
        /// The name asked for.
        name: String,
        /// Comma-separated names.
        known: String,
    },
    /// An import that found nothing.
    #[error("{file}: no session with an LLM call in the file")]
    Empty {
        /// The file.
        file: String,
    },
    /// A file without a byte to read.
    #[error("`{file}` is empty")]
    NoContent {
        /// The file.
        file: String,
    },
    /// What was to be imported is a session trace.
    #[error("`{file}` is a session trace already; it can be run, described and changed as it is")]
    AlreadyTrace {
        /// The file.
        file: String,
    },
    /// No importer recognises the file.
    #[error("`{file}` looks like none of the known trace formats ({known}); name the format")]
    Unrecognised {
        /// The file.
        file: String,
        /// Comma-separated names.
        known: String,
    },
    /// No workload of that name.
    #[error("no generator is called `{name}`; known: {known}; or give a file that ends in .toml")]
    UnknownWorkload {
        /// The name asked for.
        name: String,
        /// Comma-separated names.
        known: String,
    },
    /// A sub-agent comes before its parent, so a tool that goes through the file once cannot tell what becomes of it.
    #[error("`{file}`: sub-agent `{sid}` comes before its parent `{parent}`; put parents first")]
    SubagentFirst {
        /// The file.
        file: String,
        /// The sub-agent.
        sid: String,
        /// Its parent.
        parent: String,
    },
    /// The parameters do not make sense together.
    #[error("{0}")]
    Parameters(String),
    /// Sessions have no place on a common clock.
    #[error(
        "`{file}` has no common clock: its sessions do not say when they start relative to each \
         other; set `rate` (sessions per second) to draw Poisson arrivals"
    )]
    NoCommonClock {
        /// The file.
        file: String,
    },
    /// A turn is larger than the limit, and the limit is strict.
    #[error(
        "session `{sid}`, call {call} needs {tokens} tokens of context, but max_context is {limit}; \
         raise it or set too_long to \"truncate-session\" or \"skip-session\""
    )]
    ContextTooLong {
        /// The session.
        sid: String,
        /// The call.
        call: u32,
        /// Prompt and output.
        tokens: u64,
        /// The limit.
        limit: u32,
    },
}

impl TraceError {
    /// A failure of a source, told by its cause: cut off, damaged, or the file system's.
    pub(crate) fn of_source(at: Place, source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::UnexpectedEof {
            Self::Truncated { at }
        } else if source.raw_os_error().is_some() {
            Self::File {
                action: "read",
                file: at.file,
                source,
            }
        } else {
            // Not from the system, so from the decoder.
            Self::Damaged { at, source }
        }
    }
}

impl From<TraceError> for model::WorkloadError {
    fn from(error: TraceError) -> Self {
        Self(error.to_string())
    }
}

/// A contradiction inside a session or between sessions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// Two sessions of one name.
    #[error("session id `{sid}` was used before; every session needs an id of its own")]
    DuplicateSession {
        /// The id.
        sid: String,
    },
    /// A session without calls.
    #[error("session `{sid}` has no calls; remove it")]
    NoCalls {
        /// The session.
        sid: String,
    },
    /// Call ids do not count 0, 1, 2, …
    #[error(
        "session `{sid}`: call id {found} where {expected} is due; number the calls 0, 1, 2, …"
    )]
    CallId {
        /// The session.
        sid: String,
        /// What the file says.
        found: u32,
        /// What it should say.
        expected: u32,
    },
    /// `out` is 0.
    #[error("session `{sid}`, call {call}: out = 0, but a call generates at least one token")]
    NoOutput {
        /// The session.
        sid: String,
        /// The call.
        call: u32,
    },
    /// `in` is 0.
    #[error("session `{sid}`, call {call}: in = 0, but a prompt has at least one token")]
    NoInput {
        /// The session.
        sid: String,
        /// The call.
        call: u32,
    },
    /// `in` + `out` does not fit.
    #[error(
        "session `{sid}`, call {call}: {tokens} tokens in one call; at most 2^31 are supported"
    )]
    TooManyTokens {
        /// The session.
        sid: String,
        /// The call.
        call: u32,
        /// Prompt and output.
        tokens: u64,
    },
    /// More is kept than there was.
    #[error(
        "session `{sid}`, call {call}: keep = {keep}, but its predecessor had in + out = {available}; \
         at most that much can be kept"
    )]
    KeepBeyondHistory {
        /// The session.
        sid: String,
        /// The call.
        call: u32,
        /// What the file says.
        keep: u32,
        /// Prompt and output of the predecessor, 0 for the first call.
        available: u64,
    },
    /// More is kept than the prompt holds.
    #[error("session `{sid}`, call {call}: keep = {keep} of a prompt of in = {input} tokens")]
    KeepBeyondInput {
        /// The session.
        sid: String,
        /// The call.
        call: u32,
        /// What the file says.
        keep: u32,
        /// Prompt tokens.
        input: u32,
    },
    /// A dependency that does not exist, or not yet.
    #[error("session `{sid}`, call {call}: after = `{after}`, but there is no such earlier call")]
    UnknownAfter {
        /// The session.
        sid: String,
        /// The call.
        call: u32,
        /// The reference as written.
        after: String,
    },
    /// A sub-agent whose parent is not in the file.
    #[error("session `{sid}`: its parent call `{parent}` is not in the file")]
    UnknownParent {
        /// The session.
        sid: String,
        /// `sid#call` of the parent.
        parent: String,
    },
    /// Blocks, but the meta line does not say how large they are.
    #[error(
        "session `{sid}`, call {call}: has blocks, but the meta line names no block_size and hash_scope"
    )]
    BlocksWithoutSize {
        /// The session.
        sid: String,
        /// The call.
        call: u32,
    },
    /// Keeps more prefix blocks than the predecessor had.
    #[error(
        "session `{sid}`, call {call}: blocks.keep = {keep}, but its predecessor has {available}"
    )]
    BlocksBeyondHistory {
        /// The session.
        sid: String,
        /// The call.
        call: u32,
        /// What the file says.
        keep: u32,
        /// Blocks of the predecessor.
        available: u64,
    },
    /// More blocks than the prompt has.
    #[error("session `{sid}`, call {call}: {blocks} blocks for a prompt of {input} tokens")]
    BlocksBeyondInput {
        /// The session.
        sid: String,
        /// The call.
        call: u32,
        /// Number of blocks.
        blocks: u64,
        /// Prompt tokens.
        input: u32,
    },
    /// A block id that leaves no room for the ids after it.
    #[error("session `{sid}`, call {call}: block id {first}; ids must be below 2^63")]
    BlockId {
        /// The session.
        sid: String,
        /// The call.
        call: u32,
        /// The id.
        first: u64,
    },
    /// A block size of 0.
    #[error("block_size = 0; write null where the trace has no blocks")]
    BlockSize,
}
