//! What a step costs on one machine with one model.
//!
//! ```text
//!   t = fixed + gemm(tokens) + Σ chunks ( prefill_token·tokens + prefill_kv_token·(context + tokens)
//!                                       + prefill_pair·(query-key pairs) )
//!             + prefill_attention(tiles of prefill tokens)·KV tokens that the mean tile reads
//!             + prefill_rounds(tiles)·those of them that are earlier context
//!             + decode_seq·sequences + decode_kv_token·KV tokens read + decode_attention(sequences)·their mean context
//!             + context(tiles), if a prompt attends to earlier KV (behind long ones context_long)
//!             + mixed, if there are prompts and decoding sequences
//! ```
//!
//! `gemm` is a table over all tokens of the step, interpolated linearly; everything else is linear in what it counts. A step that only
//! decodes takes another table where there is one: servers run it from a CUDA graph, padded to the graph's batch, and attend by one
//! kernel; a step with prompts is launched kernel by kernel, attends by a second one after it (`mixed`), and by a third one adds up
//! what parts of a context came to (`context`). Tables have a point at
//! either side of a step of the hardware's staircase: 1,024 rows of a product fill tiles that 1,025 overflow.
//! Decode attention may have a staircase of its own: where each sequence and KV head has a number of CTAs, they come in waves of as many as the GPU
//! runs at once, and a KV token of nine sequences may cost a fifth more than one of eight (`decode_attention`). Attention of prompts computes tiles of
//! many tokens: behind a long context 90 tokens take as long as 128, and 145 twice as long (`prefill_attention`), and CTAs of some numbers of tiles
//! leave much of their last round empty (`prefill_rounds`).
//! A step that begins on an idle GPU begins late, and after a pause it takes longer ([`IdleCost`]); behind prompts it takes longer as well, for
//! the card lowers its clock ([`Throttle`]).
//! Coefficients are integer picoseconds; a step is rounded down to a nanosecond once, after the slow-down by copies and load.
//!
//! **What must hold:** from step to step of a decode run the cost grows by a constant, for only the KV tokens grow,
//! so that a run has a [closed form](crate::Ramp).
//! What steps differ by that cost the same is no part of it: a simulation may draw it ([`Jitter`]).

use crate::table::{StepTable, uneven};
use crate::{Jitter, StepTotals, Throttle};
use engine::device::{QUERY_TILE, StepShape};
use model::{Nanos, PrefillEstimate};
use serde::Deserialize;

/// Cost of steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepCost {
    /// Per step \[ps\].
    #[serde(default)]
    pub fixed_ps: u64,
    /// Matrix products, over prefill and decode tokens.
    #[serde(default)]
    pub gemm: StepTable,
    /// The same of steps without prefill tokens. Empty: as `gemm`.
    #[serde(default)]
    pub gemm_decode: StepTable,
    /// Per prefill token, beyond `gemm` \[ps\].
    #[serde(default)]
    pub prefill_token_ps: u64,
    /// Per KV token of the context that a prefill chunk attends to, its own included \[ps\].
    #[serde(default)]
    pub prefill_kv_token_ps: u64,
    /// Per pair of a prefill token and a token that it attends to \[ps\].
    #[serde(default)]
    pub prefill_pair_ps: u64,
    /// Reading a KV token by each [tile](QUERY_TILE) of prompt tokens, over prompt tokens in whole tiles.
    #[serde(default)]
    pub prefill_attention: StepTable,
    /// What reading one of an earlier context takes beyond that, over the same: six or nine tiles of one prompt fill a GPU worse than those that were
    /// timed. Several prompts are taken for one of as many tiles.
    #[serde(default, deserialize_with = "uneven")]
    pub prefill_rounds: StepTable,
    /// Per decoding sequence, beyond `gemm` \[ps\].
    #[serde(default)]
    pub decode_seq_ps: u64,
    /// Per KV token that decoding sequences read, however many they are \[ps\].
    #[serde(default)]
    pub decode_kv_token_ps: u64,
    /// Reading a KV token of each decoding sequence, over sequences.
    #[serde(default)]
    pub decode_attention: StepTable,
    /// Of a step with a prefill chunk behind a context, beyond what its tokens cost \[ps\].
    #[serde(default)]
    pub context_ps: u64,
    /// The same and added to it, over prompt tokens in whole [tiles](QUERY_TILE): more tiles are split into fewer parts. Calibrations have
    /// this one; profiles from before have the other.
    #[serde(default, deserialize_with = "uneven")]
    pub context: StepTable,
    /// That is so if the mean tile reads so many KV tokens: shorter contexts are not split.
    #[serde(default)]
    pub context_from: u32,
    /// The same where tiles read `context_long_from` earlier KV tokens and more in the mean: where the line of long contexts begins, far from the shortest of
    /// them. Up to there the cost goes from `context` to it in a straight line.
    #[serde(default, deserialize_with = "uneven")]
    pub context_long: StepTable,
    /// See `context_long`. 0: there are no long ones \[tokens\].
    #[serde(default)]
    pub context_long_from: u32,
    /// Of a step with prefill tokens and decoding sequences, beyond what either costs \[ps\].
    #[serde(default)]
    pub mixed_ps: u64,
    /// What a step costs beyond all this if it begins on an idle GPU.
    #[serde(default)]
    pub idle: IdleCost,
    /// What steps take longer of late prompts. Everything else is of a rested card.
    #[serde(default)]
    pub throttle: Throttle,
    /// What steps differ by that cost the same.
    #[serde(default)]
    pub jitter: Jitter,
}

