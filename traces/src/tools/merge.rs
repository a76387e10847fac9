//! Several traces in one.
//!
//! Sessions of each file follow those of the file before, under names with the file's label in front. Start times stay,
//! so the files run side by side, all from 0. Block ids and shared prefixes of different files name different content, unless it is
//! said that they do not.

use super::rename::rename;
use crate::TraceError;
use crate::format::{BLOCK_ID_END, HashScope, Meta, Session};
use crate::import::Sink;

/// What equal block ids and prefix ids in different files mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Different content.
    Apart,
    /// The same content.
    Shared,
}

/// Puts labelled traces into one sink: [`Merge::begin`], then the trace, for each.
pub struct Merge<'a> {
    sink: &'a mut dyn Sink,
    content: Content,
    first: Option<Meta>,
    labels: Vec<String>,
    /// Added to block ids of the current file.
    offset: u64,
    /// Above every block id so far.
    end: u64,
}

impl<'a> Merge<'a> {
    /// Into `sink`.
    pub fn new(content: Content, sink: &'a mut dyn Sink) -> Self {
        Self {
            sink,
            content,
            first: None,
            labels: Vec::new(),
            offset: 0,
            end: 0,
        }
    }

    /// The next trace comes from the file of this stem; a label that was used before gets a number.
    pub fn begin(&mut self, stem: &str) {
        let mut label = stem.to_owned();
        let mut copy = 2;
        while self.labels.contains(&label) {
            label = format!("{stem}-{copy}");
            copy += 1;
        }
        self.labels.push(label);
        if self.content == Content::Apart {
            self.offset = self.end;
        }
    }

    fn label(&self) -> &str {
        self.labels.last().expect("a trace was begun")
    }

    fn name(&self, sid: &str) -> String {
        format!("{}/{sid}", self.label())
    }

    /// Whether block ids mean something across sessions.
    fn is_global(&self) -> bool {
        let scope = self.first.as_ref().and_then(|meta| meta.hash_scope.value());
        scope == Some(HashScope::Global)
    }
}

impl Sink for Merge<'_> {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        let Some(first) = &mut self.first else {
            self.first = Some(meta.clone());
            let mut merged = meta.clone();
            "merged".clone_into(&mut merged.source);
            return self.sink.meta(&merged);
        };
        let differs = if first.block_size.value() != meta.block_size.value()
            || first.hash_scope.value() != meta.hash_scope.value()
        {
            Some("size or scope of their prefix blocks")
        } else if first.gap_semantics != meta.gap_semantics {
            Some("what a wait spans")
        } else if first.has_common_clock() != meta.has_common_clock() {
            Some("whether their sessions have a common clock")
        } else {
            None
        };
        match differs {
            None => Ok(()),
            Some(what) => Err(TraceError::Parameters(format!(
                "the traces `{}` and `{}` differ in {what}, so they cannot be merged; run them one by one",
                self.labels[0],
                self.label()
            ))),
        }
    }

    fn session(&mut self, mut session: Session) -> Result<(), TraceError> {
        rename(&mut session, |sid| self.name(sid));
        if self.content == Content::Apart {
            for part in session.shared_prefix.iter_mut().flatten() {
                part.id = self.name(&part.id);
            }
        }
        let is_global = self.is_global();
        for call in &mut session.calls {
            if let Some(blocks) = call.blocks.as_mut().filter(|_| is_global) {
                for (first, count) in &mut blocks.add {
                    let moved = first.checked_add(self.offset);
                    *first = moved.filter(|id| *id < BLOCK_ID_END).ok_or_else(|| {
                        TraceError::Parameters(format!(
                            "block ids of `{}` leave no room for those of another trace; merge it last, or say that \
                             content is shared",
                            self.labels[0]
                        ))
                    })?;
                    self.end = self.end.max(*first + u64::from(*count));
                }
            }
        }
        self.sink.session(session)
    }
}
