//! Block ids that hold across sessions, as runs of KV blocks in content streams.
//!
//! ```text
//!   hash ids  5 6 7 │ 90 91        (each 512 tokens)
//!   streams   s0: 5 6 7   s1: 90 91
//!   runs      (s0, 0, 96) (s1, 0, 64)   in KV blocks of 16 tokens
//! ```
//!
//! An id seen for the first time gets the next place of the stream that the prompt is on, if it stands at that
//! stream's end, else a stream of its own; so a conversation that grows stays one run. Equal place, equal id:
//! equal content.
//!
//! **Invariant:** an id keeps its place for ever, and no place has two ids.
//! A last block that the prompt does not fill still counts as far as it has whole KV blocks: its id names the content
//! that is there. What another prompt with the block filled shares with it, the trace does not say.

use std::collections::HashMap;

use model::ContentRun;

use crate::TraceError;
use crate::format::BlockList;

/// Places of all block ids met so far.
#[derive(Debug)]
pub struct ContentIndex {
    hash_tokens: u32,
    block_tokens: u32,
    /// Looked up only.
    places: HashMap<u64, Place>,
    /// Number of hash blocks by stream.
    streams: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    stream: usize,
    index: u32,
}

impl ContentIndex {
    /// For hash blocks of `hash_tokens` in a cache with KV blocks of `block_tokens`.
    pub fn new(hash_tokens: u32, block_tokens: u32) -> Result<Self, TraceError> {
        if block_tokens == 0 || !hash_tokens.is_multiple_of(block_tokens) {
            return Err(TraceError::Parameters(format!(
                "the trace identifies content in blocks of {hash_tokens} tokens, which are no whole number of KV \
                 blocks of {block_tokens}; choose a block size that divides {hash_tokens}"
            )));
        }
        Ok(Self {
            hash_tokens,
            block_tokens,
            places: HashMap::new(),
            streams: Vec::new(),
        })
    }

    /// The leading whole KV blocks of a prompt of `input` tokens; `None` if no block id covers one.
    pub fn runs(&mut self, list: &BlockList, input: u32) -> Option<Box<[ContentRun]>> {
        let ratio = self.hash_tokens / self.block_tokens;
        let mut left = input / self.block_tokens;
        let mut runs: Vec<ContentRun> = Vec::new();
        let mut latest: Option<Place> = None;
        for run in list.runs() {
            for id in run.first..run.first + u64::from(run.len) {
                let place = self.place(id, latest);
                latest = Some(place);
                let len = ratio.min(left);
                left -= len;
                let (stream, first) = (place.stream as u64, place.index * ratio);
                match runs.last_mut() {
                    _ if len == 0 => {}
                    Some(run) if run.stream == stream && run.first + run.len == first => {
                        run.len += len;
                    }
                    _ => runs.push(ContentRun { stream, first, len }),
                }
            }
        }
        (!runs.is_empty()).then(|| runs.into_boxed_slice())
    }

    /// Where `id` lies; a new one after `latest`, if that is the end of a stream with room.
    fn place(&mut self, id: u64, latest: Option<Place>) -> Place {
        if let Some(&place) = self.places.get(&id) {
            return place;
        }
        let len_max = u32::MAX / (self.hash_tokens / self.block_tokens) - 1;
        let end =
            |place: &Place| self.streams[place.stream] == place.index + 1 && place.index < len_max;
        let place = match latest.filter(end) {
            Some(place) => Place {
                index: place.index + 1,
                ..place
            },
            None => Place {
                stream: self.streams.len(),
                index: 0,
            },
        };
        if place.index == 0 {
            self.streams.push(0);
        }
        self.streams[place.stream] = place.index + 1;
        self.places.insert(id, place);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(ids: &[u64]) -> BlockList {
        ids.iter().copied().collect()
    }

    fn run(stream: u64, first: u32, len: u32) -> ContentRun {
        ContentRun { stream, first, len }
    }

    #[test]
    fn a_prompt_that_grows_stays_one_run_and_a_branch_begins_another() {
        let mut index = ContentIndex::new(512, 16).unwrap();
        // 512 / 16 = 32 KV blocks per id.
        assert_eq!(
            *index.runs(&list(&[0, 1, 2]), 1_536).unwrap(),
            [run(0, 0, 96)]
        );
        // 0 and 1 known, 3 is new and 1 is not the end of its stream.
        assert_eq!(
            *index.runs(&list(&[0, 1, 3]), 1_536).unwrap(),
            [run(0, 0, 64), run(1, 0, 32)]
        );
        // 2 is the end of stream 0, so 9 and 7 extend it.
        assert_eq!(
            *index.runs(&list(&[0, 1, 2, 9, 7]), 2_560).unwrap(),
            [run(0, 0, 160)]
        );
        assert_eq!(*index.runs(&list(&[9]), 512).unwrap(), [run(0, 96, 32)]);
    }

    #[test]
    fn a_partial_last_block_counts_as_far_as_it_fills_kv_blocks() {
        let mut index = ContentIndex::new(512, 16).unwrap();
        // 1,500 / 16 = 93 whole KV blocks.
        assert_eq!(
            *index.runs(&list(&[0, 1, 2]), 1_500).unwrap(),
            [run(0, 0, 93)]
        );
        assert_eq!(index.runs(&list(&[0]), 15), None);
    }

    #[test]
    fn hash_blocks_must_be_whole_kv_blocks() {
        let error = ContentIndex::new(24, 16).unwrap_err().to_string();
        assert!(
            error.contains("24 tokens") && error.contains("KV blocks of 16"),
            "{error}"
        );
        assert!(ContentIndex::new(512, 0).is_err());
    }
}
