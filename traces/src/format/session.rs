//! A session: its place among the others, and its calls.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::record::record;
use super::{Call, Extra, Millis};

record! {
    /// One agent's run.
    pub struct Session tagged "session" {
        /// Name, unique in the file.
        required sid: String = "sid",
        /// Class of agent: coding, office, function_calling, …
        optional cls: String = "cls",
        /// Start on the clock of the file; absent or null where the source has none.
        nullable start_ms: Millis = "start_ms",
        /// Who ran it.
        optional user: String = "user",
        /// What it was asked to do.
        optional task: String = "task",
        /// Configuration it ran under.
        optional config: String = "config",
        /// First tokens of every prompt, in order; an equal id means equal content in every session.
        optional shared_prefix: Vec<SharedPrefix> = "shared_prefix",
        /// For a sub-agent: who spawned it.
        optional parent: ParentLink = "parent",
        /// Its LLM calls, numbered from 0. At least one.
        required calls: Vec<Call> = "calls",
        /// Unmapped fields of the source, verbatim.
        optional x: Extra = "x",
    }
}

record! {
    /// A stretch of prompt that sessions share.
    pub struct SharedPrefix {
        /// Equal id, equal content.
        required id: String = "id",
        /// Length.
        required tokens: u32 = "tokens",
    }
}

record! {
    /// The call that spawned a sub-agent.
    pub struct Parent {
        /// The parent session.
        required sid: String = "sid",
        /// The call of the parent that issued the spawning tool.
        required call: u32 = "call",
        /// From the end of that call to the start of the sub-agent.
        required offset_ms: Millis = "offset_ms",
        /// The call of the parent that waits for the sub-agent's end.
        optional join: u32 = "join",
    }
}

/// What a sub-agent's session knows of its parent.
#[derive(Clone, Debug, PartialEq)]
pub enum ParentLink {
    /// Its name alone, written as a string: the spawning call is unknown, and `start_ms` of both lie on one clock.
    Session(String),
    /// The call that spawned it.
    Call(Parent),
}

impl ParentLink {
    /// Name of the parent session.
    pub fn sid(&self) -> &str {
        match self {
            Self::Session(sid) => sid,
            Self::Call(parent) => &parent.sid,
        }
    }
}

impl Serialize for ParentLink {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Session(sid) => serializer.serialize_str(sid),
            Self::Call(parent) => parent.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ParentLink {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LinkVisitor;
        impl<'de> de::Visitor<'de> for LinkVisitor {
            type Value = ParentLink;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a session id, or { sid, call, offset_ms }")
            }

            fn visit_str<E: de::Error>(self, sid: &str) -> Result<ParentLink, E> {
                Ok(ParentLink::Session(sid.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ParentLink, A::Error> {
                Parent::deserialize(MapAccessDeserializer::new(map)).map(ParentLink::Call)
            }
        }
        deserializer.deserialize_any(LinkVisitor)
    }
}
