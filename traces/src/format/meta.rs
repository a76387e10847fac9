//! The first line of a trace: where it comes from and how to read it.

use serde::{Deserialize, Serialize};

use super::Extra;
use super::record::record;

record! {
    /// What holds for every session of the file.
    pub struct Meta tagged "meta" {
        /// Short name of the data set or generator.
        required source: String = "source",
        /// Where the data was obtained: repository and commit, file name, or the generator's parameters.
        required origin: String = "origin",
        /// Licence of the data.
        required license: String = "license",
        /// Tokens per prefix block, where calls have `blocks`.
        nullable block_size: u32 = "block_size",
        /// How far a block id reaches.
        nullable hash_scope: HashScope = "hash_scope",
        /// Tokenizer that the counts refer to.
        nullable tokenizer: String = "tokenizer",
        /// What `gap_ms` spans.
        required gap_semantics: GapSemantics = "gap_semantics",
        /// Anything else worth keeping.
        optional x: Extra = "x",
    }
}

impl Meta {
    /// Whether the start times of different sessions lie on one clock. Assumed, unless the importer
    /// noted `"common_clock": false` in `x`.
    pub fn has_common_clock(&self) -> bool {
        let noted = self.x.as_ref().and_then(|x| x.get(COMMON_CLOCK));
        noted.and_then(serde_json::Value::as_bool).unwrap_or(true)
    }

    /// The same, saying whether start times of different sessions lie on one clock.
    #[must_use]
    pub(crate) fn with_common_clock(mut self, has_clock: bool) -> Self {
        if !has_clock {
            let x = self.x.get_or_insert_default();
            x.insert(COMMON_CLOCK.to_owned(), false.into());
        }
        self
    }

    /// What the importer had to say about the source, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let noted = self.x.as_ref().and_then(|x| x.get(WARNINGS));
        let sentences = noted.and_then(serde_json::Value::as_array);
        let sentences = sentences.into_iter().flatten();
        sentences
            .filter_map(|sentence| sentence.as_str().map(str::to_owned))
            .collect()
    }
}

/// Key in `x` under which an importer keeps its warnings.
pub(crate) const WARNINGS: &str = "warnings";

/// Key in `x` with which an importer says that start times of different sessions cannot be compared.
const COMMON_CLOCK: &str = "common_clock";

/// How far a block id reaches: equal ids mean equal content within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashScope {
    /// Within one session and its sub-agents.
    Session,
    /// Everywhere in the file.
    Global,
}

/// What `gap_ms` spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapSemantics {
    /// From the end of the call waited for to the dispatch of this one: the client's time alone.
    #[default]
    EndOfDependencyToDispatch,
    /// From start to start: contains the recorded system's service time.
    StartToStart,
}
