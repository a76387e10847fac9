//! The blocks that one holder has: a running turn, a soft pin, a session's place on the host.

use model::{End, LineageId};

/// Blocks `lo..hi` of `lineage`, each the `copy`-th block that holds this content.
///
/// vLLM does not deduplicate: a block computed again gets a block of its own, and a lookup finds the one
/// registered first. Copies are numbered in order of registration, so the smallest number is that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Line of descent.
    pub lineage: LineageId,
    /// Which of the blocks of equal content.
    pub copy: u32,
    /// First index.
    pub lo: u32,
    /// One past the last index.
    pub hi: u32,
}

impl Span {
    /// Blocks in the span.
    pub fn blocks(&self) -> u32 {
        self.hi - self.lo
    }
}

/// Blocks in order of position: registered ones (`spans`), then blank ones that hold nothing complete yet.
///
/// `places` names the physical blocks, one per position, if the pool assigns them; it is empty otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    spans: Vec<Span>,
    registered: u32,
    blank: u32,
    places: Vec<u32>,
}

impl Table {
    /// Blocks in all.
    pub fn blocks(&self) -> u32 {
        self.registered + self.blank
    }

    /// Blocks whose content is registered; they come first.
    pub fn registered(&self) -> u32 {
        self.registered
    }

    /// Blocks without registered content.
    pub fn blank(&self) -> u32 {
        self.blank
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.blocks() == 0
    }

    /// Registered blocks, run-length, in order of position.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Physical blocks by position.
    pub fn places(&self) -> &[u32] {
        &self.places
    }

    pub(super) fn push_span(&mut self, span: Span) {
        self.registered += span.blocks();
        match self.spans.last_mut() {
            Some(last)
                if last.lineage == span.lineage && last.copy == span.copy && last.hi == span.lo =>
            {
                last.hi = span.hi;
            }
            _ => self.spans.push(span),
        }
    }

    pub(super) fn add_blank(&mut self, blocks: u32) {
        self.blank += blocks;
    }

    pub(super) fn sub_blank(&mut self, blocks: u32) {
        self.blank -= blocks;
    }

    pub(super) fn push_place(&mut self, place: u32) {
        self.places.push(place);
    }

    pub(super) fn push_places(&mut self, places: &[u32]) {
        self.places.extend_from_slice(places);
    }

    /// Takes the blank blocks off the end, with their places.
    pub(super) fn split_all_blank(&mut self) -> Table {
        let places = if self.places.is_empty() {
            Vec::new()
        } else {
            self.places.split_off(self.registered as usize)
        };
        Table {
            spans: Vec::new(),
            registered: 0,
            blank: std::mem::take(&mut self.blank),
            places,
        }
    }

    /// Takes the first or last `count` blocks off a table that has only blank ones.
    pub(super) fn split_blank(&mut self, end: End, count: u32) -> Table {
        debug_assert_eq!(self.registered, 0, "a target has only blank blocks");
        let rest = self.blank - count;
        let places = if self.places.is_empty() {
            Vec::new()
        } else {
            match end {
                End::Back => self.places.split_off(rest as usize),
                End::Front => {
                    let back = self.places.split_off(count as usize);
                    std::mem::replace(&mut self.places, back)
                }
            }
        };
        self.blank = rest;
        Table {
            spans: Vec::new(),
            registered: 0,
            blank: count,
            places,
        }
    }

    /// Takes the registered blocks from position `at` on off the end. There must be no blank ones.
    pub(super) fn split_off(&mut self, at: u32) -> Table {
        debug_assert_eq!(self.blank, 0, "blank blocks follow the registered ones");
        let mut tail = Table::default();
        if at >= self.registered {
            return tail;
        }
        let mut position = 0;
        let mut keep = 0;
        for (i, span) in self.spans.iter().enumerate() {
            let end = position + span.blocks();
            if end <= at {
                keep = i + 1;
            } else {
                let cut = span.lo + at.saturating_sub(position);
                tail.push_span(Span { lo: cut, ..*span });
            }
            position = end;
        }
        let mut cut_span = None;
        if let Some(first) = tail.spans.first() {
            let original = self.spans[keep];
            if original.lo < first.lo {
                cut_span = Some(Span {
                    hi: first.lo,
                    ..original
                });
            }
        }
        self.spans.truncate(keep);
        self.spans.extend(cut_span);
        self.registered = at;
        if !self.places.is_empty() {
            tail.places = self.places.split_off(at as usize);
        }
        tail
    }

    /// Appends the blocks of `other`. Neither may have blank ones.
    pub(super) fn append(&mut self, other: &Table) {
        debug_assert_eq!(
            self.blank + other.blank,
            0,
            "only registered blocks are joined"
        );
        for &span in &other.spans {
            self.push_span(span);
        }
        self.places.extend_from_slice(&other.places);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(spans: &[(u32, u32, u32)]) -> Table {
        let mut table = Table::default();
        for &(lineage, lo, hi) in spans {
            table.push_span(Span {
                lineage: LineageId(lineage),
                copy: 0,
                lo,
                hi,
            });
        }
        table
    }

    #[test]
    fn adjacent_spans_of_one_lineage_are_one() {
        assert_eq!(table(&[(7, 0, 3), (7, 3, 5)]).spans().len(), 1);
        assert_eq!(table(&[(7, 0, 3), (8, 3, 5)]).spans().len(), 2);
    }

    #[test]
    fn splitting_and_joining_a_table_gives_it_back() {
        let whole = table(&[(7, 0, 3), (8, 3, 9), (9, 9, 10)]);
        for at in 0..=10 {
            let mut head = whole.clone();
            let tail = head.split_off(at);
            assert_eq!((head.blocks(), tail.blocks()), (at, 10 - at));
            head.append(&tail);
            assert_eq!(head, whole, "split at {at}");
        }
    }
}
