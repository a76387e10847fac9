//! What each position of a session's context holds.
//!
//! Position *i* (a block of the context) holds block `index` of a lineage. A session that only grows has one lineage of its
//! own, behind a shared prefix perhaps; where history is rewritten, a new lineage begins at the first block that changed.

use model::{ContentId, ContentRun, LineageId, SharedPrefix};
use std::collections::HashMap;

/// Hands out lineages.
#[derive(Clone, Debug, Default)]
pub struct Lineages {
    next: u32,
    prefixes: HashMap<u64, LineageId>,
    streams: HashMap<u64, LineageId>,
}

impl Lineages {
    /// One that nobody has.
    pub fn fresh(&mut self) -> LineageId {
        let id = LineageId(self.next);
        self.next += 1;
        id
    }

    fn of_prefix(&mut self, id: u64) -> LineageId {
        if let Some(&lineage) = self.prefixes.get(&id) {
            return lineage;
        }
        let lineage = self.fresh();
        self.prefixes.insert(id, lineage);
        lineage
    }

    fn of_stream(&mut self, id: u64) -> LineageId {
        if let Some(&lineage) = self.streams.get(&id) {
            return lineage;
        }
        let lineage = self.fresh();
        self.streams.insert(id, lineage);
        lineage
    }
}

/// From position `position` on (up to the next piece): blocks of `lineage` from `index` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    position: u32,
    lineage: LineageId,
    index: u32,
    /// Whether other sessions can have this content too.
    shared: bool,
}

/// The content of a session's context, open at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pieces: Vec<Piece>,
}

impl Content {
    /// The content of a new session whose prompts begin with the prefixes `shared`, each common to all that name it. A
    /// block in which one of them ends belongs to the next.
    pub fn new(lineages: &mut Lineages, shared: &[SharedPrefix], block: u32) -> Self {
        let mut content = Self::default();
        let mut start = 0;
        for prefix in shared {
            let end = prefix.tokens.0 / block;
            if end > start {
                let lineage = lineages.of_prefix(prefix.id);
                content.pieces.push(Piece {
                    position: start,
                    lineage,
                    index: start,
                    shared: true,
                });
                start = end;
            }
        }
        content.begin(lineages, start);
        content
    }

    /// From block `position` on, the context is new.
    pub fn rewrite_from(&mut self, lineages: &mut Lineages, position: u32) {
        self.pieces.retain(|piece| piece.position < position);
        self.begin(lineages, position);
    }

    /// The leading blocks are what the trace says; what follows is new.
    pub fn replace(&mut self, lineages: &mut Lineages, runs: &[ContentRun]) {
        self.pieces.clear();
        let mut position = 0;
        for run in runs {
            let lineage = lineages.of_stream(run.stream);
            self.pieces.push(Piece {
                position,
                lineage,
                index: run.first,
                shared: true,
            });
            position += run.len;
        }
        self.begin(lineages, position);
    }

    fn begin(&mut self, lineages: &mut Lineages, position: u32) {
        let lineage = lineages.fresh();
        self.pieces.push(Piece {
            position,
            lineage,
            index: position,
            shared: false,
        });
    }

    /// Positions `from..to` as runs of (lineage, first index, length, shared).
    pub fn runs(&self, from: u32, to: u32) -> impl Iterator<Item = (LineageId, u32, u32, bool)> {
        let first = self
            .pieces
            .partition_point(|p| p.position <= from)
            .saturating_sub(1);
        self.pieces[first..]
            .iter()
            .enumerate()
            .map_while(move |(i, piece)| {
                let end = self
                    .pieces
                    .get(first + i + 1)
                    .map_or(u32::MAX, |next| next.position);
                let (lo, hi) = (piece.position.max(from), end.min(to));
                (lo < hi).then(|| {
                    (
                        piece.lineage,
                        piece.index + (lo - piece.position),
                        hi - lo,
                        piece.shared,
                    )
                })
            })
    }

    /// What positions `from..to` hold, one by one.
    pub fn blocks(&self, from: u32, to: u32) -> impl Iterator<Item = ContentId> {
        let runs = self.runs(from, to);
        runs.flat_map(|(lineage, first, len, _)| {
            (first..first + len).map(move |index| ContentId { lineage, index })
        })
    }