/// What a step costs that finds the compute queue empty: one that follows another at once is submitted while that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdleCost {
    /// From its submission to its begin \[ns\]: the server's lists and launches, and the way to the GPU.
    pub dispatch_ns: u64,
    /// A GPU that has computed nothing for so long \[ns\] ..
    pub pause_ns: u64,
    /// .. takes so much longer for the first step \[ns\].
    pub longer_ns: u64,
}

impl IdleCost {
    /// What is added to the first step after the GPU has been idle for `idle` (`None`: since ever).
    pub fn longer(&self, idle: Option<Nanos>) -> Nanos {
        let paused = idle.is_none_or(|idle| idle.0 >= self.pause_ns);
        Nanos(if paused { self.longer_ns } else { 0 })
    }
}

impl StepCost {
    /// t = a + b·prefill tokens + c·decoding sequences + d·KV tokens read: the clock of the vLLM scheduler references.
    /// Their defaults are 8 ms, 70 us, 20 us and 0.3 us.
    pub fn linear(a_ps: u64, b_ps: u64, c_ps: u64, d_ps: u64) -> Self {
        Self {
            fixed_ps: a_ps,
            prefill_token_ps: b_ps,
            prefill_kv_token_ps: d_ps,
            decode_seq_ps: c_ps,
            decode_kv_token_ps: d_ps,
            ..Self::default()
        }
    }

    /// Cost of one step \[ps\].
    pub fn step_ps(&self, shape: &StepShape) -> u64 {
        self.totals_ps(&StepTotals::of(shape))
    }

    /// Cost of one step \[ps\], from what it counts.
    pub fn totals_ps(&self, totals: &StepTotals) -> u64 {
        let tokens = totals.prefill_tokens + totals.decode_seqs;
        let prompts = totals.prefill_tokens > 0;
        let gemm = if prompts || self.gemm_decode.points().is_empty() {
            &self.gemm
        } else {
            &self.gemm_decode
        };
        let own = u64::from(totals.prefill_tokens);
        let once = |ps: u64, when: bool| if when { ps } else { 0 };
        self.fixed_ps
            + gemm.ps(tokens)
            + self.split_ps(totals)
            + once(self.mixed_ps, prompts && totals.decode_seqs > 0)
            + self.prefill_token_ps * own
            + self.prefill_kv_token_ps * totals.prefill_kv_tokens
            + self.prefill_pair_ps * totals.prefill_pairs
            + self.prefill_attention_ps(totals)
            + self.decode_seq_ps * u64::from(totals.decode_seqs)
            + self.decode_kv_token_ps * totals.decode_kv_tokens
            + self.decode_attention_ps(totals)
    }

    /// The table's part of decode attention \[ps\]: a token more in each sequence adds what the table says, and no fraction.
    fn decode_attention_ps(&self, totals: &StepTotals) -> u64 {
        let each = self.decode_attention.ps(totals.decode_seqs);
        times_mean(each, totals.decode_kv_tokens, totals.decode_seqs)
    }

