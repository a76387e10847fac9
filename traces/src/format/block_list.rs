//! Prefix blocks of a prompt, as runs of consecutive ids.
//!
//! Prompts of a hundred thousand tokens have thousands of blocks but a handful of runs, because a source
//! numbers blocks as it first sees them. A list is built while the JSON array is parsed; the array itself
//! never exists.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Blocks `first`, `first + 1`, … `first + len - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Id of the first block.
    pub first: u64,
    /// Number of blocks, at least 1.
    pub len: u32,
}

/// Ids stay below this, so that the end of a run cannot overflow.
pub(crate) const BLOCK_ID_END: u64 = 1 << 63;

/// Block ids in prompt order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockList {
    runs: Vec<Run>,
    len: u64,
}

impl BlockList {
    /// The runs, maximal and in order.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Number of blocks.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends one block.
    #[inline]
    pub fn push(&mut self, id: u64) {
        self.push_run(Run { first: id, len: 1 });
    }

    /// Appends a run; one of no blocks changes nothing.
    #[inline]
    pub fn push_run(&mut self, run: Run) {
        if run.len == 0 {
            return;
        }
        self.len += u64::from(run.len);
        if let Some(last) = self.runs.last_mut()
            && last.first.checked_add(u64::from(last.len)) == Some(run.first)
            && let Some(len) = last.len.checked_add(run.len)
        {
            last.len = len;
            return;
        }
        self.runs.push(run);
    }

    /// Keeps the first `len` blocks.
    pub fn truncate(&mut self, len: u64) {
        while self.len > len {
            let last = self.runs.last_mut().expect("a list with blocks has runs");
            let surplus = self.len - len;
            if surplus >= u64::from(last.len) {
                self.len -= u64::from(last.len);
                self.runs.pop();
            } else {
                last.len -= surplus as u32;
                self.len = len;
            }
        }
    }

    /// Number of leading blocks in which both lists agree.
    pub fn common_prefix(&self, other: &Self) -> u64 {
        let mut common = 0;
        for (a, b) in self.runs.iter().zip(&other.runs) {
            if a.first != b.first {
                break;
            }
            common += u64::from(a.len.min(b.len));
            if a.len != b.len {
                break;
            }
        }
        common
    }

    /// The runs from block `start` on.
    pub fn runs_from(&self, start: u64) -> Vec<Run> {
        let mut skip = start;
        let mut rest = Vec::new();
        for run in &self.runs {
            if skip >= u64::from(run.len) {
                skip -= u64::from(run.len);
            } else {
                rest.push(Run {
                    first: run.first + skip,
                    len: run.len - skip as u32,
                });
                skip = 0;
            }
        }
        rest
    }

    /// Turns this list, the predecessor's, into that of a call with `blocks`.
    pub fn apply(&mut self, blocks: &super::Blocks) {
        self.truncate(u64::from(blocks.keep));
        for &(first, len) in &blocks.add {
            self.push_run(Run { first, len });
        }
    }

    /// This list as a change to `previous`; the inverse of [`BlockList::apply`].
    pub fn diff(&self, previous: &Self) -> super::Blocks {
        let keep = self.common_prefix(previous);
        let add = self
            .runs_from(keep)
            .iter()
            .map(|run| (run.first, run.len))
            .collect();
        let keep = u32::try_from(keep).expect("prompts have fewer than 2^32 blocks");
        super::Blocks {
            keep,
            add,
            ..super::Blocks::default()
        }
    }
}

impl FromIterator<u64> for BlockList {
    fn from_iter<I: IntoIterator<Item = u64>>(ids: I) -> Self {
        let mut list = Self::default();
        for id in ids {
            list.push(id);
        }
        list
    }
}

impl Serialize for BlockList {
    /// As an array of ids.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.runs
                .iter()
                .flat_map(|r| r.first..r.first + u64::from(r.len)),
        )
    }
}

impl<'de> Deserialize<'de> for BlockList {
    /// From an array of ids.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor;
        impl<'de> de::Visitor<'de> for ListVisitor {
            type Value = BlockList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of block ids")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut ids: A) -> Result<BlockList, A::Error> {
                let mut list = BlockList::default();
                let Some(first) = ids.next_element::<u64>()? else {
                    return Ok(list);
                };
                check_id(first)?;
                // The run that grows is kept in registers; most ids do nothing but lengthen it.
                let mut run = Run { first, len: 1 };
                while let Some(id) = ids.next_element::<u64>()? {
                    if id.wrapping_sub(run.first) == u64::from(run.len) && run.len < u32::MAX {
                        run.len += 1;
                    } else {
                        check_id(id)?;
                        list.push_run(run);
                        run = Run { first: id, len: 1 };
                    }
                }
                list.push_run(run);
                Ok(list)
            }
        }
        deserializer.deserialize_seq(ListVisitor)
    }
}

fn check_id<E: de::Error>(id: u64) -> Result<(), E> {
    if id < BLOCK_ID_END {
        return Ok(());
    }
    Err(E::invalid_value(
        de::Unexpected::Unsigned(id),
        &"a block id below 2^63",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expand(list: &BlockList) -> Vec<u64> {
        list.runs()
            .iter()
            .flat_map(|r| r.first..r.first + u64::from(r.len))
            .collect()
    }

    #[test]
    fn consecutive_ids_form_one_run() {
        let list: BlockList = serde_json::from_str("[1,2,3,40,41,3]").unwrap();
        let runs = [(1, 3), (40, 2), (3, 1)].map(|(first, len)| Run { first, len });
        assert_eq!(list.runs(), runs);
        assert_eq!(list.len(), 6);
    }

    #[test]
    fn an_id_that_is_no_number_is_refused() {
        assert!(serde_json::from_str::<BlockList>("[1,-2]").is_err());
        assert!(serde_json::from_str::<BlockList>("[1,2.5]").is_err());
        assert!(serde_json::from_str::<BlockList>("7").is_err());
        assert!(serde_json::from_str::<BlockList>("[1,18446744073709551615]").is_err());
        assert!(serde_json::from_str::<BlockList>("[18446744073709551615]").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Small ids make equal prefixes and adjacent runs likely.
        #[test]
        fn a_list_behaves_as_the_plain_vector_of_its_ids(
            a in prop::collection::vec(0_u64..6, 0..12),
            b in prop::collection::vec(0_u64..6, 0..12),
            cut in 0_u64..14,
        ) {
            let (x, y): (BlockList, BlockList) = (a.iter().copied().collect(), b.iter().copied().collect());
            prop_assert_eq!(expand(&x), a.clone());
            prop_assert_eq!(&serde_json::from_str::<BlockList>(&serde_json::to_string(&a).unwrap()).unwrap(), &x);
            let common = a.iter().zip(&b).take_while(|(p, q)| p == q).count();
            prop_assert_eq!(x.common_prefix(&y), common as u64);
            let mut rebuilt = x.clone();
            rebuilt.apply(&y.diff(&x));
            prop_assert_eq!(expand(&rebuilt), b);
            let mut short = x.clone();
            short.truncate(cut);
            prop_assert_eq!(expand(&short), a.iter().copied().take(cut as usize).collect::<Vec<_>>());
            prop_assert_eq!(short.len(), cut.min(a.len() as u64));
        }
    }
}
