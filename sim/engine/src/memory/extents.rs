//! Which content a pool holds: per lineage and copy, a sorted list of extents that do not overlap.
//!
//! An extent is a run of blocks with one reference count. At count 0 it is in the free queue, as exactly one node.
//! Lists are short (one or two extents for most sessions), so they are vectors.

use super::queue::{NIL, NodeId};
use model::LineageId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub lo: u32,
    pub hi: u32,
    pub refs: u32,
    /// Node of the free queue; [`NIL`] exactly if `refs > 0`.
    pub node: NodeId,
}

impl Extent {
    pub(super) fn len(&self) -> u32 {
        self.hi - self.lo
    }
}

/// Extents of one copy of one lineage, sorted by `lo`.
pub(super) type Extents = Vec<Extent>;

/// All copies of all lineages.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// By lineage: the first copy, which is nearly always the only one.
    first: Vec<Extents>,
    /// Further copies: (lineage, copies from 1 on), sorted by lineage. Nearly always empty.
    more: std::collections::BTreeMap<LineageId, Vec<Extents>>,
}

impl Index {
    pub(super) fn copies(&self, lineage: LineageId) -> u32 {
        1 + self.more.get(&lineage).map_or(0, Vec::len) as u32
    }

    pub(super) fn get(&self, lineage: LineageId, copy: u32) -> &[Extent] {
        if copy == 0 {
            self.first.get(lineage.index()).map_or(&[], Vec::as_slice)
        } else {
            &self.more[&lineage][copy as usize - 1]
        }
    }

    pub(super) fn get_mut(&mut self, lineage: LineageId, copy: u32) -> &mut Extents {
        if copy == 0 {
            if self.first.len() <= lineage.index() {
                self.first.resize_with(lineage.index() + 1, Vec::new);
            }
            &mut self.first[lineage.index()]
        } else {
            let copies = self.more.entry(lineage).or_default();
            while copies.len() < copy as usize {
                copies.push(Vec::new());
            }
            &mut copies[copy as usize - 1]
        }
    }

    /// Forgets copies that hold nothing, from the last one down.
    pub(super) fn trim(&mut self, lineage: LineageId) {
        if let Some(copies) = self.more.get_mut(&lineage) {
            while copies.last().is_some_and(Vec::is_empty) {
                copies.pop();
            }
            if copies.is_empty() {
                self.more.remove(&lineage);
            }
        }
    }

    /// The first registered block of content `index`: its copy, and how far that answer holds (exclusive end).
    pub(super) fn find(&self, lineage: LineageId, index: u32) -> Option<(u32, Extent, u32)> {
        let first = self.get(lineage, 0);
        if let Some(at) = covering(first, index) {
            return Some((0, first[at], first[at].hi));
        }
        let copies = self.more.get(&lineage)?;
        let mut end = next_start(first, index);
        for (i, extents) in copies.iter().enumerate() {
            if let Some(at) = covering(extents, index) {
                return Some((i as u32 + 1, extents[at], extents[at].hi.min(end)));
            }
            end = end.min(next_start(extents, index));
        }
        None
    }

    /// The copy number that content `index` registered now gets, and how far that answer holds.
    pub(super) fn next_copy(&self, lineage: LineageId, index: u32) -> (u32, u32) {
        let mut end = u32::MAX;
        for copy in (0..self.copies(lineage)).rev() {
            let extents = self.get(lineage, copy);
            if let Some(at) = covering(extents, index) {
                return (copy + 1, end.min(extents[at].hi));
            }
            end = end.min(next_start(extents, index));
        }
        (0, end)
    }
}

/// Position of the extent that covers `index`.
pub(super) fn covering(extents: &[Extent], index: u32) -> Option<usize> {
    // The last extent is asked for most often: contexts grow at their end.
    match extents.last() {
        None => return None,
        Some(last) if index >= last.lo => {
            return (index < last.hi).then_some(extents.len() - 1);
        }
        Some(_) => {}
    }
    let after = extents.partition_point(|e| e.lo <= index);
    (after > 0 && index < extents[after - 1].hi).then(|| after - 1)
}

/// Start of the first extent beyond `index`.
fn next_start(extents: &[Extent], index: u32) -> u32 {
    let after = extents.partition_point(|e| e.lo <= index);
    extents.get(after).map_or(u32::MAX, |e| e.lo)
}

/// Inserts a referenced extent `lo..hi` with one reference; it must not overlap any. Joined with its neighbours where
/// they have one reference too.
pub(super) fn insert_held(extents: &mut Extents, lo: u32, hi: u32) {
    let at = match extents.last() {
        Some(last) if last.hi <= lo => extents.len(),
        _ => extents.partition_point(|e| e.lo < lo),
    };
    debug_assert!(
        at == 0 || extents[at - 1].hi <= lo,
        "overlaps its left neighbour"
    );
    debug_assert!(
        extents.get(at).is_none_or(|e| hi <= e.lo),
        "overlaps its right neighbour"
    );
    let joins = |e: &Extent| e.refs == 1;
    let left = at > 0 && extents[at - 1].hi == lo && joins(&extents[at - 1]);
    let right = extents.get(at).is_some_and(|e| e.lo == hi && joins(e));
    match (left, right) {
        (true, true) => {
            extents[at - 1].hi = extents[at].hi;
            extents.remove(at);
        }
        (true, false) => extents[at - 1].hi = hi,
        (false, true) => extents[at].lo = lo,
        (false, false) => extents.insert(
            at,
            Extent {
                lo,
                hi,
                refs: 1,
                node: NIL,
            },
        ),
    }
}

/// Joins the extents `from..=to` (positions) and their neighbours where reference counts above 0 are equal.
pub(super) fn join(extents: &mut Extents, from: usize, to: usize) {
    let mut at = (to + 1).min(extents.len().saturating_sub(1));
    let stop = from.saturating_sub(1);
    while at > stop {
        let (left, right) = (extents[at - 1], extents[at]);
        if left.hi == right.lo && left.refs == right.refs && left.refs > 0 {
            extents[at - 1].hi = right.hi;
            extents.remove(at);
        }
        at -= 1;
    }
}
