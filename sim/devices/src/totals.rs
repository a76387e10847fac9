//! What the cost of a step depends on.

use engine::device::{PrefillChunk, QUERY_TILE, StepShape};

/// Sums over a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepTotals {
    /// Prompt tokens.
    pub prefill_tokens: u32,
    /// Context and tokens of all prompt chunks.
    pub prefill_kv_tokens: u64,
    /// Pairs of a prompt token and a token that it attends to.
    pub prefill_pairs: u64,
    /// KV tokens that tiles of prompt tokens read.
    pub prefill_tile_kv_tokens: u64,
    /// Decoding sequences.
    pub decode_seqs: u32,
    /// KV tokens that these read.
    pub decode_kv_tokens: u64,
}

impl StepTotals {
    /// Of a step.
    pub fn of(shape: &StepShape) -> Self {
        Self {
            prefill_tokens: shape.prefill_tokens(),
            prefill_kv_tokens: shape.kv_tokens() - shape.decode_kv_tokens,
            prefill_pairs: shape.prefill_pairs(),
            prefill_tile_kv_tokens: shape.prefill_tile_kv_tokens(),
            decode_seqs: shape.decode_seqs,
            decode_kv_tokens: shape.decode_kv_tokens,
        }
    }

    /// Tiles that its prompt tokens fill, side by side.
    pub fn prefill_tiles(&self) -> u32 {
        self.prefill_tokens.div_ceil(QUERY_TILE)
    }

    /// KV tokens that the mean one of these reads.
    pub fn mean_tile_kv_tokens(&self) -> u64 {
        self.prefill_tile_kv_tokens / u64::from(self.prefill_tiles().max(1))
    }

    /// Earlier KV tokens that its prompts attend to.
    pub fn context(&self) -> u64 {
        self.prefill_kv_tokens
            .saturating_sub(self.prefill_tokens.into())
    }

    /// Earlier KV tokens that tiles read: what they read beyond those of one prompt alone, whose tiles read one tile, two, and so on. Several prompts
    /// read less of themselves; each context is read once at least.
    pub(crate) fn tile_context(&self) -> u64 {
        let tiles = u64::from(self.prefill_tiles());
        let alone = u64::from(QUERY_TILE) * tiles * (tiles + 1) / 2;
        self.prefill_tile_kv_tokens
            .saturating_sub(alone)
            .max(self.context())
    }

    /// With what tiles read; where that was not recorded, as tokens, KV tokens and pairs tell it: exactly of one chunk. Of several the last tile
    /// of each is taken to be half full.
    #[must_use]
    pub fn with_tiles(self, recorded: Option<u64>) -> Self {
        Self {
            prefill_tile_kv_tokens: recorded.unwrap_or_else(|| self.tiles_of_sums()),
            ..self
        }
    }

    fn tiles_of_sums(&self) -> u64 {
        let kv = self.prefill_kv_tokens;
        let chunk = PrefillChunk {
            tokens: self.prefill_tokens,
            context: self.context() as u32,
        };
        let one = Self::of(&StepShape {
            prefill: vec![chunk],
            ..StepShape::default()
        });
        if self.prefill_pairs == one.prefill_pairs {
            return one.prefill_tile_kv_tokens;
        }
        kv.max(self.prefill_pairs / u64::from(QUERY_TILE) + kv / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(chunks: &[(u32, u32)]) -> StepTotals {
        let prefill = chunks
            .iter()
            .map(|&(tokens, context)| PrefillChunk { tokens, context });
        StepTotals::of(&StepShape {
            prefill: prefill.collect(),
            ..StepShape::default()
        })
    }

    fn told(totals: StepTotals) -> u64 {
        totals.with_tiles(None).prefill_tile_kv_tokens
    }

    #[test]
    fn a_tile_reads_what_its_last_token_attends_to() {
        // 128 + 256 + 300 of a prompt, 1,000 more of each tile behind as many.
        assert_eq!(of(&[(300, 0)]).prefill_tile_kv_tokens, 684);
        assert_eq!(of(&[(300, 1_000)]).prefill_tile_kv_tokens, 3_684);
        assert_eq!(of(&[(300, 1_000)]).mean_tile_kv_tokens(), 1_228);
        assert_eq!(of(&[(256, 0)]).prefill_tile_kv_tokens, 384);
        assert_eq!(of(&[]).mean_tile_kv_tokens(), 0);
    }

    #[test]
    fn sums_tell_what_the_tiles_of_one_chunk_read_and_nearly_those_of_several() {
        for one in [(1, 0), (90, 120_000), (200, 1_500), (4_096, 4_096)] {
            let totals = of(&[one]);
            assert_eq!(told(totals), totals.prefill_tile_kv_tokens, "{one:?}");
        }
        for several in [
            vec![(201, 1_300), (201, 1_700), (201, 900)],
            vec![(24, 4_000), (8, 2_000)],
            vec![(1_500, 0), (700, 1_200)],
        ] {
            let totals = of(&several);
            let off = told(totals) as f64 / totals.prefill_tile_kv_tokens as f64 - 1.0;
            assert!(off.abs() < 0.08, "{several:?}: {off}");
        }
    }
}
