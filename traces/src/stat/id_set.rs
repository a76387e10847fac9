//! A set of block ids, stored as ranges: sources number blocks as they meet them, so ranges are few.

use std::collections::BTreeMap;

use crate::format::{BlockList, Run};

/// Ids seen so far.
#[derive(Debug, Default)]
pub struct IdSet {
    /// End (exclusive) by first id; ranges neither overlap nor touch.
    ranges: BTreeMap<u64, u64>,
}

impl IdSet {
    /// How many leading blocks of `list` are in the set.
    pub fn leading(&self, list: &BlockList) -> u64 {
        let mut count = 0;
        for run in list.runs() {
            let end = run.first + u64::from(run.len);
            let covered = self.covered_until(run.first).min(end);
            count += covered - run.first;
            if covered < end {
                break;
            }
        }
        count
    }

    /// Adds all blocks of `list`.
    pub fn insert(&mut self, list: &BlockList) {
        for &run in list.runs() {
            self.insert_run(run);
        }
    }

    /// The first id at or after `id` that is not in the set.
    fn covered_until(&self, id: u64) -> u64 {
        let range = self.ranges.range(..=id).next_back();
        range.map_or(id, |(_, &end)| end.max(id))
    }

    fn insert_run(&mut self, run: Run) {
        let (mut first, mut end) = (run.first, run.first + u64::from(run.len));
        if self.covered_until(first) >= end {
            return;
        }
        // Every range that overlaps or touches is taken up into the new one.
        while let Some((&low, &high)) = self.ranges.range(..=end).next_back()
            && high >= first
        {
            self.ranges.remove(&low);
            first = first.min(low);
            end = end.max(high);
        }
        self.ranges.insert(first, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn ranges_behave_as_the_plain_set_of_their_ids(
            lists in prop::collection::vec(prop::collection::vec(0_u64..30, 0..8), 1..8)
        ) {
            let (mut set, mut plain) = (IdSet::default(), BTreeSet::new());
            for ids in lists {
                let list: BlockList = ids.iter().copied().collect();
                let leading = ids.iter().take_while(|id| plain.contains(*id)).count() as u64;
                prop_assert_eq!(set.leading(&list), leading);
                set.insert(&list);
                plain.extend(ids);
            }
        }
    }
}
