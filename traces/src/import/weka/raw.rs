//! The shape of a Weka session, as recorded.

use crate::format::BlockList;
use crate::format::record::record;

record! {
    /// One session.
    pub struct RawSession {
        /// Name.
        required id: String = "id",
        /// Tokens per block of `hash_ids`.
        required block_size: u32 = "block_size",
        /// `local` (ids are per session) or `global`.
        nullable hash_id_scope: String = "hash_id_scope",
        /// Tokens of the tool definitions, which lead every prompt.
        nullable tool_tokens: u32 = "tool_tokens",
        /// Tokens of the system prompt, which follows them.
        nullable system_tokens: u32 = "system_tokens",
        /// Calls and sub-agents, by time.
        required requests: Vec<RawRequest> = "requests",
        /// Models in use; derivable from the requests.
        nullable models: serde_json::Value = "models",
        /// Sums; derivable from the requests.
        nullable totals: serde_json::Value = "totals",
    }
}

record! {
    /// A call (`type` = `n`, normal, or `s`, streaming) or a sub-agent (`subagent`) with calls of its own.
    pub struct RawRequest {
        /// `n`, `s` or `subagent`.
        required kind: String = "type",
        /// Seconds since the start of the session.
        required t: f64 = "t",
        /// Model that answered.
        nullable model: String = "model",
        /// Prompt tokens.
        nullable input: u32 = "in",
        /// Tokens generated.
        nullable output: u32 = "out",
        /// Ids of the whole blocks of the prompt.
        nullable blocks: BlockList = "hash_ids",
        /// What was appended: `text`, `tool_result`, …
        nullable input_types: Vec<String> = "input_types",
        /// What was answered: `text`, `tool_use`, `thinking`.
        nullable output_types: Vec<String> = "output_types",
        /// Why generation ended; empty where unknown.
        nullable stop: String = "stop",
        /// Service time in seconds.
        nullable api_time: f64 = "api_time",
        /// Client's wait before this call in seconds.
        nullable think_time: f64 = "think_time",
        /// Time to first token in seconds.
        nullable ttft: f64 = "ttft",
        /// Name of a sub-agent within its parent.
        nullable agent_id: String = "agent_id",
        /// Calls of a sub-agent; their `t` count from its own start.
        nullable requests: Vec<RawRequest> = "requests",
        /// As in the session.
        nullable tool_tokens: u32 = "tool_tokens",
        /// As in the session.
        nullable system_tokens: u32 = "system_tokens",
        /// Models in use; derivable from the requests.
        nullable models: serde_json::Value = "models",
    }
}
