//! The shape of a line, as logged.

use serde_json::Value;

use crate::format::record::record;

record! {
    /// A line of the log.
    pub struct RawLine {
        /// `user`, `assistant`, or something that is no message.
        nullable kind: String = "type",
        /// Session; sub-agents have their parent's.
        nullable session: String = "sessionId",
        /// Name of the line.
        nullable uuid: String = "uuid",
        /// Name of the line before.
        nullable parent: String = "parentUuid",
        /// Whether a sub-agent wrote it.
        nullable is_sidechain: bool = "isSidechain",
        /// Which one, in newer logs.
        nullable agent: String = "agentId",
        /// When it was written.
        nullable timestamp: String = "timestamp",
        /// Written by the client for the model: no input of a person or tool.
        nullable is_meta: bool = "isMeta",
        /// A failed request.
        nullable is_api_error: bool = "isApiErrorMessage",
        /// The request in the provider's log.
        nullable request: String = "requestId",
        /// What was said.
        nullable message: Message = "message",
        /// The tool's own report; names the sub-agent that a Task tool ran.
        nullable tool_result: Value = "toolUseResult",
    }
}

record! {
    /// A message, or a block of one.
    pub struct Message {
        /// Equal for all blocks of an answer.
        nullable id: String = "id",
        /// Model that answered.
        nullable model: String = "model",
        /// Why generation ended; only the last block says.
        nullable stop: String = "stop_reason",
        /// Text, or a list of blocks.
        nullable content: Value = "content",
        /// Token counts.
        nullable usage: Usage = "usage",
    }
}

record! {
    /// Token counts of a call, as far as they were known when the block was written.
    pub struct Usage {
        /// Prompt tokens that no cache held.
        nullable input: u32 = "input_tokens",
        /// Prompt tokens written to the cache.
        nullable cache_creation: u32 = "cache_creation_input_tokens",
        /// Prompt tokens read from the cache.
        nullable cache_read: u32 = "cache_read_input_tokens",
        /// Tokens generated so far.
        nullable output: u32 = "output_tokens",
    }
}

impl RawLine {
    /// Model that answered.
    pub fn model(&self) -> Option<&str> {
        let message = self.message.as_ref()?;
        message.model.as_ref().map(String::as_str)
    }

    /// The sub-agent that a tool ran.
    pub fn agent_run(&self) -> Option<&str> {
        self.tool_result.as_ref()?.get("agentId")?.as_str()
    }
}
