//! A number for some blocks of content, found by content id.
//!
//! ```text
//!   lineage 0 ──► from index  0:  7  8  9  –  4  5
//!   lineage 1 ──► from index 40:  2  3
//! ```
//!
//! Contexts are read from one end to the other and grow at their end. A vector per lineage therefore serves: nothing is hashed, a run of
//! blocks is a slice, and a lineage that is a session's own begins where it left the context it shares.

use model::{ContentId, LineageId};

/// No number.
pub(super) const NONE: u32 = u32::MAX;

/// Numbers by content id; [`NONE`] is none of them.
#[derive(Clone, Debug, Default)]
pub(super) struct ByContent {
    lineages: Vec<ByIndex>,
}

impl ByContent {
    pub fn get(&self, content: ContentId) -> Option<u32> {
        self.lineages
            .get(content.lineage.index())?
            .get(content.index)
    }

    /// Returns what was there before.
    pub fn insert(&mut self, content: ContentId, value: u32) -> Option<u32> {
        self.lineage(content.lineage).insert(content.index, value)
    }

    /// Returns what was there.
    pub fn remove(&mut self, content: ContentId) -> Option<u32> {
        self.lineages
            .get_mut(content.lineage.index())?
            .remove(content.index)
    }

    fn lineage(&mut self, lineage: LineageId) -> &mut ByIndex {
        let at = lineage.index();
        if self.lineages.len() <= at {
            self.lineages.resize_with(at + 1, ByIndex::default);
        }
        &mut self.lineages[at]
    }
}

/// Numbers of one lineage by index.
///
/// **Invariant:** the vector is empty if it has no numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct ByIndex {
    /// Index of the first entry.
    base: u32,
    values: Vec<u32>,
    /// Entries that are numbers.
    count: u32,
}

impl ByIndex {
    pub fn get(&self, index: u32) -> Option<u32> {
        let at = index.checked_sub(self.base)? as usize;
        self.values.get(at).copied().filter(|&value| value != NONE)
    }

    /// Numbers of `lo..hi`, all of which have one.
    pub fn slice(&self, lo: u32, hi: u32) -> &[u32] {
        &self.values[(lo - self.base) as usize..(hi - self.base) as usize]
    }

    /// Returns what was there before.
    pub fn insert(&mut self, index: u32, value: u32) -> Option<u32> {
        debug_assert_ne!(value, NONE, "that is no number");
        if self.values.is_empty() {
            self.base = index;
        } else if index < self.base {
            let before = (self.base - index) as usize;
            self.values.splice(0..0, std::iter::repeat_n(NONE, before));
            self.base = index;
        }
        let at = (index - self.base) as usize;
        if self.values.len() <= at {
            self.values.resize(at + 1, NONE);
        }
        let old = std::mem::replace(&mut self.values[at], value);
        self.count += u32::from(old == NONE);
        (old != NONE).then_some(old)
    }

    /// Returns what was there.
    pub fn remove(&mut self, index: u32) -> Option<u32> {
        let at = index.checked_sub(self.base)? as usize;
        let old = std::mem::replace(self.values.get_mut(at)?, NONE);
        if old == NONE {
            return None;
        }
        self.count -= 1;
        if self.count == 0 {
            // Most lineages end for good.
            self.values = Vec::new();
        }
        Some(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn it_is_a_map_from_content_to_numbers(
            history in prop::collection::vec((0..3u32, 0..20u32, prop::option::of(0..100u32)), 0..200),
        ) {
            let (mut map, mut naive) = (ByContent::default(), HashMap::new());
            for (lineage, index, value) in history {
                let content = ContentId { lineage: LineageId(lineage), index };
                if let Some(value) = value {
                    prop_assert_eq!(map.insert(content, value), naive.insert(content, value));
                } else {
                    prop_assert_eq!(map.remove(content), naive.remove(&content));
                }
                for index in 0..20 {
                    let content = ContentId { index, ..content };
                    prop_assert_eq!(map.get(content), naive.get(&content).copied());
                }
                let one = &map.lineages[..];
                let numbers = one.iter().map(|one| one.values.iter().filter(|&&v| v != NONE).count());
                prop_assert_eq!(numbers.sum::<usize>(), naive.len());
                prop_assert!(one.iter().all(|one| (one.count == 0) == one.values.is_empty()));
            }
        }
    }

    #[test]
    fn a_run_of_blocks_is_a_slice() {
        let mut map = ByIndex::default();
        for (index, value) in [(41, 5), (42, 6), (40, 4)] {
            map.insert(index, value);
        }
        assert_eq!(map.slice(40, 43), [4, 5, 6]);
    }
}
