//! Which physical block holds what, where a pool assigns physical blocks.

use super::by_content::ByIndex;
use model::LineageId;

/// Physical blocks of registered content: by lineage and copy.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    lineages: Vec<Vec<ByIndex>>,
}

impl Places {
    pub(super) fn get(&self, lineage: LineageId, copy: u32) -> &ByIndex {
        &self.lineages[lineage.index()][copy as usize]
    }

    pub(super) fn get_mut(&mut self, lineage: LineageId, copy: u32) -> &mut ByIndex {
        let (at, copy) = (lineage.index(), copy as usize);
        if self.lineages.len() <= at {
            self.lineages.resize_with(at + 1, Vec::new);
        }
        let copies = &mut self.lineages[at];
        if copies.len() <= copy {
            copies.resize_with(copy + 1, ByIndex::default);
        }
        &mut copies[copy]
    }
}