    /// The table's part of the attention of prompts \[ps\].
    fn prefill_attention_ps(&self, totals: &StepTotals) -> u64 {
        let tiles = totals.prefill_tiles();
        if tiles == 0 {
            return 0;
        }
        let table = |table: &StepTable| table.ps(tiles * QUERY_TILE);
        let (read, earlier) = (totals.prefill_tile_kv_tokens, totals.tile_context());
        times_mean(table(&self.prefill_attention), read, tiles)
            + times_mean(table(&self.prefill_rounds), earlier, tiles)
    }

    /// That prompts attend to earlier KV, in parts of it \[ps\].
    fn split_ps(&self, totals: &StepTotals) -> u64 {
        if totals.context() == 0 || totals.mean_tile_kv_tokens() < u64::from(self.context_from) {
            return 0;
        }
        let tiles = totals.prefill_tiles().max(1);
        let short = self.context.ps(tiles * QUERY_TILE);
        let split = match u64::from(self.context_long_from) {
            0 => short,
            from => {
                let long = self.context_long.ps(tiles * QUERY_TILE);
                let reached = (totals.tile_context() / u64::from(tiles)).min(from);
                (short * (from - reached) + long * reached) / from
            }
        };
        self.context_ps + split
    }

    /// What a server would assume of prompts: matrix products at the rate of a step of `step_tokens`, attention by the pair, rounds not counted.
    ///
    /// # Panics
    /// If `step_tokens` is 0.
    pub fn prefill_estimate(&self, step_tokens: u32) -> PrefillEstimate {
        let gemm = self.gemm.ps(step_tokens) / u64::from(step_tokens);
        let attention = self.prefill_attention.ps(step_tokens) / u64::from(step_tokens);
        PrefillEstimate {
            token_ps: gemm + self.prefill_token_ps + self.prefill_kv_token_ps,
            pair_ps: self.prefill_pair_ps + attention,
        }
    }

    /// What each further step of a decode run costs more than the one before \[ps\].
    pub fn growth_ps(&self, shape: &StepShape) -> u64 {
        self.decode_kv_token_ps * u64::from(shape.decode_seqs)
            + self.decode_attention.ps(shape.decode_seqs)
    }
}