    /// Leading positions that hold the same in both.
    pub fn common_blocks(&self, other: &Self) -> u32 {
        let mut at = 0;
        loop {
            let mine = self.runs(at, u32::MAX).next();
            let theirs = other.runs(at, u32::MAX).next();
            match (mine, theirs) {
                (Some(a), Some(b)) if (a.0, a.1) == (b.0, b.1) => at += a.2.min(b.2),
                _ => return at,
            }
        }
    }

    /// What position `position` holds.
    pub fn at(&self, position: u32) -> ContentId {
        let (lineage, index, ..) = self
            .runs(position, position + 1)
            .next()
            .expect("content is open at its end");
        ContentId { lineage, index }
    }

    /// Leading positions that other sessions can have too.
    pub fn shared_blocks(&self) -> u32 {
        self.pieces
            .iter()
            .find(|piece| !piece.shared)
            .map_or(0, |piece| piece.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Tokens;

    #[test]
    fn sessions_share_exactly_the_full_blocks_of_their_prefix() {
        let mut lineages = Lineages::default();
        // 40 tokens of 16: two full blocks, the third is partly private.
        let prefix = [SharedPrefix {
            id: 9,
            tokens: Tokens(40),
        }];
        let a = Content::new(&mut lineages, &prefix, 16);
        let b = Content::new(&mut lineages, &prefix, 16);
        assert_eq!((a.at(0), a.at(1)), (b.at(0), b.at(1)));
        assert_ne!(a.at(2), b.at(2));
        assert_eq!(a.shared_blocks(), 2);
    }

    #[test]
    fn sessions_share_the_beginnings_that_both_name_and_no_more() {
        let mut lineages = Lineages::default();
        let prefix = |id, tokens| SharedPrefix {
            id,
            tokens: Tokens(tokens),
        };
        // Tools of 40 tokens, then two system prompts: blocks 0 and 1 are tools alone, and block 2 ends in a system prompt.
        let tools = prefix(1, 40);
        let [a, b, c] = [(2, 96), (3, 96), (2, 96)]
            .map(|(id, tokens)| Content::new(&mut lineages, &[tools, prefix(id, tokens)], 16));
        let bare = Content::new(&mut lineages, &[tools], 16);
        assert_eq!((a.common_blocks(&b), a.common_blocks(&c)), (2, 6));
        assert_eq!(bare.common_blocks(&a), 2);
        assert_eq!((a.shared_blocks(), bare.shared_blocks()), (6, 2));
    }

    #[test]
    fn a_rewrite_keeps_what_lies_before_it() {
        let mut lineages = Lineages::default();
        let mut content = Content::new(&mut lineages, &[], 16);
        let before = content.clone();
        content.rewrite_from(&mut lineages, 5);
        assert_eq!(content.at(4), before.at(4));
        assert_ne!(content.at(5), before.at(5));
        content.rewrite_from(&mut lineages, 2);
        assert_eq!(content.runs(0, 9).count(), 2);
    }

    #[test]
    fn contents_agree_up_to_the_first_block_that_differs() {
        let mut lineages = Lineages::default();
        let run = |stream, first, len| ContentRun { stream, first, len };
        let (mut a, mut b) = (Content::default(), Content::default());
        a.replace(&mut lineages, &[run(1, 0, 4), run(2, 0, 4)]);
        b.replace(&mut lineages, &[run(1, 0, 3), run(1, 3, 1), run(2, 0, 2)]);
        // Behind six named blocks, the rest of `b` is its own.
        assert_eq!((a.common_blocks(&b), b.common_blocks(&a)), (6, 6));
        assert_eq!(Content::default().common_blocks(&a), 0);
    }

    #[test]
    fn equal_streams_are_equal_content_at_any_position() {
        let mut lineages = Lineages::default();
        let run = |stream, first, len| ContentRun { stream, first, len };
        let (mut a, mut b) = (Content::default(), Content::default());
        a.replace(&mut lineages, &[run(1, 0, 4), run(2, 0, 4)]);
        b.replace(&mut lineages, &[run(1, 0, 2), run(2, 2, 2)]);
        assert_eq!(a.at(1), b.at(1));
        assert_eq!(a.at(6), b.at(2));
    }
}