/// `each` times the mean of `total` over `count`, rounded down.
fn times_mean(each: u64, total: u64, count: u32) -> u64 {
    (u128::from(each) * u128::from(total) / u128::from(count.max(1))) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::device::PrefillChunk;

    #[test]
    fn the_linear_model_counts_what_the_references_count() {
        let cost = StepCost::linear(8_000_000_000, 70_000_000, 20_000_000, 300_000);
        let shape = StepShape {
            prefill: vec![PrefillChunk {
                tokens: 100,
                context: 32,
            }],
            decode_seqs: 3,
            decode_kv_tokens: 1_000,
        };
        // 8 ms + 100 x 70 us + 3 x 20 us + (100 + 32 + 1,000) x 0.3 us
        //   = 8,000 + 7,000 + 60 + 339.6 us = 15,399.6 us.
        assert_eq!(cost.step_ps(&shape), 15_399_600_000);
        // The next step of the same three sequences reads three KV tokens more.
        assert_eq!(cost.growth_ps(&shape), 900_000);
    }

    #[test]
    fn a_chunk_attends_to_its_context_and_causally_to_itself() {
        let cost = StepCost {
            prefill_pair_ps: 1,
            ..StepCost::default()
        };
        let chunk = |tokens, context| StepShape {
            prefill: vec![PrefillChunk { tokens, context }],
            ..StepShape::default()
        };
        // 4 tokens behind 10: 4 x 10 + (1 + 2 + 3 + 4) = 50 pairs.
        assert_eq!(cost.step_ps(&chunk(4, 10)), 50);
        // Cutting a prompt into chunks does not change its pairs.
        assert_eq!(
            cost.step_ps(&chunk(6, 0)) + cost.step_ps(&chunk(2, 6)),
            cost.step_ps(&chunk(8, 0))
        );
    }

    #[test]
    fn a_split_costs_what_its_number_of_tiles_says() {
        let table = StepTable::uneven(vec![(128, 300), (256, 100), (384, 50)]).unwrap();
        let cost = StepCost {
            context: table,
            context_from: 256,
            ..StepCost::default()
        };
        let chunk = |tokens, context| StepShape {
            prefill: vec![PrefillChunk { tokens, context }],
            ..StepShape::default()
        };
        // Two tiles behind a context that is split, and behind one that is not.
        assert_eq!(cost.step_ps(&chunk(200, 1_000)), 100);
        assert_eq!(cost.step_ps(&chunk(200, 20)), 0);
    }

    #[test]
    fn a_split_behind_long_contexts_is_reached_in_a_straight_line() {
        let table = |points: &[(u32, u64)]| StepTable::uneven(points.to_vec()).unwrap();
        let cost = StepCost {
            context: table(&[(512, 80), (1_024, 480)]),
            context_long: table(&[(512, 80), (640, 1_200), (1_024, 480)]),
            context_long_from: 8_000,
            ..StepCost::default()
        };
        let five_tiles = |context| {
            cost.step_ps(&StepShape {
                prefill: vec![PrefillChunk {
                    tokens: 640,
                    context,
                }],
                ..StepShape::default()
            })
        };
        // 180 of it alone, half way from there to 1,200, and no more than that.
        let contexts = [0, 8, 4_000, 8_000, 90_000];
        assert_eq!(contexts.map(five_tiles), [0, 181, 690, 1_200, 1_200]);
    }

    #[test]
    fn decode_steps_have_a_table_of_their_own_and_contexts_and_mixtures_a_cost_of_their_own() {
        let cost = StepCost {
            gemm: StepTable::new(vec![(1, 400), (100, 400)]).unwrap(),
            gemm_decode: StepTable::new(vec![(1, 300), (100, 300)]).unwrap(),
            decode_seq_ps: 5,
            context_ps: 1_000,
            mixed_ps: 70,
            ..StepCost::default()
        };
        let step = |prefill_tokens, context, decode_seqs| {
            cost.totals_ps(&StepTotals {
                prefill_tokens,
                prefill_kv_tokens: u64::from(prefill_tokens) + context,
                decode_seqs,
                ..StepTotals::default()
            })
        };
        // 300 + 2 x 5; 400; 400 + 1,000; 400 + 2 x 5 + 70.
        assert_eq!(step(0, 0, 2), 310);
        assert_eq!(
            (step(9, 0, 0), step(9, 1, 0), step(9, 0, 2)),
            (400, 1_400, 480)
        );
        let one_table = StepCost {
            gemm_decode: StepTable::default(),
            ..cost.clone()
        };
        let decode = StepTotals {
            decode_seqs: 2,
            ..StepTotals::default()
        };
        assert_eq!(one_table.totals_ps(&decode), 410);
    }

    #[test]
    fn a_kv_token_costs_what_its_batch_makes_it_cost() {
        let cost = StepCost {
            decode_attention: StepTable::new(vec![(1, 100), (8, 590), (9, 900)]).unwrap(),
            ..StepCost::default()
        };
        let decode = |decode_seqs, decode_kv_tokens| StepShape {
            decode_seqs,
            decode_kv_tokens,
            ..StepShape::default()
        };
        // 590 x 1,001 / 8 = 73,823.75, rounded down; nine sequences as far cost more than nine eighths of it.
        assert_eq!(cost.step_ps(&decode(8, 1_001)), 73_823);
        assert_eq!(cost.step_ps(&decode(9, 1_001)), 100_100);
        for (seqs, kv) in [(1, 7), (3, 1_000), (8, 1_001), (9, 12_345)] {
            let [step, next] = [kv, kv + u64::from(seqs)].map(|kv| cost.step_ps(&decode(seqs, kv)));
            assert_eq!(next - step, cost.growth_ps(&decode(seqs, kv)));
        }
        assert_eq!(cost.step_ps(&decode(0, 0)), 0);
    }

    #[test]
    fn a_prompt_attends_in_whole_tiles() {
        let cost = StepCost {
            prefill_attention: StepTable::new(vec![(128, 700), (256, 1_500), (512, 2_700)])
                .unwrap(),
            ..StepCost::default()
        };
        let chunk = |tokens, context| PrefillChunk { tokens, context };
        let step = |prefill| StepShape {
            prefill,
            ..StepShape::default()
        };
        // 90 tokens read 10,090, at what a tile costs; 129 read 10,128 and 10,129.
        assert_eq!(cost.step_ps(&step(vec![chunk(90, 10_000)])), 7_063_000);
        assert_eq!(cost.step_ps(&step(vec![chunk(129, 10_000)])), 15_192_750);
        // Three tiles lie between two and four: 2,100 of 10,128, 10,256 and 10,300.
        assert_eq!(cost.step_ps(&step(vec![chunk(300, 10_000)])), 21_478_800);
        // Two chunks have a tile each, at what one costs: 4 and 1,097.
        assert_eq!(
            cost.step_ps(&step(vec![chunk(3, 1), chunk(97, 1_000)])),
            770_700
        );
        assert_eq!(cost.step_ps(&step(Vec::new())), 0);
        // A server assumes what a full step costs: 2,700 / 512 a pair.
        assert_eq!(cost.prefill_estimate(512).pair_ps, 5);
    }

    #[test]
    fn what_a_bad_number_of_tiles_costs_is_paid_for_earlier_context_alone() {
        let even = StepCost {
            prefill_attention: StepTable::new(vec![(128, 700), (512, 2_800)]).unwrap(),
            ..StepCost::default()
        };
        let uneven = StepCost {
            prefill_rounds: StepTable::uneven(vec![(256, 0), (384, 900), (512, 0)]).unwrap(),
            ..even.clone()
        };
        let longer = |tokens, context| {
            let step = StepShape {
                prefill: vec![PrefillChunk { tokens, context }],
                ..StepShape::default()
            };
            uneven.step_ps(&step) - even.step_ps(&step)
        };
        for tokens in [1, 128, 200, 300, 384, 512] {
            assert_eq!(longer(tokens, 0), 0, "{tokens}");
        }
        assert_eq!(longer(384, 10_000), 9_000_000);
        // The last tile of 300 tokens is not full: 128, 256 and 300 for 768.
        assert_eq!(longer(300, 10_000), 900 * (30_684 - 768) / 3);
        assert_eq!([longer(256, 10_000), longer(512, 10_000)], [0, 0]);
        // Three tiles of as many prompts read their contexts once.
        let chunk = PrefillChunk {
            tokens: 128,
            context: 1_000,
        };
        let several = StepShape {
            prefill: vec![chunk; 3],
            ..StepShape::default()
        };
        assert_eq!(uneven.step_ps(&several) - even.step_ps(&several), 900_000);
    }

    #[test]
    fn a_short_context_is_not_split() {
        let cost = StepCost {
            context_ps: 1_000,
            context_from: 256,
            ..StepCost::default()
        };
        let behind = |tokens, context| StepShape {
            prefill: vec![PrefillChunk { tokens, context }],
            ..StepShape::default()
        };
        // One token reads itself and its context; a prompt without one costs what it is, however long.
        assert_eq!(cost.step_ps(&behind(1, 254)), 0);
        assert_eq!(cost.step_ps(&behind(1, 255)), 1_000);
        assert_eq!(cost.step_ps(&behind(2_000, 0)), 0);
    }

    #[test]
    fn a_gpu_that_has_paused_is_slower_once() {
        let idle = IdleCost {
            dispatch_ns: 50,
            pause_ns: 1_000,
            longer_ns: 130,
        };
        let longer = |pause| idle.longer(Some(Nanos(pause))).0;
        assert_eq!((longer(0), longer(999), longer(1_000)), (0, 0, 130));
        assert_eq!(idle.longer(None).0, 130);
    }

    #[test]
    fn a_server_assumes_full_steps() {
        let cost = StepCost {
            gemm: StepTable::new(vec![(100, 1_000), (200, 1_600)]).unwrap(),
            prefill_token_ps: 3,
            prefill_kv_token_ps: 2,
            prefill_pair_ps: 1,
            ..StepCost::default()
        };
        // 1,600 ps over 200 tokens are 8 a token; with 3 and 2 more, 13.
        let expected = PrefillEstimate {
            token_ps: 13,
            pair_ps: 1,
        };
        assert_eq!(cost.prefill_estimate(200), expected);
    }
}
